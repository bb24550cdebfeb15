"""Models that motet's source never names, and what it means that a method works on one."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from small_data import random_targets
from torch import Tensor, nn

from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.layers import ParameterRoles, SeparateNetworks
from motet.methods import METHODS, Method

CLASSES = 4


@dataclass(frozen=True)
class Case:
    """A model of somebody else's, for small images.

    Attributes:
        library: timm or torchvision.
        name: what the library calls it.
        quick: whether the tests run it; the others are in the record only.
        size: pixels a side.
        settings: keyword arguments of the library's that it needs.
        branch: a point inside, for methods that must be told one.
    """

    library: str
    name: str
    quick: bool = False
    size: int = 32
    settings: tuple[tuple[str, Any], ...] = ()
    branch: str = "layer3"

    def make(self) -> nn.Module:
        """A new one, with CLASSES outputs."""
        torch.manual_seed(0)
        if self.library == "timm":
            import timm

            model: nn.Module = timm.create_model(self.name, num_classes=CLASSES, **dict(self.settings))
        else:
            import torchvision

            model = torchvision.models.get_model(self.name, num_classes=CLASSES, **dict(self.settings))
        return model

    def __str__(self) -> str:
        return f"{self.library}:{self.name}"


CASES = [
    Case("timm", "resnet18"),
    Case("torchvision", "resnet18", quick=True),
    Case("timm", "resnet50"),
    Case("torchvision", "resnet50"),
    Case("timm", "wide_resnet50_2"),
    Case("torchvision", "wide_resnet50_2"),
    Case("timm", "densenet121", branch="features.denseblock3"),
    Case("torchvision", "densenet121", branch="features.denseblock3"),
    Case("timm", "mobilenetv3_small_100", quick=True, branch="blocks.3"),
    Case("torchvision", "mobilenet_v3_small", branch="features.8"),
    Case("timm", "efficientnet_b0", branch="blocks.4"),
    Case("torchvision", "efficientnet_b0", branch="features.5"),
    Case("timm", "convnext_atto", quick=True, branch="stages.2"),
    Case("torchvision", "convnext_tiny", branch="features.5"),
    Case("timm", "vit_tiny_patch16_224", quick=True, settings=(("img_size", 32),), branch="blocks.6"),
    Case("torchvision", "vit_b_16", settings=(("image_size", 32),), branch="encoder.layers.encoder_layer_6"),
    Case("timm", "regnetx_002", quick=True, branch="s3"),
    Case("torchvision", "regnet_x_400mf", branch="trunk_output.block3"),
]


def method_named(name: str, case: Case) -> Method:
    """The method with two members where it has members, and a branching point where it must be told one."""
    fields = {item.name for item in dataclasses.fields(METHODS[name])}
    wanted: dict[str, Any] = {"members": 2, "branch": case.branch}
    return METHODS[name](**{key: value for key, value in wanted.items() if key in fields})


def outcome(name: str, model: Callable[[], nn.Module] | nn.Module, case: Case) -> str | None:
    """None if the method called `name` works on the model, and the reason where it refuses.

    It works where it wraps the model, its loss is finite, gradients reach the members' own parameters, and after a
    training step it predicts, with members that differ.

    Raises:
        AssertionError: if it neither works nor refuses.
    """
    torch.manual_seed(0)
    method, x = method_named(name, case), torch.randn(4, 3, case.size, case.size)
    y = random_targets(method.default_likelihood, 4, CLASSES)
    try:
        ensemble = method.wrap(model, example=x[:1])
    except InputError as refusal:
        return str(refusal)
    optimizer = torch.optim.SGD(ensemble.parameter_groups(weight_decay=1e-4, learning_rate=1e-3), lr=1e-3)
    ensemble.train()
    loss = ensemble.loss(x, y)
    assert loss.isfinite(), f"{name} on {case}: a loss of {loss.item()}"
    loss.backward()
    own = own_parameters(ensemble)
    if ensemble.members > 1 and own:
        reached = [value for value in own if value.grad is not None and bool(value.grad.any())]
        assert reached, f"{name} on {case}: no gradient reaches any of the members' parameters"
        unreached = [value for value in own if value.grad is None]
        assert not unreached, f"{name} on {case}: {len(unreached)} of the members' parameters are not part of the loss"
    nn.utils.clip_grad_norm_(ensemble.parameters(), 1.0)  # norms over four rows make gradients that leave all bounds
    optimizer.step()
    prediction = ensemble.predict(x[:3])
    assert prediction.outputs_BMC.shape == (3, ensemble.members, CLASSES), f"{name} on {case}: a wrong shape"
    assert prediction.outputs_BMC.isfinite().all(), f"{name} on {case}: outputs that are not finite"
    assert prediction.mean.shape == (3, CLASSES)
    if ensemble.members > 1:
        apart = (prediction.outputs_BMC[:, 0] - prediction.outputs_BMC[:, 1]).abs().max()
        assert apart > 0, f"{name} on {case}: members that do not differ"
    return None


def own_parameters(ensemble: Ensemble) -> list[Tensor]:
    """The trainable parameters that belong to members."""
    found: dict[int, Tensor] = {}
    for module in ensemble.modules():
        names = module.member_parameters if isinstance(module, ParameterRoles) else frozenset()
        for name, value in module.named_parameters():
            if value.requires_grad and (name in names or isinstance(module, SeparateNetworks)):
                found[id(value)] = value
    return list(found.values())

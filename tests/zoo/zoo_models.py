"""Models that motet's source never names, and what it means that a method works on one."""

import dataclasses
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers_models
import users_models
from small_data import random_targets
from torch import Tensor, nn
from zoo_case import CLASSES, Case

from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.layers import ParameterRoles, SeparateNetworks
from motet.methods import METHODS, Method

QUICK_TIMM = ("mobilenetv3_small_100", "convnext_atto", "vit_tiny_patch16_224", "regnetx_002")
ONE_EACH: dict[str, Any] = {"depths": (1, 1, 1, 1)}
ONE_LAYER_EACH: dict[str, Any] = {"layers": (1, 1, 1, 1)}
SIZED: dict[str, Any] = {"img_size": 32}
SWIN: dict[str, Any] = {"embed_dim": 24, "num_heads": (1, 2, 4, 8), **ONE_EACH, **SIZED}
SHALLOW: dict[str, Any] = {"depth": 2, **SIZED}
TIMM: dict[str, dict[str, Any]] = {
    "convnext_atto": {},
    "regnetx_002": {},
    "vit_tiny_patch16_224": SHALLOW,
    "deit_tiny_distilled_patch16_224": SHALLOW,
    "cait_xxs24_224": SHALLOW,
    "beit_base_patch16_224": {"embed_dim": 96, "num_heads": 4, **SHALLOW},
    "eva02_tiny_patch14_224": SHALLOW,
    "swin_tiny_patch4_window7_224": SWIN,
    "swinv2_cr_tiny_224": SWIN,
    "xcit_nano_12_p16_224": SHALLOW,
    "levit_128s": {"depth": (1, 1, 1), **SIZED},
    "visformer_tiny": {"depth": (1, 1, 1), **SIZED},
    "convit_tiny": {"local_up_to_layer": 1, **SHALLOW},
    "coat_lite_tiny": {"serial_depths": (1, 1, 1, 1), **SIZED},
    "twins_pcpvt_small": {**ONE_EACH, **SIZED},
    "tnt_s_legacy_patch16_224": SHALLOW,
    "hiera_tiny_224": {"stages": (1, 1, 1, 1), **SIZED},
    "sequencer2d_s": {**ONE_LAYER_EACH, **SIZED},
    "inception_next_atto": ONE_EACH,
    "pvt_v2_b0": ONE_EACH,
    "mambaout_femto": ONE_EACH,
    "edgenext_xx_small": ONE_EACH,
    "tiny_vit_5m_224": ONE_EACH,
    "resnet18": ONE_LAYER_EACH,
    "seresnet18": ONE_LAYER_EACH,
    "resnext50_32x4d": ONE_LAYER_EACH,
    "res2net50_26w_4s": ONE_LAYER_EACH,
    "skresnet18": ONE_LAYER_EACH,
    "densenet121": {"block_config": (2, 2, 2, 2)},
    "dpn48b": {"k_sec": (1, 1, 1, 1)},
    "ese_vovnet19b_slim": {},
    "test_byobnet": {},
    "test_efficientnet": {},
    "test_nfnet": {},
    "mixer_s32_224": SIZED,
    "resmlp_12_224": SIZED,
    "mobilenetv3_small_100": {},
    "lcnet_035": {},
    "starnet_s050": {},
    "mnasnet_small": {},
    "mobilenetv2_035": {},
    "mobilenetv4_conv_small_050": {},
}
"""Models of timm, with the fewest blocks that their constructors let one ask for."""
TIMM_LARGER: dict[str, dict[str, Any]] = {
    "davit_tiny": {"embed_dims": (24, 48, 96, 192), "num_heads": (1, 2, 4, 8), **ONE_EACH},
    "swiftformer_xs": {**ONE_LAYER_EACH, **SIZED},
    "dla46_c": {},
    "efficientvit_b0": ONE_EACH,
    "repvit_m0_9": {"depth": (1, 1, 1, 1), **SIZED},
    "fastvit_t8": ONE_LAYER_EACH,
    "darknet17": {},
    "resnest14d": {},
    "hgnetv2_b0": {},
    "resnet50": {},
    "ghostnet_050": {},
}

WRAP: dict[str, dict[str, Any]] = {
    "deit_tiny_distilled_patch16_224": {"last": ("head", "head_dist")},
    "fastvit_t8": {"first": ("stem.0.conv_scale.conv", "stem.0.conv_kxk.0.conv")},
    "swiftformer_xs": {"last": ("head", "head_dist")},
    "repvit_m0_9": {"last": ("head.head.l", "head.head_dist.l")},
    "levit_128s": {"last": ("head.linear", "head_dist.linear")},
}
"""What a user passes to `wrap`, for models with several input layers, or a second output layer for distillation."""


def _image_model(library: str, name: str, *, quick: bool = False, large: bool = False, **settings: Any) -> Case:
    def build() -> nn.Module:
        if library == "timm":
            import timm

            model: nn.Module = timm.create_model(name, num_classes=CLASSES, **settings)
        else:
            import torchvision

            model = torchvision.models.get_model(name, num_classes=CLASSES, **settings)
        return model

    wrap = WRAP.get(name, {})
    return Case(library, name, build, lambda rows: torch.randn(rows, 3, 32, 32), wrap, quick=quick, large=large)


CASES = [
    *(_image_model("timm", name, quick=name in QUICK_TIMM, **settings) for name, settings in TIMM.items()),
    *(_image_model("timm", name, large=True, **settings) for name, settings in TIMM_LARGER.items()),
    *(_image_model("torchvision", name, quick=name == "resnet18") for name in ("resnet18", "mobilenet_v3_small")),
    *(_image_model("torchvision", name) for name in ("efficientnet_b0", "regnet_x_400mf")),
    *(_image_model("torchvision", name, large=True) for name in ("densenet121", "resnet50", "convnext_tiny")),
    _image_model("torchvision", "vit_b_16", image_size=32),
    _image_model("torchvision", "wide_resnet50_2", large=True),
    *transformers_models.CASES,
    *users_models.CASES,
]


def method_named(name: str) -> Method:
    """The method with two members where it has members."""
    members = "members" in {item.name for item in dataclasses.fields(METHODS[name])}
    return METHODS[name](**({"members": 2} if members else {}))


def outcome(name: str, model: Callable[[], nn.Module] | nn.Module, case: Case) -> str | None:
    """None if the method called `name` works on the model, and the reason where it refuses.

    It works where it wraps the model, its loss is finite, gradients reach the members' own parameters, and after a
    training step it predicts, with members that differ.

    Raises:
        AssertionError: if it neither works nor refuses.
    """
    torch.manual_seed(0)
    method, x = method_named(name), case.inputs(4)
    likelihood = case.wrap.get("likelihood", method.default_likelihood)
    y = torch.randint(CLASSES, (4, *case.positions)) if case.positions else random_targets(likelihood, 4, CLASSES)
    try:
        ensemble = method.wrap(model, example=first_rows(x, 1), **case.wrap)
    except InputError as refusal:
        return str(refusal)
    optimizer = torch.optim.SGD(ensemble.parameter_groups(weight_decay=1e-4, learning_rate=1e-3), lr=1e-3)
    ensemble.train()
    loss = ensemble.loss(x, y)
    assert loss.isfinite(), f"a loss of {loss.item()}"
    loss.backward()
    own = own_parameters(ensemble)
    if ensemble.members > 1 and own:
        reached = [value for value in own if value.grad is not None and bool(value.grad.any())]
        assert reached, "no gradient reaches any of the members' parameters"
        unreached = [] if case.unused else [value for value in own if value.grad is None]
        assert not unreached, f"{len(unreached)} of the members' parameters are not part of the loss"
    nn.utils.clip_grad_norm_(ensemble.parameters(), 1.0)  # norms over four rows make gradients that leave all bounds
    optimizer.step()
    prediction = ensemble.predict(first_rows(x, 3))
    shape, outputs = tuple(prediction.outputs_BMC.shape), (*case.positions, case.classes)
    assert shape == (3, ensemble.members, *outputs), f"outputs of shape {shape}"
    assert prediction.outputs_BMC.isfinite().all(), "outputs that are not finite"
    assert prediction.mean.shape == (3, *outputs), f"a mean of shape {tuple(prediction.mean.shape)}"
    if ensemble.members > 1:
        apart = (prediction.outputs_BMC[:, 0] - prediction.outputs_BMC[:, 1]).abs().max()
        assert apart > 0, "members that do not differ"
    return None


class _OverTimeError(BaseException):
    """Not an Exception, so that nothing on the way catches it."""


def kept_outcome(name: str, model: nn.Module, case: Case, *, seconds: float = 20.0) -> str | None:
    """`outcome` for the record: an error becomes "raw: Type: message", and too much processor time "time"."""
    try:
        with _limited(seconds):
            return outcome(name, model, case)
    except _OverTimeError:
        return "time"
    except Exception as error:
        return f"raw: {type(error).__name__}: {' '.join(str(error).split())[:400]}"


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _OverTimeError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def first_rows(x: Any, rows: int) -> Any:
    """The first rows of a tensor, or of all tensors of a tuple or dictionary."""
    if isinstance(x, dict):
        return {key: value[:rows] for key, value in x.items()}
    return tuple(value[:rows] for value in x) if isinstance(x, tuple) else x[:rows]


def own_parameters(ensemble: Ensemble) -> list[Tensor]:
    """The trainable parameters that belong to members."""
    found: dict[int, Tensor] = {}
    for module in ensemble.modules():
        names = module.member_parameters if isinstance(module, ParameterRoles) else frozenset()
        for name, value in module.named_parameters():
            if value.requires_grad and (name in names or isinstance(module, SeparateNetworks)):
                found[id(value)] = value
    return list(found.values())

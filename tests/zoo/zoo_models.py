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
TIMM = (
    *("mobilenetv3_small_100", "lcnet_035", "starnet_s050", "mnasnet_small", "mobilenetv2_035"),
    *("mobilenetv4_conv_small_050", "convnext_atto", "regnetx_002", "ghostnet_050", "dla46_c"),
    *("edgenext_xx_small", "efficientvit_b0", "ese_vovnet19b_slim", "fastvit_t8", "inception_next_atto"),
    *("pvt_v2_b0", "rexnet_100", "hgnetv2_b0", "efficientnet_b0", "tiny_vit_5m_224", "resnet10t", "shvit_s1"),
    *("mambaout_femto", "convnextv2_atto", "regnety_002", "efficientnet_lite0", "tf_efficientnetv2_b0"),
    *("nf_regnet_b0", "dpn48b", "resnest14d", "resnet18", "poolformer_s12", "crossvit_tiny_240", "densenet121"),
    *("seresnet18", "hrnet_w18_small", "skresnet18", "darknet17", "resnet50", "cspresnet50"),
    *("convmixer_768_32", "res2net50_26w_4s", "resnext50_32x4d", "eca_nfnet_l0", "xception41"),
    *("focalnet_tiny_srf", "davit_tiny", "selecsls42b", "wide_resnet50_2"),
)
"""Models of timm that take images of 32 pixels as they are."""
TIMM_SIZED = (
    *("vit_tiny_patch16_224", "mobilevit_xxs", "mobilevitv2_050", "efficientvit_m0", "xcit_nano_12_p16_224"),
    *("swiftformer_xs", "efficientformerv2_s0", "gmlp_ti16_224", "pit_ti_224", "coat_lite_tiny", "convit_tiny"),
    *("eva02_tiny_patch14_224", "repvit_m0_9", "mobileone_s0", "levit_128s", "deit_tiny_distilled_patch16_224"),
    *("maxvit_rmlp_pico_rw_256", "repvgg_a0", "lambda_resnet26t", "visformer_tiny", "coatnet_pico_rw_224"),
    *("botnet26t_256", "gcvit_xxtiny", "cait_xxs24_224", "resmlp_12_224", "nest_tiny", "mixer_s32_224"),
    *("twins_pcpvt_small", "volo_d1_224", "swinv2_cr_tiny_224", "swin_tiny_patch4_window7_224"),
)
"""Models of timm that are told the size of the images."""


def _image_model(library: str, name: str, *, quick: bool = False, large: bool = False, **settings: Any) -> Case:
    def build() -> nn.Module:
        if library == "timm":
            import timm

            model: nn.Module = timm.create_model(name, num_classes=CLASSES, **settings)
        else:
            import torchvision

            model = torchvision.models.get_model(name, num_classes=CLASSES, **settings)
        return model

    return Case(library, name, build, lambda rows: torch.randn(rows, 3, 32, 32), quick=quick, large=large)


CASES = [
    *(_image_model("timm", name, quick=name in QUICK_TIMM, large=i >= 28) for i, name in enumerate(TIMM)),
    *(
        _image_model("timm", name, quick=name in QUICK_TIMM, large=i >= 16, img_size=32)
        for i, name in enumerate(TIMM_SIZED)
    ),
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

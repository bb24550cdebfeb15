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
    *("resnet18", "resnet50", "wide_resnet50_2", "densenet121", "mobilenetv3_small_100", "efficientnet_b0"),
    *("convnext_atto", "regnetx_002", "resnet10t", "resnext50_32x4d", "seresnet18", "mobilenetv2_035"),
    *("mobilenetv4_conv_small_050", "efficientnet_lite0", "tf_efficientnetv2_b0", "mnasnet_small", "ghostnet_050"),
    *("lcnet_035", "convnextv2_atto", "regnety_002", "rexnet_100", "dla46_c", "dpn48b", "hrnet_w18_small"),
    *("xception41", "res2net50_26w_4s", "resnest14d", "skresnet18", "cspresnet50", "darknet17", "selecsls42b"),
    *("nf_regnet_b0", "eca_nfnet_l0", "edgenext_xx_small", "fastvit_t8", "starnet_s050", "inception_next_atto"),
    *("poolformer_s12", "pvt_v2_b0", "efficientvit_b0", "davit_tiny", "tiny_vit_5m_224", "mambaout_femto"),
    *("hgnetv2_b0", "shvit_s1", "ese_vovnet19b_slim", "convmixer_768_32", "focalnet_tiny_srf", "crossvit_tiny_240"),
)
"""Models of timm that take images of 32 pixels as they are."""
TIMM_SIZED = (
    *("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "cait_xxs24_224", "eva02_tiny_patch14_224"),
    *("swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224", "mixer_s32_224", "resmlp_12_224", "gmlp_ti16_224"),
    *("xcit_nano_12_p16_224", "pit_ti_224", "levit_128s", "visformer_tiny", "convit_tiny", "coat_lite_tiny"),
    *("repvgg_a0", "mobileone_s0", "botnet26t_256", "lambda_resnet26t", "mobilevit_xxs", "mobilevitv2_050"),
    *("repvit_m0_9", "efficientformerv2_s0", "efficientvit_m0", "maxvit_rmlp_pico_rw_256", "coatnet_pico_rw_224"),
    *("nest_tiny", "swiftformer_xs", "gcvit_xxtiny", "twins_pcpvt_small", "volo_d1_224"),
)
"""Models of timm that are told the size of the images."""


def _image_model(library: str, name: str, quick: bool = False, **settings: Any) -> Case:
    def build() -> nn.Module:
        if library == "timm":
            import timm

            model: nn.Module = timm.create_model(name, num_classes=CLASSES, **settings)
        else:
            import torchvision

            model = torchvision.models.get_model(name, num_classes=CLASSES, **settings)
        return model

    return Case(library, name, build, lambda rows: torch.randn(rows, 3, 32, 32), quick=quick)


CASES = [
    *(_image_model("timm", name, name in QUICK_TIMM) for name in TIMM),
    *(_image_model("timm", name, name in QUICK_TIMM, img_size=32) for name in TIMM_SIZED),
    _image_model("torchvision", "resnet18", quick=True),
    *(_image_model("torchvision", name) for name in ("resnet50", "wide_resnet50_2", "densenet121")),
    *(_image_model("torchvision", name) for name in ("mobilenet_v3_small", "efficientnet_b0", "convnext_tiny")),
    _image_model("torchvision", "vit_b_16", image_size=32),
    _image_model("torchvision", "regnet_x_400mf"),
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

"""Models of timm (Wightman 2019), and the ResNet-50 of the MIMO paper, which is one of them. timm is optional."""

from difflib import get_close_matches
from types import ModuleType
from typing import Any

from torch import nn

from motet.errors import InputError
from motet.models._init import he_normal_


def timm_model(name: str, *, num_classes: int, in_channels: int = 3, image_size: tuple[int, int]) -> nn.Module:
    """Return the model that timm calls `name`, with its own initialisation and without a download.

    Args:
        name: one of ``timm.list_models()``.
        num_classes: number of classes, or of targets in regression.
        in_channels: channels of the input, ``(B, in_channels, H, W)``.
        image_size: H and W, for models that are built for one image size (vision transformers).

    Raises:
        InputError: if timm cannot be imported, has no such model, or cannot build it for these images.
    """
    timm = import_timm()
    if not timm.is_model(name):
        close = ", ".join(get_close_matches(name, timm.list_models(), n=4, cutoff=0.4))
        known = f"Similar: {close}" if close else "timm.list_models() has their names"
        raise InputError("the model must be one of timm's", got=repr(name), fix=known)
    arguments: dict[str, Any] = {"num_classes": num_classes, "in_chans": in_channels}
    if (timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()).fixed_input_size:
        arguments["img_size"] = image_size
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **arguments)
    except Exception as error:  # a constructor may raise any error
        raise InputError(
            f"timm must be able to build {name} for {in_channels} channels and images of {image_size}",
            got=f"{type(error).__name__}: {error}",
            fix="Use another of its models, or build this one in your own function: file.py:function",
        ) from error
    return model


def resnet50(*, num_classes: int, in_channels: int = 3, width: float = 1.0) -> nn.Module:
    """ResNet-50 v1.5 (the stride in a block's 3x3 convolution), as in the MIMO paper on ImageNet (section 4.3).

    25,557,032 parameters for 1000 classes; MIMO with two members has 27,615,440. The network is timm's. Convolutions
    are initialised with He normal and the head with N(0, 0.01^2) and zero bias, as in the paper's code
    [uncertainty-baselines, resnet50_mimo.py], and every norm's scale with one.

    **Difference from the reference:** strided 3x3 convolutions and the max-pool pad one pixel on each side, as usual in
    torch. TensorFlow's padding ``"SAME"`` pads images of even size only on the right and at the bottom (see
    `wide_resnet`).

    Args:
        num_classes: number of classes, or of targets in regression.
        in_channels: channels of the input, ``(B, in_channels, H, W)``, usually with at least 32x32 pixels.
        width: multiplies the filters of all four stages, which must stay integers. The stem keeps its 64 filters, while
            the paper's wide variant doubles them too: less than 0.1% of the parameters.

    Raises:
        InputError: if timm cannot be imported, or if a number of filters would not be an integer.
    """
    filters = [round(channels * width) for channels in (64, 128, 256, 512)]
    if filters[0] < 1 or filters[0] != 64 * width:
        raise InputError(
            "the width of a ResNet-50 must give integer numbers of filters",
            got=f"width={width}, which gives {64 * width:g} filters instead of 64",
            fix="Pass width=0.5, 1.0 or 2.0, for example",
        )
    network: nn.Module = import_timm().create_model(
        "resnet50", num_classes=num_classes, in_chans=in_channels, channels=filters, zero_init_last=False
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            he_normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
    return network


def import_timm() -> ModuleType:
    """Return the package timm.

    Raises:
        InputError: if it cannot be imported.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise InputError(
            "this model needs the package timm", got=f"no module {error.name}", fix="Install it: pip install timm"
        ) from error
    except Exception as error:  # a build of torchvision that does not fit torch's raises RuntimeError
        raise InputError(
            "this model needs the package timm, which must be importable",
            got=f"{type(error).__name__}: {error}",
            fix="Install builds of torch and torchvision that match (both for CPU, or both for one CUDA version)",
        ) from error
    module: ModuleType = timm
    return module

"""`Corruption`, and its application to images."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from jaxtyping import Int64, Shaped, UInt8
from torch import Tensor

from motet.errors import InputError
from motet.shifts.draws import Draws

Constants = Literal["cifar", "imagenet"]
Family = Literal["noise", "blur", "weather", "digital", "mimmo"]
SEVERITIES = (1, 2, 3, 4, 5)

_LARGE = 128  # from this shorter side on, images are closer to ImageNet's 224 than to CIFAR's 32, by ratio
_AT_ONCE = {"cpu": 2**19, "other": 2**25}  # values: the number that fits a CPU's cache


@final
@dataclass(frozen=True, kw_only=True)
class Corruption:
    """A corruption of images at five severities.

    Attributes:
        name: the name in the official files.
        family: the kind: noise, blur, weather, digital, or one of MIMMO's shifts.
        description: one line.
        apply: a function of images ``(B, C, H, W)`` in uint8, their random numbers, and one severity's constants, which
            returns corrupted images in uint8.
        levels: the constants of severities 1 to 5, by the name of their source; MIMMO's shifts have only one source.
    """

    name: str
    family: Family
    description: str
    apply: Callable[..., Tensor]
    levels: Mapping[str, tuple[tuple[float, ...], ...]]

    def constants_at(self, severity: int, constants: str) -> tuple[float, ...]:
        """Return one severity's constants, from that source if there are several."""
        table = self.levels.get(constants) or next(iter(self.levels.values()))
        return table[severity - 1]


def apply(
    corruption: Corruption,
    images: Shaped[Tensor, "..."],
    *,
    severity: int,
    seed: int = 0,
    index: Int64[Tensor, "..."] | None = None,
    constants: Constants | None = None,
) -> UInt8[Tensor, "batch channel height width"]:
    """Corrupt images; see `motet.shifts.corrupt`.

    Args:
        corruption: the corruption.
        images: see `motet.shifts.corrupt`.
        severity: see `motet.shifts.corrupt`.
        seed: see `motet.shifts.corrupt`.
        index: see `motet.shifts.corrupt`.
        constants: see `motet.shifts.corrupt`.

    Raises:
        InputError: see `motet.shifts.corrupt`.
    """
    severity = check_severity(severity)
    check_images(images)
    if constants is not None and constants not in get_args(Constants):
        raise InputError(
            f"constants must be one of {', '.join(get_args(Constants))}, or None to choose by the images' size",
            got=repr(constants),
            fix="Pass constants='cifar' for small images",
        )
    index_B = _checked_index(index, images)
    batch, channels, height, width = images.shape
    source = constants or ("imagenet" if min(height, width) >= _LARGE else "cifar")
    numbers = corruption.constants_at(severity, source)
    at_once = _AT_ONCE["cpu" if images.device.type == "cpu" else "other"]
    rows = max(1, at_once // (channels * height * width))
    out = torch.empty_like(images, memory_format=torch.contiguous_format)
    with torch.no_grad():
        for start in range(0, batch, rows):
            part = slice(start, start + rows)
            draws = Draws(seed=seed, index_B=index_B[part], stream=f"{corruption.name}/{severity}")
            out[part] = corruption.apply(images[part], draws, *numbers)
    return out


def check_severity(severity: object) -> int:
    """Return the severity as an int.

    Raises:
        InputError: unless it is an integer from 1 to 5.
    """
    try:
        number = operator.index(severity)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if number not in SEVERITIES or isinstance(severity, bool):
        raise InputError(
            "severity must be an integer from 1 to 5", got=f"severity={severity!r}", fix="Pass 1 for the mildest"
        )
    return number


def check_images(images: Tensor) -> None:
    """Check images.

    Raises:
        InputError: unless they are uint8 images ``(B, C, H, W)`` with 1 or 3 channels, at least 4x4 large.
    """
    if images.dtype != torch.uint8:
        raise InputError(
            "images must be uint8, from 0 to 255, because severities are defined on that scale",
            got=f"images of {str(images.dtype).removeprefix('torch.')}",
            fix="Convert images from 0 to 1 with (255 * x).round().to(torch.uint8), before any normalisation",
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        last = images.ndim == 4 and images.shape[3] in (1, 3)
        raise InputError(
            "images must have shape (batch, channels, height, width) with 1 or 3 channels",
            got=f"shape {tuple(images.shape)}",
            fix="Move the channels to the front: x.permute(0, 3, 1, 2)"
            if last
            else (
                "Give a single image a batch axis with x.unsqueeze(0); convert transparency and other channels to RGB"
            ),
        )
    if min(images.shape[2:]) < 4:
        raise InputError(
            "images must be at least 4 pixels high and wide",
            got=f"shape {tuple(images.shape)}",
            fix="Enlarge them first",
        )
    if len(images) == 0:
        raise InputError("there must be at least one image", got="an empty batch", fix="Pass images (B, C, H, W)")


def _checked_index(index: Tensor | None, images: Tensor) -> Tensor:
    if index is None:
        return torch.arange(len(images), device=images.device)
    if index.shape != (len(images),) or index.is_floating_point():
        raise InputError(
            f"index must hold an integer for each of the {len(images)} images",
            got=f"{str(index.dtype).removeprefix('torch.')} of shape {tuple(index.shape)}",
            fix="Pass the images' rows in the data set: torch.arange(first, first + len(images))",
        )
    return index.to(device=images.device, dtype=torch.int64)

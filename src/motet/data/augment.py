"""Augmentation of whole batches of images on their device, with a seeded generator."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

from motet._internal.field_types import check_field_types
from motet.data._spec import DataSpec
from motet.errors import InputError, nearest

Augment = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""A function from stored inputs and targets to network inputs and targets, row by row."""


@final
@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images are changed, each row with separate random numbers. Everything is off by default.

    The order is the papers': random crop, flip, normalisation, cutout, mixup, CutMix. Mixup and CutMix combine each row
    with another row of the batch and turn its target into class probabilities.

    Attributes:
        crop: pixels of padding on each side, before a random crop of the original size; 4 is usual on CIFAR, MIMO's
            code uses 2.
        padding: the padding: ``"zeros"`` (black), or ``"reflect"`` for the image reflected at its border.
        flip: whether images are mirrored left to right with probability 1/2.
        resized_crop: the lower bound of the crop's area as a fraction of the image, as in torchvision's
            RandomResizedCrop. Only for images that are streamed from files. 0.08 is usual on ImageNet. At 0 the centre
            crop is used instead.
        cutout: side of a square that is blanked (with the mean) around a random pixel; parts of it may be outside the
            image (DeVries & Taylor, 2017). 16 in the paper on CIFAR-10.
        mixup: alpha of ``Beta(alpha, alpha)``, with a draw for each row (Zhang et al., 2018); 0 is off.
        cutmix: the same for the area of a box from the other row (Yun et al., 2019). With both, each batch uses one of
            them, with probability 1/2 each.
        mix_probability: the probability that a batch is mixed.
    """

    crop: int = 0
    padding: str = "zeros"
    flip: bool = False
    resized_crop: float = 0.0
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_probability: float = 1.0

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        for name in ("resized_crop", "mixup", "cutmix", "mix_probability"):
            object.__setattr__(self, name, float(getattr(self, name)))  # so that 1 and 1.0 are the same run
        for name in ("crop", "cutout"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"{name} must not be negative",
                    got=f"{name}={getattr(self, name)}",
                    fix="Pass pixels, or 0 for none",
                )
        if self.padding not in ("zeros", "reflect"):
            raise InputError(
                "padding must be zeros or reflect",
                got=repr(self.padding),
                fix=nearest(self.padding, ["zeros", "reflect"]),
            )
        for name in ("mixup", "cutmix"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(
                    f"{name} must be finite and not negative",
                    got=f"{name}={getattr(self, name)}",
                    fix="Pass 0 for none, 1 for uniform ratios",
                )
        for name in ("resized_crop", "mix_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"{name} must lie in [0, 1]",
                    got=f"{name}={getattr(self, name)}",
                    fix="Pass a probability from 0 to 1",
                )

    @property
    def active(self) -> bool:
        """Whether batches are changed (random parts are taken when files are decoded)."""
        return bool(self.crop or self.flip or self.cutout or self.mixup or self.cutmix)

    def check(self, spec: DataSpec, *, streamed: bool) -> None:
        """Check that the data can be augmented in this way.

        Raises:
            InputError: if it cannot.
        """
        shape = spec.input_shape
        if (self.active or self.resized_crop) and len(shape) != 3:
            raise InputError(
                "augmentation needs images (channels, height, width)",
                got=f"inputs of shape {shape}",
                fix="Leave augment out",
            )
        if (self.active or self.resized_crop) and spec.ignored_label is not None:
            raise InputError(
                "augmentation changes images, not the labels of their positions",
                got=f"{spec.name}, with one label for each position",
                fix="Leave augment out, and augment inputs and targets together in your own data set",
            )
        if self.padding == "reflect" and self.crop >= min(shape[-2:]):
            raise InputError(
                "padding by reflection must be smaller than the image",
                got=f"crop={self.crop} for {shape[-2]}x{shape[-1]} pixels",
                fix="Pass a smaller crop, or padding='zeros'",
            )
        if (self.mixup or self.cutmix) and spec.task != "classification":
            raise InputError(
                "mixup and cutmix need classes",
                got=f"{spec.name}, {spec.task_in_words}",
                fix="Pass mixup=0 and cutmix=0",
            )
        if self.resized_crop and not streamed:
            raise InputError(
                "resized_crop needs images that are streamed from files",
                got=f"{spec.name} as tensors",
                fix="Pass resized_crop=0 and crop=4, or for a folder DataOptions(stream=True)",
            )

    def bind(self, spec: DataSpec, generator: Generator) -> Augment:
        """Return the augmentation of batches of this data, with random numbers from `generator`, on the device of the
        batches.
        """

        def augment(x: Shaped[Tensor, "rows ..."], y: Shaped[Tensor, "rows ..."]) -> tuple[Tensor, Tensor]:
            if self.crop:
                x = random_crop(x, self.crop, padding=self.padding, generator=generator)
            if self.flip:
                x = random_flip(x, generator)
            prepared = spec.prepare(x)
            if self.cutout:
                prepared = cutout(prepared, self.cutout, generator)
            return self._mixed(prepared, y, spec.outputs, generator) if self.mixup or self.cutmix else (prepared, y)

        return augment

    def _mixed(self, x: Tensor, y: Tensor, classes: int, generator: Generator) -> tuple[Tensor, Tensor]:
        # A step's choices are drawn on the host, where reading them needs no synchronisation.
        coins = np.random.Generator(np.random.Philox(key=generator.initial_seed())).random(2)
        targets = F.one_hot(y.long(), classes).to(x.dtype) if y.ndim == 1 else y
        if coins[0] >= self.mix_probability:
            return x, targets
        if self.cutmix and (not self.mixup or coins[1] < 0.5):
            return cutmix(x, targets, self.cutmix, generator)
        return mixup(x, targets, self.mixup, generator)


def random_crop(
    x: Shaped[Tensor, "rows channels height width"], pixels: int, *, padding: str, generator: Generator
) -> Shaped[Tensor, "rows channels height width"]:
    """Pad by `pixels` on each side, then cut a random window of the original size from each row.

    Args:
        x: images.
        pixels: the padding on each side.
        padding: ``"zeros"`` or ``"reflect"``.
        generator: random numbers.
    """
    rows, _, height, width = x.shape
    if padding == "reflect":
        # torch reflects floats but not bytes, so rows and columns are selected instead.
        x = x[:, :, _reflected(height, pixels, x.device)][:, :, :, _reflected(width, pixels, x.device)]
    else:
        x = F.pad(x, (pixels, pixels, pixels, pixels))
    corner_2B = torch.randint(2 * pixels + 1, (2, rows), generator=generator, device=x.device)
    windows = x.unfold(2, height, 1).unfold(3, width, 1)  # every window, without a copy
    return windows[torch.arange(rows, device=x.device), :, corner_2B[0], corner_2B[1]]


def random_flip(x: Shaped[Tensor, "rows channels height width"], generator: Generator) -> Shaped[Tensor, "..."]:
    """Mirror each row left to right with probability 1/2."""
    flipped_B = torch.rand(len(x), generator=generator, device=x.device) < 0.5
    return torch.where(flipped_B[:, None, None, None], x.flip(-1), x)


def cutout(
    x: Float[Tensor, "rows channels height width"], side: int, generator: Generator
) -> Float[Tensor, "rows channels height width"]:
    """Set a square around a random pixel of each row to 0; it may extend over the border.

    Args:
        x: normalised images.
        side: the side of the square in pixels.
        generator: random numbers.
    """
    rows, _, height, width = x.shape
    y_B = torch.randint(height, (rows,), generator=generator, device=x.device)
    x_B = torch.randint(width, (rows,), generator=generator, device=x.device)
    top_B, left_B = y_B - side // 2, x_B - side // 2
    return x.masked_fill(_boxes(top_B, left_B, side, side, height=height, width=width), 0.0)


def mixup(
    x: Float[Tensor, "rows ..."], targets: Float[Tensor, "rows classes"], alpha: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mix each row with another row, with a random ratio, in inputs and targets.

    Args:
        x: inputs.
        targets: class probabilities.
        alpha: the parameter of the Beta distribution of the ratio.
        generator: random numbers.
    """
    share_B = _beta(alpha, len(x), x, generator)
    partner_B = torch.randperm(len(x), generator=generator, device=x.device)
    wide = share_B.view(-1, *(1,) * (x.ndim - 1))
    narrow = share_B.view(-1, *(1,) * (targets.ndim - 1))
    return wide * x + (1 - wide) * x[partner_B], narrow * targets + (1 - narrow) * targets[partner_B]


def cutmix(
    x: Float[Tensor, "rows channels height width"],
    targets: Float[Tensor, "rows classes"],
    alpha: float,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """Copy a box of another row's pixels into each row; targets are weighted with the actual fractions of pixels.

    Args:
        x: images.
        targets: class probabilities.
        alpha: the parameter of the Beta distribution of the box's area.
        generator: random numbers.
    """
    rows, _, height, width = x.shape
    root_B = (1 - _beta(alpha, rows, x, generator)).clamp_min(0).sqrt()
    high_B, wide_B = (height * root_B).long(), (width * root_B).long()
    y_B = torch.randint(height, (rows,), generator=generator, device=x.device)
    x_B = torch.randint(width, (rows,), generator=generator, device=x.device)
    partner_B = torch.randperm(rows, generator=generator, device=x.device)
    inside = _boxes(y_B - high_B // 2, x_B - wide_B // 2, high_B, wide_B, height=height, width=width)
    kept_B = 1 - inside.to(x.dtype).mean(dim=(1, 2, 3)).view(-1, *(1,) * (targets.ndim - 1))
    return torch.where(inside, x[partner_B], x), kept_B * targets + (1 - kept_B) * targets[partner_B]


def step_seed(seed: int, epoch: int, step: int) -> int:
    """Return the seed of one training step's generator: the same in a resumed run, and different for every step.

    Args:
        seed: the seed of the run.
        epoch: the epoch, from 0.
        step: the step in the epoch, from 0.
    """
    words = np.random.SeedSequence([seed, epoch, step]).generate_state(2, dtype=np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])


def _boxes(
    top_B: Tensor, left_B: Tensor, high: Tensor | int, wide: Tensor | int, *, height: int, width: int
) -> Shaped[Tensor, "rows one height width"]:
    """Return masks ``(B, 1, H, W)`` of boxes, clipped at the border."""
    y, x = torch.arange(height, device=top_B.device), torch.arange(width, device=top_B.device)
    rows = (y >= top_B[:, None]) & (y < (top_B + high)[:, None])
    columns = (x >= left_B[:, None]) & (x < (left_B + wide)[:, None])
    return (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)


def _reflected(size: int, pixels: int, device: torch.device) -> Tensor:
    """Return row indices with `pixels` more at either end, mirrored at the border without repeating it."""
    index = torch.arange(-pixels, size + pixels, device=device).abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)


def _beta(alpha: float, rows: int, like: Tensor, generator: Generator) -> Tensor:
    """Return draws from ``Beta(alpha, alpha)``, one for each row."""
    alphas = torch.full((rows, 2), alpha, dtype=torch.float32, device=like.device)
    # torch.distributions.Dirichlet calls this too, but that class takes no generator.
    shares: Tensor = torch._sample_dirichlet(alphas, generator=generator)
    return shares[:, 0].to(like.dtype)

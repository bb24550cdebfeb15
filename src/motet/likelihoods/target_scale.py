"""The scale of standardised targets: the conversion of targets, predictions and scores to own units."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError

IN_THE_TARGETS_UNIT = ("rmse", "member_rmse", "crps", "member_crps", "interval_width")
"""Scores that are proportional to the unit of the targets."""


@final
@dataclass(frozen=True, kw_only=True)
class TargetScale:
    """The mean and the standard deviation by which targets were standardised: ``z = (y - mean) / std``.

    Numbers in own units are computed in double precision where the device has it, because targets may be large and
    differ little (years, prices).

    Attributes:
        mean: one number for each target, or one for all.
        std: the same, above 0.

    Raises:
        InputError: on construction, for numbers that are not finite, and for a standard deviation of 0 or less.

    >>> scale = TargetScale(mean=(1000.0,), std=(50.0,))
    >>> scale.restore(torch.tensor([[0.0], [2.0]])).flatten().tolist()
    [1000.0, 1100.0]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if not (self.mean and len(self.mean) == len(self.std) and finite and min(self.std) > 0):
            raise InputError(
                "target_mean must be finite, and target_std finite and above 0, with one number for each target",
                got=f"target_mean={_brief(self.mean)}, target_std={_brief(self.std)}",
                fix="Compute them from the training targets; leave out a target that never varies",
            )

    @classmethod
    def of(cls, mean: float | Sequence[float] | Tensor, std: float | Sequence[float] | Tensor) -> "TargetScale | None":
        """Return the scale with this mean and standard deviation; None if it changes nothing.

        Args:
            mean: one number for each target, or one for all.
            std: the same.
        """
        means, stds = _numbers(mean), _numbers(std)
        if len(means) == 1:
            means *= len(stds)
        if len(stds) == 1:
            stds *= len(means)
        scale = cls(mean=means, std=stds)
        return None if set(scale.mean) == {0.0} and set(scale.std) == {1.0} else scale

    @property
    def common(self) -> float | None:
        """The standard deviation if there is one for all targets. None if each target has its own, and its own unit."""
        return self.std[0] if len(self.std) == 1 else None

    def restore(self, z: Shaped[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return standardised targets, or their means, in own units.

        Args:
            z: numbers of shape ``(..., K)``; with one number for all targets, of any shape.
        """
        wide, mean, std = self._with(z)
        return wide * std + mean

    def standardise(self, y: Shaped[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Undo `restore`."""
        wide, mean, std = self._with(y)
        return (wide - mean) / std

    def widen(self, spread: Shaped[Tensor, "*axes"], *, power: int = 1) -> Float[Tensor, "*axes"]:
        """Return standard deviations, or with power 2 variances, in own units.

        Args:
            spread: numbers of shape ``(..., K)``; with one number for all targets, of any shape.
            power: the power of the unit.
        """
        wide, _, std = self._with(spread)
        return wide * std**power

    def log_volume(self, targets: int) -> float:
        """Return what the NLL is larger in own units, in nats: the sum over the targets of ``log std``.

        Args:
            targets: the number of targets K.
        """
        return targets * math.log(self.std[0]) if len(self.std) == 1 else sum(map(math.log, self.std))

    def in_own_units(self, scores: Mapping[str, float], *, targets: int) -> dict[str, float]:
        """Convert scores of standardised targets, by their names in `motet.metrics.score`, to own units.

        `log_volume` is added to NLLs. RMSE, CRPS and interval widths are multiplied by `std` if it is one number for
        all targets. Otherwise they stay in units of the standard deviation, because a mean over targets with different
        units has no unit.

        Args:
            scores: the scores.
            targets: the number of targets K.
        """
        shift = self.log_volume(targets)
        factors = dict.fromkeys(IN_THE_TARGETS_UNIT, self.common or 1.0)
        shifts = {"nll": shift, "member_nll": shift}
        return {name: value * factors.get(name, 1.0) + shifts.get(name, 0.0) for name, value in scores.items()}

    def _with(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the values, the mean and the standard deviation in the widest type of the values' device."""
        width = len(self.mean)
        if width > 1 and (values.ndim == 0 or values.shape[-1] != width):
            raise InputError(
                f"targets that were standardised separately need {width} numbers per row",
                got=f"shape {tuple(values.shape)}",
                fix="Pass the targets in the order in which the network was trained on them",
            )
        dtype = torch.float32 if values.device.type == "mps" else torch.float64
        # A single number is made on the CPU: it works with tensors on any device, and needs no transfer.
        device = torch.device("cpu") if width == 1 else values.device
        mean, std = (torch.tensor(each, dtype=dtype, device=device) for each in (self.mean, self.std))
        return values.to(dtype), *((mean[0], std[0]) if width == 1 else (mean, std))


def _numbers(given: float | Sequence[float] | Tensor) -> tuple[float, ...]:
    values = given.tolist() if hasattr(given, "tolist") else given  # a tensor, or an array
    return tuple(map(float, values if isinstance(values, Sequence) else [values]))


def _brief(values: tuple[float, ...], most: int = 8) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:most])
    return shown if len(values) == 1 else f"({shown}{', ...' if len(values) > most else ''})"

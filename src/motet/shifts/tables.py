"""Shifts of tables: features that are moved, missing, or noisy.

There is no standard set, so these are motet's own. Amounts are in training standard deviations of each feature, so that
columns with any unit are affected equally, and a column that was constant in training does not change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from motet.errors import InputError, nearest
from motet.shifts._corruption import check_severity
from motet.shifts.draws import Draws


@final
@dataclass(frozen=True, kw_only=True)
class TableShift:
    """A shift of a table at five severities.

    Attributes:
        description: one line.
        levels: the amounts at severities 1 to 5.
    """

    description: str
    levels: tuple[float, float, float, float, float]


TABLE_SHIFTS: Mapping[str, TableShift] = MappingProxyType(
    {
        "covariate_shift": TableShift(
            description="every feature moved by this many standard deviations, up or down, the same for all rows",
            levels=(0.25, 0.5, 1.0, 1.5, 2.0),
        ),
        "missing_features": TableShift(
            description="this fraction of the entries replaced by the feature's training mean",
            levels=(0.1, 0.2, 0.3, 0.4, 0.5),
        ),
        "feature_noise": TableShift(
            description="normal noise of this many standard deviations on every entry",
            levels=(0.1, 0.2, 0.4, 0.7, 1.0),
        ),
    }
)
"""Shifts of tables by name."""


def shift_table(
    features: Shaped[Tensor, "..."],
    name: str,
    *,
    severity: int,
    mean: Float[Tensor, "..."],
    std: Float[Tensor, "..."],
    seed: int = 0,
    index: Int64[Tensor, "..."] | None = None,
) -> Float[Tensor, "row feature"]:
    """Shift the rows of a table; missing values (NaN) stay missing.

    Args:
        features: ``(N, D)``, floating-point.
        name: a key of `TABLE_SHIFTS`.
        severity: from 1 (mild) to 5.
        mean: each feature's mean over the training rows, ``(D,)``. Compute it, and `std`, only from training rows.
        std: each feature's standard deviation over the training rows, ``(D,)``.
        seed: the seed of the random numbers.
        index: a number for each row, ``(N,)``; by default 0 to N - 1. A row's shift does not depend on other rows.

    Raises:
        InputError: for an unknown name (with the nearest), a severity outside 1..5, features of another shape or dtype,
            and a mean and std that do not fit them.
    """
    if name not in TABLE_SHIFTS:
        raise InputError("a shift of tables must be one of motet's", got=repr(name), fix=nearest(name, TABLE_SHIFTS))
    amount = TABLE_SHIFTS[name].levels[check_severity(severity) - 1]
    _check(features, mean, std)
    index = torch.arange(len(features), device=features.device) if index is None else index
    if index.shape != features.shape[:1]:
        raise InputError(
            f"index must hold a number for each of the {len(features)} rows",
            got=f"shape {tuple(index.shape)}",
            fix="Pass the rows' positions in the table",
        )
    mean_D, std_D = (values.to(device=features.device, dtype=features.dtype) for values in (mean, std))
    width = features.shape[1]
    if name == "covariate_shift":
        everywhere = torch.zeros(1, dtype=torch.int64, device=features.device)
        up_D = Draws(seed=seed, index_B=everywhere, stream=name).uniform(width)[0] < 0.5
        return features + torch.where(up_D, amount, -amount).to(features.dtype) * std_D
    draws = Draws(seed=seed, index_B=index, stream=f"{name}/{severity}")
    if name == "missing_features":
        gone = (draws.uniform(width) < amount) & (std_D > 0)
        return torch.where(gone & ~features.isnan(), mean_D, features)
    return features + draws.normal(width, std=amount).to(features.dtype) * std_D


def _check(features: Tensor, mean: Tensor, std: Tensor) -> None:
    if features.ndim != 2 or not features.is_floating_point() or features.numel() == 0:
        raise InputError(
            "a table must be floating numbers of shape (rows, features), with at least one of each",
            got=f"{str(features.dtype).removeprefix('torch.')} of shape {tuple(features.shape)}",
            fix="Convert it with .float(), one row per example",
        )
    for what, values in (("mean", mean), ("std", std)):
        wrong = ~torch.isfinite(values) | (values < 0 if what == "std" else torch.zeros_like(values, dtype=torch.bool))
        if values.shape != features.shape[1:] or bool(wrong.any()):
            shape = tuple(values.shape)
            raise InputError(
                f"{what} must hold a finite number{' of at least 0' if what == 'std' else ''} for each of the "
                f"{features.shape[1]} features",
                got=f"{what} of shape {shape}" if not wrong.any() else f"{float(values[wrong][0]):g}",
                fix=f"Pass train.{what}(dim=0) of the training rows",
            )

"""Metrics of real-valued predictions: the root mean squared error."""

from jaxtyping import Float
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Gaussian
from motet.metrics._checks import check_filled, check_not_nan, widen


def rmse(mean_BC: Float[Tensor, "batch out"], y: Float[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Root of the mean squared error over rows and targets, in the unit of the targets. Lower is better.

    For targets in different units, `motet.metrics.target_scores` has the error of each.

    Args:
        mean_BC: predicted means ``(B, C)``.
        y: real targets, ``(B, C)``, or ``(B,)`` if C is 1.

    Raises:
        InputError: for no rows, NaN, and targets that are not finite or of another shape.

    >>> import torch
    >>> rmse(torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 1.0]))
    tensor(1.4142)
    """
    return member_rmse(mean_BC.unsqueeze(1), y).squeeze(0)


def member_rmse(mean_BMC: Float[Tensor, "batch member out"], y: Float[Tensor, "batch ..."]) -> Float[Tensor, "member"]:
    """Each member's `rmse`, ``(M,)``.

    Args:
        mean_BMC: the members' predicted means ``(B, M, C)``.
        y: real targets, ``(B, C)``, or ``(B,)`` if C is 1.

    Raises:
        InputError: for no rows, NaN, and targets that are not finite or of another shape.

    >>> import torch
    >>> member_rmse(torch.tensor([[[1.0], [4.0]]]), torch.tensor([1.0]))
    tensor([0., 3.])
    """
    check_filled(mean_BMC)
    check_not_nan(mean_BMC)
    rows, _, outputs = mean_BMC.shape
    check_real_targets(y, rows=rows, outputs=outputs)
    # Without the reshape (B,) and (B, 1) would be broadcast to (B, B).
    error_BMC = widen(mean_BMC) - y.reshape(rows, 1, outputs)
    return error_BMC.square().mean(dim=(0, 2)).sqrt()


def check_real_targets(y: Tensor, *, rows: int, outputs: int) -> None:
    """Check that `y` has `outputs` finite numbers in each of `rows` rows.

    Args:
        y: the targets.
        rows: the number of rows.
        outputs: the number of targets per row.

    Raises:
        InputError: for another shape, and values that are not finite floating-point numbers.
    """
    check_shape(y, rows=rows, targets=outputs)
    Gaussian().check_targets(y, outputs=outputs)


def check_shape(y: Tensor, *, rows: int, targets: int) -> None:
    """Check that the shape of `y` is ``(rows, targets)``, or ``(rows,)`` for one target per row.

    Args:
        y: the targets.
        rows: the number of rows.
        targets: the number of targets per row.

    Raises:
        InputError: for another shape.
    """
    shapes = [(rows, targets), (rows,)] if targets == 1 else [(rows, targets)]
    if tuple(y.shape) not in shapes:
        raise InputError(
            f"{rows} rows of {targets} outputs need targets of shape {' or '.join(map(str, shapes))}",
            got=f"targets of shape {tuple(y.shape)}",
            fix="Pass one target per output and row",
        )

"""Check that a model's output for a row does not depend on the other rows of the batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from motet._internal.nested import Inputs, joined, map_inputs
from motet.ensemble import Ensemble
from motet.errors import InputError


def varied_row(example: Tensor, *, step: float = 1.0) -> Tensor:
    """Return a row that differs from the rows of `example`, with values that the model accepts.

    Args:
        example: a batch of inputs.
        step: another number gives another row.

    Returns:
        One row: a sine over all entries for floating-point numbers; otherwise the first row with its first entry
        everywhere, or, with another step than 1, backwards.
    """
    row = example[:1]
    if row.is_floating_point():
        return (step * torch.arange(1, row.numel() + 1, device=row.device)).sin().view_as(row).to(row.dtype)
    return row[..., :1].expand_as(row).clone() if step == 1 else row.flip(-1)


def check_rows_alone(ensemble: Ensemble, example: Inputs) -> None:
    """Compare the outputs for rows that are predicted together with those for each row alone.

    Training batches may mix rows, as batch norms do; predictions must not. Dropout is switched off for the comparison.
    A model with other random numbers, whose output is not repeatable, is not checked.

    Args:
        ensemble: the ensemble, in evaluation mode.
        example: a batch of inputs.

    Raises:
        InputError: if a row's output depends on its neighbours.
    """
    more: list[Any] = [map_inputs(example, partial(varied_row, step=step)) for step in (1.0, 0.7)]
    rows = joined([example[:2], *more])
    with _without_dropout(ensemble):
        try:
            together = ensemble(rows)
        except IndexError:  # integers in other places may be too large for a column's table
            rows = joined([example[:2], example[:2]])
            together = ensemble(rows)
        allowed = _allowed(together)
        if not together.isfinite().all():
            return
        try:
            alone = torch.cat([ensemble(row) for row in rows.split(1)])
        except Exception:  # some models cannot run a single row: a batch norm without running statistics, a squeeze
            half = len(rows) // 2
            alone = torch.cat([ensemble(rows[:half]), ensemble(rows[half:])])
        changed = (together - alone).abs().max()
        if changed > allowed and (together - ensemble(rows)).abs().max() > allowed:
            return  # random
    if changed > allowed:
        raise InputError(
            "each row of the model's output must depend only on the same row of its input",
            got=f"a model whose output for a row changes by {float(changed):.2g} with the other rows in the batch "
            f"(the outputs of different rows differ by {float(_spread(together)):.2g})",
            fix="Look for operations over the batch axis, such as h - h.mean(0), softmax(dim=0), attention with "
            "batch_first=False, or a batch norm with track_running_stats=False",
        )


def _allowed(outputs: Tensor) -> Tensor:
    """Return the difference that rounding may cause: far below the differences between rows."""
    half = outputs.dtype in (torch.float16, torch.bfloat16)
    rounding = 3e-2 if half else 2e-3 if outputs.is_cuda else 1e-5  # TF32 on CUDA devices
    return 0.02 * _spread(outputs) + rounding * outputs.abs().max()


def _spread(outputs: Tensor) -> Tensor:
    return (outputs - outputs[:1]).abs().max()


@contextmanager
def _without_dropout(module: nn.Module) -> Iterator[None]:
    """Set the probability of all dropout layers to zero in this context, also of those that predict with dropout."""
    before = [(part, part.p) for part in module.modules() if isinstance(getattr(part, "p", None), float)]
    try:
        for part, _ in before:
            part.p = 0.0  # type: ignore[assignment]
        yield
    finally:
        for part, probability in before:
            part.p = probability

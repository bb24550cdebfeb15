"""Run a wrapped model once in each way it will run later, so that errors show at once."""

import torch
from torch import Tensor

from motet._internal.evaluation_mode import evaluating
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.types import Batch


def rehearse(ensemble: Ensemble, example: Tensor) -> None:
    """Run the wrapped model once in each way it will run later, so that errors show at once.

    Args:
        ensemble: the result of `Method.wrap`.
        example: its example.

    Raises:
        InputError: if it fails, or if its rows are not independent.
    """
    # A single row would be broadcast even where the members' rows do not fit.
    example = torch.cat([example, another_row(example)])
    try:
        with torch.no_grad(), evaluating(ensemble):
            shared = ensemble(example)
            labels = torch.zeros(len(example), dtype=torch.long, device=example.device)
            batch: Batch = ensemble.grouping.deal(example, labels, members=ensemble.members_in_training)
            if batch.distinct:
                ensemble.forward_batch(batch)
                _check_rows(ensemble, example, shared)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            "the model must work row by row from its input layer to its output layer",
            got=f"a model that failed after {ensemble.description} replaced them: {type(error).__name__}: {error}",
            fix="If the model reshapes its features, use the batch size of the features, not that of the input: "
            "features.flatten(1), not features.view(len(x), -1). "
            "If the input is read by several layers, name all of them with first=(...)",
        ) from error


def another_row(example: Tensor) -> Tensor:
    """Return a row like those of `example`; if they are floating-point numbers, a row without constant parts."""
    row = example[:1]
    if not row.is_floating_point():
        return row
    return torch.arange(1, row.numel() + 1, device=row.device).sin().view_as(row).to(row.dtype)


def _check_rows(ensemble: Ensemble, example: Tensor, shared: Tensor) -> None:
    """Raise `InputError` if separate copies of an input give the members another output than the shared input.

    That happens if a model moves its batch axis, or mixes it with another axis, before its input layer: the members'
    rows are then in other places, although the shapes may fit.
    """
    if example.is_meta:
        return
    inputs = example.unsqueeze(1).expand(-1, ensemble.members, *example.shape[1:])
    targets_BM = torch.zeros(inputs.shape[:2], dtype=torch.long, device=example.device)
    own = ensemble.forward_batch(Batch(inputs=inputs, targets_BM=targets_BM, distinct=True))
    # Far above rounding errors (TF32 convolutions: 0.1 %), far below the differences between rows.
    allowed = 0.05 * shared.abs().max()
    repeatable = (ensemble(example) - shared).abs().max() <= allowed
    if bool(repeatable) and bool((own - shared).abs().max() > allowed):
        raise InputError(
            "each row of the model's output must come from the same row of its input",
            got=f"a model that mixes up rows after {ensemble.description} replaced its layers",
            fix="Keep the batch as the first axis, or name another layer with first=",
        )

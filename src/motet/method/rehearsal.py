"""Run a wrapped model once in each way it will run later, so that errors show at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from motet._internal.copying import stand_in_for
from motet._internal.evaluation_mode import evaluating
from motet._internal.loading import describe_error
from motet._internal.nested import Inputs, joined, map_inputs
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.method.rows import check_rows_alone, varied_row
from motet.method.trainable import check_training
from motet.types import Batch


def rehearse(ensemble: Ensemble, example: Inputs, *, members_differ: bool = True) -> None:
    """Run a copy of the wrapped model once in each way it will run later, so that errors show at once.

    The copy has the same parameters, but its own buffers, caches and other attributes: nothing of the ensemble changes.

    Args:
        ensemble: the result of `Method.wrap`.
        example: its example.
        members_differ: whether members that are equal, and stay so in training, are an error.

    Raises:
        InputError: if it fails, if its rows are not independent, or if it cannot be trained.
    """
    # A single row would be broadcast even where the members' rows do not fit.
    example = joined([example, another_row(example)])
    with torch.inference_mode(False), _as_input_error(ensemble):
        stand_in = stand_in_for(ensemble)
        with torch.no_grad(), evaluating(stand_in):
            # The random numbers of these passes are drawn from the run's own: to leave them out would change all runs.
            shared = stand_in(example)
            labels = torch.zeros(len(example), dtype=torch.long, device=example.device)
            batch: Batch = ensemble.grouping.deal(example, labels, members=ensemble.members_in_training)
            if batch.distinct:
                if example.is_meta:
                    stand_in.forward_batch(batch)  # elsewhere the training step does this
                _check_rows(stand_in, example, shared)
    if example.is_meta:
        return
    with torch.random.fork_rng(devices=[example.device] if example.is_cuda else []), torch.inference_mode(False):
        with _as_input_error(ensemble), torch.no_grad(), evaluating(stand_in):
            check_rows_alone(stand_in, example)
        if stand_in is not ensemble:  # training would change it
            with torch.enable_grad():
                check_training(stand_in, example, batch, shared if members_differ else None)


@contextmanager
def _as_input_error(ensemble: Ensemble) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            "the model must work row by row from its input layer to its output layer",
            got=f"a model that failed after {ensemble.description} replaced them: {describe_error(error)}",
            fix="If the model reshapes its features, use the batch size of the features, not that of the input: "
            "features.flatten(1), not features.view(len(x), -1). "
            "If the input is read by several layers, name all of them with first=(...)",
        ) from error


def _padded(row: Tensor) -> Tensor:
    """Return a row in which, if it is a mask that masks nothing, the last place is masked."""
    if row.is_meta or row.ndim < 2 or row.shape[-1] < 2 or not bool((row == 1).all()):
        return row
    row = row.clone()
    row[..., -1] = 0
    return row


def another_row(example: Inputs) -> Any:
    """Return a row like those of `example`; if they are floating-point numbers, a row without constant parts.

    A mask of ones gets a zero at its end, because a model may treat padded batches in another way.
    """
    return map_inputs(example, lambda each: varied_row(each) if each.is_floating_point() else _padded(each[:1]))


def _check_rows(ensemble: Ensemble, example: Inputs, shared: Tensor) -> None:
    """Raise `InputError` if separate copies of an input give the members another output than the shared input.

    That happens if a model moves its batch axis, or mixes it with another axis, before its input layer: the members'
    rows are then in other places, although the shapes may fit.
    """
    if example.is_meta:
        return
    inputs: Any = example.unsqueeze(1).expand(len(example), ensemble.members, *example.shape[1:])
    targets_BM = torch.zeros(inputs.shape[:2], dtype=torch.long, device=example.device)
    own = ensemble.forward_batch(Batch(inputs=inputs, targets_BM=targets_BM, distinct=True))
    # Far above rounding errors (TF32 convolutions: 0.1 %), far below the differences between rows.
    allowed = 0.05 * shared.abs().max()
    differs = bool((own - shared).abs().max() > allowed)
    if differs and bool((ensemble(example) - shared).abs().max() <= allowed):  # and not because it is random
        raise InputError(
            "each row of the model's output must come from the same row of its input",
            got=f"a model that mixes up rows after {ensemble.description} replaced its layers",
            fix="Keep the batch as the first axis, or name another layer with first=",
        )

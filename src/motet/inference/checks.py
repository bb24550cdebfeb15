"""What an ensemble refuses to run on, and why."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet.errors import InputError
from motet.layers import MemberLayer
from motet.likelihoods import Likelihood
from motet.types import Batch


def check_axes(x: Tensor, axes: int | None) -> None:
    """Raise `InputError` unless `x` has so many axes; not checked if None."""
    if axes is not None and x.ndim != axes:
        raise InputError(
            f"inputs must be one batch with {axes} axes, as the example was",
            got=f"shape {tuple(x.shape)}",
            fix="Pass examples (B, ...) to the ensemble; inputs of each member's own (B, M, ...) go to "
            "forward_distinct",
        )


def check_examples(x: Tensor, y: Tensor) -> None:
    """Raise `InputError` for an empty training batch, and unless there is one target per input."""
    if len(x) != len(y) or len(x) == 0:
        raise InputError(
            "a batch must have one target per input, and at least one input",
            got=f"{len(x)} inputs and {len(y)} targets",
            fix="Pass x and y of the same examples",
        )


def check_distinct(x_BM: Tensor, members: int, *, possible: bool, description: str) -> None:
    """Raise `InputError` unless members can have inputs of their own (`possible`) and `x_BM` has one for each."""
    if not possible:
        raise InputError(
            "different examples for the members need members with inputs of their own",
            got=f"{description}, whose members share one input",
            fix="Call the ensemble itself, or take a method with an input for each member: MIMO, MixMo, DataMUX",
        )
    if x_BM.ndim < 2 or x_BM.shape[1] != members:
        raise InputError(
            f"different examples for the members must have shape (batch, {members}, ...)",
            got=f"shape {tuple(x_BM.shape)}",
            fix=f"Lay {members} examples side by side: x.unflatten(0, (-1, {members})), or call the "
            "ensemble itself for one input to all members",
        )


def check_dealt(batch: Batch, members: int, in_training: int) -> int:
    """How many members the batch was dealt to; `InputError` unless all, or those that a training step runs."""
    dealt = batch.targets_BM.shape[1]
    if batch.distinct:
        dealt = batch.inputs.shape[1] if batch.inputs.ndim > 1 else 0
    if dealt not in (members, in_training):
        raise InputError(
            f"{'inputs of the members own' if batch.distinct else 'targets'} must have shape (batch, {members}, ...)",
            got=f"shape {tuple((batch.inputs if batch.distinct else batch.targets_BM).shape)}",
            fix="Deal the batch with ensemble.grouping.deal(x, y, members=ensemble.members)",
        )
    return dealt


def checked_loss(compute: Callable[[], Tensor], likelihood: Likelihood, y: Tensor, *, outputs: int) -> Tensor:
    """The loss that `compute` gives, or `InputError` for targets `y` that the likelihood cannot have made.

    Looking at the targets' values at every step takes time, and makes an accelerator wait. It is done when something
    went wrong, to say what.
    """
    likelihood.check_targets(y, outputs=outputs, values=False)
    try:
        loss = compute()
    except IndexError:
        likelihood.check_targets(y, outputs=outputs)
        raise
    if loss.device.type == "cpu" and not math.isfinite(loss.item()):
        likelihood.check_targets(y, outputs=outputs)
    return loss


def by_member(out_rows: object, rows: int, members: int, *, axes: int = 2) -> Float[Tensor, "batch member ..."]:
    """What a network returned, rows ``(M B, ...)``, as outputs ``(B, M, ...)``, in single precision at least.

    Args:
        out_rows: what the network returned.
        rows: B.
        members: M.
        axes: the number of axes that the rows must have: 2 for ``(M B, C)``, 3 for ``(M B, D, C)``.

    Raises:
        InputError: if it is no tensor of this shape.
    """
    if not isinstance(out_rows, Tensor) or out_rows.ndim != axes or len(out_rows) != members * rows:
        raise InputError(
            f"the network must return {members} rows (members) for each of the {rows} inputs",
            # Some models return more than the logits, but in training only.
            got=f"an output of shape {tuple(out_rows.shape)}"
            if isinstance(out_rows, Tensor)
            else f"a {type(out_rows).__name__}",
            fix="Check that nothing in the model mixes or drops rows, and that the input is one batch (B, ...)",
        )
    if out_rows.dtype in (torch.float16, torch.bfloat16):
        out_rows = out_rows.float()  # softmax and logsumexp of half-precision outputs lose digits that NLL shows
    outputs: Tensor = out_rows.unflatten(0, (members, rows)).transpose(0, 1)
    return outputs


def folded_error(what: str) -> InputError:
    """For what a folded ensemble cannot do."""
    return InputError(
        f"{what} needs the ensemble as it was trained",
        got="a folded ensemble, which is for inference",
        fix="Call it on the ensemble that fold() was called on",
    )


def one_output_error(what: str, description: str, *, instead: str) -> InputError:
    """For what needs outputs at several depths, of an ensemble whose members have one output."""
    return InputError(
        f"{what} needs outputs at several depths",
        got=f"{description}, whose members have one output",
        fix=f"{instead}, or take a method with exits: EarlyExit, DUN, MIMMO",
    )


def part_of_all_error(held: int, members: int) -> InputError:
    """For choosing members on a process that holds `held` of all `members`."""
    return InputError(
        "some members are chosen where all of them are",
        got=f"an ensemble of {members} over several processes, this one with {held}",
        fix="Wrap the model without a grid and load the run's weights: motet.training.load_run_weights(folder, "
        "ensemble)",
    )


def check_separable(network: nn.Module, members: int, description: str) -> None:
    """Raise `InputError` if no layer of a network of several members says what one of them is."""
    if members > 1 and not any(isinstance(module, MemberLayer) for module in network.modules()):
        raise InputError(
            "a member can only be extracted from a network with layers that have a member axis",
            got=f"{description}, whose layers are no motet.layers.MemberLayer",
            fix="Derive the layers that hold the members from motet.layers.MemberLayer",
        )

"""Checks of an ensemble's inputs, and the errors that they raise."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.nested import Inputs
from motet._internal.wording import with_article
from motet.errors import InputError
from motet.inference.positions import classes_last
from motet.layers import Layout, MemberLayer
from motet.likelihoods import Likelihood
from motet.types import Batch


def check_examples(x: Inputs, y: Tensor) -> None:
    """Check a training batch.

    Raises:
        InputError: if it is empty, or has not one target per input.
    """
    if len(x) != len(y) or len(x) == 0:
        raise InputError(
            "a batch must have one target per input, and at least one input",
            got=f"{len(x)} inputs and {len(y)} targets",
            fix="Pass inputs and targets of the same examples",
        )


def check_distinct(x_BM: Inputs, members: int, *, possible: bool, description: str) -> None:
    """Check different examples for the members.

    Args:
        x_BM: inputs, ``(B, M, ...)``.
        members: M.
        possible: whether members can have different inputs.
        description: what made the ensemble, for the error.

    Raises:
        InputError: if members share one input, or `x_BM` has not one input for each.
    """
    if not possible:
        raise InputError(
            "different examples for the members need a method with separate inputs",
            got=f"{description}, whose members share one input",
            fix="Call the ensemble itself, or use a method with an input for each member: MIMO, MixMo, DataMUX",
        )
    if x_BM.ndim < 2 or x_BM.shape[1] != members:
        raise InputError(
            f"different examples for the members must have shape (batch, {members}, ...)",
            got=f"shape {tuple(x_BM.shape)}",
            fix=f"Group the examples by {members}: x.unflatten(0, (-1, {members})), or call the ensemble itself "
            "to pass one input to all members",
        )


def check_dealt(batch: Batch, members: int, in_training: int) -> int:
    """Return the number of members that a batch is for.

    Args:
        batch: a batch from a grouping.
        members: M.
        in_training: the number of members that a training step runs.

    Raises:
        InputError: unless it is one of these two numbers.
    """
    dealt = batch.targets_BM.shape[1]
    if batch.distinct:
        dealt = batch.inputs.shape[1] if batch.inputs.ndim > 1 else 0
    if dealt not in (members, in_training):
        raise InputError(
            f"{'separate inputs for the members' if batch.distinct else 'targets'} must have shape (batch, "
            f"{members}, ...)",
            got=f"shape {tuple((batch.inputs if batch.distinct else batch.targets_BM).shape)}",
            fix="Make the batch with ensemble.grouping.deal(x, y, members=ensemble.members)",
        )
    return dealt


def checked_loss(compute: Callable[[], Tensor], likelihood: Likelihood, y: Tensor, *, outputs: int) -> Tensor:
    """Return the loss that `compute` returns.

    Checking the targets' values at every step takes time, and synchronises with an accelerator. They are checked only
    after something went wrong, to explain it.

    Args:
        compute: computes the loss.
        likelihood: the likelihood of the targets.
        y: the targets.
        outputs: the number of outputs of the network.

    Raises:
        InputError: for targets outside the support of the likelihood.
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


def by_member(
    out_rows: object, rows: int, members: int, *, likelihood: Likelihood, axes: int = 2
) -> Float[Tensor, "batch member ..."]:
    """Reshape a network's output rows ``(M B, ...)`` to outputs ``(B, M, ...)``, in single precision at least.

    The classes of outputs with positions become the last axis: ``(B, M, *P, C)``.

    Args:
        out_rows: what the network returned.
        rows: B.
        members: M.
        likelihood: says where the classes of outputs with positions are.
        axes: the number of axes that the rows must have: 2 for ``(M B, C)``, 3 for ``(M B, D, C)``, whose classes are
            last also if there are positions.

    Raises:
        InputError: if it is not a tensor of this shape.
    """
    may_have_positions = (axes == 2 or likelihood.output_axis is not None) and (
        isinstance(out_rows, Tensor) and out_rows.ndim > axes
    )
    if (
        not isinstance(out_rows, Tensor)
        or len(out_rows) != members * rows
        or (out_rows.ndim != axes and not may_have_positions)
    ):
        raise InputError(
            f"the network must return {members} rows (members) for each of the {rows} inputs",
            # Some models return more than the logits only in training.
            got=f"an output of shape {tuple(out_rows.shape)}"
            if isinstance(out_rows, Tensor)
            else with_article(type(out_rows).__name__),
            fix="Check that the model neither mixes nor drops rows, and that the input is one batch (B, ...)",
        )
    if axes == 2:
        out_rows = classes_last(out_rows, likelihood)
    if out_rows.dtype in (torch.float16, torch.bfloat16):
        out_rows = out_rows.float()  # softmax and logsumexp of half-precision outputs lose digits that affect the NLL
    outputs: Tensor = out_rows.unflatten(0, (members, rows)).transpose(0, 1)
    return outputs


def reads_own_rows(network: nn.Module, layout: Layout, members: int) -> bool:
    """Whether members can have different inputs: one of the layers holds the layout and reads from it whose rows it
    gets.

    Args:
        network: the ensemble's network.
        layout: the ensemble's layout.
        members: M.
    """
    return members == 1 or any(isinstance(part, MemberLayer) and part.layout is layout for part in network.modules())


def folded_error(what: str) -> InputError:
    """Return the error for a call that a folded ensemble cannot serve."""
    return InputError(
        f"{what} needs the ensemble before folding",
        got="a folded ensemble, which can only be used for inference",
        fix="Call it on the ensemble that fold() was called on",
    )


def one_output_error(what: str, description: str, *, instead: str) -> InputError:
    """Return the error for a call that needs outputs at several depths.

    Args:
        what: the call.
        description: what made the ensemble.
        instead: what to do with an ensemble whose members have one output.
    """
    return InputError(
        f"{what} needs outputs at several depths",
        got=f"{description}, whose members have one output",
        fix=f"{instead}, or use a method with exits: EarlyExit, DUN, MIMMO",
    )


def part_of_all_error(held: int, members: int) -> InputError:
    """Return the error for choosing members in a process that holds only some of them."""
    return InputError(
        "members can only be chosen in a process that holds all of them",
        got=f"an ensemble of {members} members over several processes, where this process has {held}",
        fix="Wrap the model without a grid and load the run's weights: motet.training.load_run_weights(folder, "
        "ensemble)",
    )


def check_separable(network: nn.Module, members: int, description: str) -> None:
    """Check that single members can be extracted from a network.

    Args:
        network: the ensemble's network.
        members: M.
        description: what made the ensemble, for the error.

    Raises:
        InputError: if a network of several members has no layer with a member axis.
    """
    if members > 1 and not any(isinstance(module, MemberLayer) for module in network.modules()):
        raise InputError(
            "a member can only be extracted from a network with layers that have a member axis",
            got=f"{description}, which has no motet.layers.MemberLayer",
            fix="Derive the layers that hold the members from motet.layers.MemberLayer",
        )

"""Choose how a network with several inputs reads them: all in one pass, or one after another up to its input layers."""

import torch
from torch import Tensor, nn

from motet._internal.copying import stand_in_for
from motet._internal.evaluation_mode import on_trial
from motet._internal.nested import Inputs, NestedInputs, joined
from motet.errors import InputError
from motet.layers import InputsInTurn, ReadsInTurn
from motet.method import ConversionContext
from motet.method.rehearsal import another_row

# Far above rounding errors (TF32 convolutions: 0.1 %), far below the differences between rows.
_TOLERANCE = 0.02


def with_separate_inputs(
    network: nn.Module, context: ConversionContext, members: int, first: tuple[str, ...]
) -> nn.Module:
    """Return the network itself if it works on rows ``(M B)``; otherwise in `motet.layers.InputsInTurn`.

    Args:
        network: the network, whose input layers read M inputs.
        context: what `Method.convert` is passed.
        members: M.
        first: the names of the input layers, for errors.

    Raises:
        InputError: if the output depends on an input that reaches it past the input layers, because only one member's
            could.
    """
    if members == 1 or context.example.is_meta:
        return network
    rows = joined([context.example, another_row(context.example)])
    swapped = joined([rows[1:], rows[:1]])
    # Members have different rows, so that rows in the wrong places show.
    given = joined([swapped if member % 2 else rows for member in range(members)])
    own_pass = InputsInTurn(network, members, layout=context.layout, joined=_truth_values(context.example))
    trial = stand_in_for(own_pass)
    devices = [context.example.device] if context.example.is_cuda else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), on_trial(trial), trial.layout.distinct_rows():
        together, in_turn = _pass(trial.network, given), _pass(trial, given)
        fits = in_turn is None or (together is not None and _close(together, in_turn))
        again = None if fits else _pass(trial, given)
        random = not fits and in_turn is not None and (again is None or not _close(again, in_turn))
        if in_turn is None or fits or (random and together is not None):
            for each in network.modules():
                if isinstance(each, ReadsInTurn):
                    each.turn = None
            return network  # where neither works, the rehearsal says why
        if not random and not _close(trial.with_rest_of(given, 1), in_turn):
            raise InputError(
                "the input must reach the output only through the layers that read the members' inputs",
                got=f"a model in which it also takes another way than {', '.join(map(repr, first))}",
                fix="Name all layers that read the input with first=(...), or use a method without input layers: "
                "BatchEnsemble, MixtureEnsembles, Multihead, DeepEnsemble",
            )
    return own_pass


def _pass(network: nn.Module, given: Inputs) -> Tensor | None:
    try:
        out = network(given.clone())
    except Exception:  # a network that cannot run like this may raise any error
        return None
    return out if isinstance(out, Tensor) and bool(out.isfinite().all()) else None


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() <= _TOLERANCE * other.abs().max())


def _truth_values(example: Inputs) -> tuple[str, ...]:
    """Return the names of tensors of truth values, or of zeros and ones, such as padding masks."""
    if not isinstance(example, NestedInputs) or example.is_meta:
        return ()
    return tuple(
        name
        for name, each in zip(example.names, example.tensors, strict=True)
        if each.dtype == torch.bool or (not each.is_floating_point() and bool(((each == 0) | (each == 1)).all()))
    )

"""Find the layers at which rows that all members share become separate rows for the members."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from motet._internal.copying import stand_in_for
from motet._internal.evaluation_mode import on_trial
from motet._internal.nested import Inputs
from motet.errors import InputError
from motet.surgery.probe import hooks, tensors
from motet.surgery.routed_rows import noticing_routed_rows

# Far above rounding errors (TF32 convolutions: 0.1 %), far below the differences between rows.
_TOLERANCE = 0.05


@final
@dataclass(frozen=True)
class Tiling:
    """The layers at which ``B`` rows become ``(M B)``.

    Attributes:
        layers: names of the layers that read shared rows and return members' rows.
        at_entrance: whether the input must be repeated before it enters; no layer reads shared rows then.
        ran: names of all layers that ran.
    """

    layers: frozenset[str]
    at_entrance: bool
    ran: frozenset[str]


def find_tiling(
    model: nn.Module, example: Inputs, names: Iterable[str], *, axes: Mapping[str, int] | None = None
) -> Tiling:
    """Find by trial the layers at which a model's rows can become members' rows, member-major.

    The model runs with the named layers unchanged, but each layer that reads shared rows returns rows for two members:
    the B rows of its output, followed by B copies of its output's last row. In every later layer, the first half must
    then equal the ordinary pass, and the second half copies of its last row. If it does not (the model adds its raw
    input to something later, or reshapes by its length), the input itself is doubled in this way.

    Args:
        model: maps ``(B, ...)`` to ``(B, C)``.
        example: an input batch of two rows or more, which differ.
        names: the layers that will get a member axis.
        axes: the axis of the rows in the input and the output of recurrent layers, whose states have them on axis 1. In
            all other layers they are on axis 0.

    Returns:
        The layers that read shared rows, or that the input must be repeated before it enters the model.

    Raises:
        InputError: if members' rows get mixed even then.
    """
    model = stand_in_for(model)
    layers = {name: model.get_submodule(name) for name in names}
    with torch.no_grad(), on_trial(model):
        plain, again = _Pass(len(example), axes or {}), _Pass(len(example), axes or {})
        for trial in (plain, again):
            with hooks(layers, before=trial.keep, after=lambda _, tensor: tensor), noticing_routed_rows() as routed:
                trial.output = model(example.clone())
        if routed.found:
            raise InputError(
                "each row of a layer's input must belong to the same row of the batch, whatever its values",
                got="a model that selects or sorts rows by their values, such as a mixture of experts",
                fix="Run the members one after another",
            )
        plain.trust = not example.is_meta and again.repeats(plain)
        ran = frozenset(plain.inputs)
        inside = _Trial(plain, at_entrance=False)
        # Masks are made of token ids, or are tensors beside them. An example without padding does not show that they
        # must be repeated too.
        masked = not isinstance(example, Tensor) or not example.is_floating_point()
        if not masked and inside.fails(model, example, layers) is None:
            return Tiling(frozenset(inside.tiling), at_entrance=False, ran=ran)
        if (problem := _Trial(plain, at_entrance=True).fails(model, example, layers)) is None:
            return Tiling(frozenset(), at_entrance=True, ran=ran)
    raise InputError(
        "each row of the model's output must come from the same row of its input, through all layers",
        got=f"a model that mixes members' rows: {problem}",
        fix="Keep the batch as the first axis of every layer's input",
    )


@final
@dataclass
class _Pass:
    """What the layers read in a plain pass, call by call."""

    rows: int
    axes: Mapping[str, int]
    inputs: dict[str, list[Tensor]] = field(default_factory=dict)
    output: Tensor = field(default_factory=lambda: torch.empty(0))
    trust: bool = True
    """Whether values can be compared: not on the meta device, nor for a model that is random or returns NaN."""

    def keep(self, name: str, inputs: Any) -> None:
        self.inputs.setdefault(name, []).append(self.rows_first(name, inputs).clone())

    def rows_first(self, name: str, inputs: Any) -> Tensor:
        return next(tensors(inputs)).movedim(self.axes.get(name, 0), 0)

    def repeats(self, other: "_Pass") -> bool:
        pairs = [(self.output, other.output)]
        pairs += [pair for name, values in self.inputs.items() for pair in zip(values, other.inputs[name], strict=True)]
        return all(_close(one, two) for one, two in pairs)


@final
class _Trial:
    """A pass with two members' rows; all rows of the second are the first's last row."""

    def __init__(self, plain: _Pass, *, at_entrance: bool) -> None:
        self.plain, self.at_entrance = plain, at_entrance
        self.calls: Counter[str] = Counter()
        self.kinds: dict[str, set[bool]] = {}
        self.meets_shared = False
        self.outputs = 0

    @property
    def tiling(self) -> set[str]:
        return {name for name, kinds in self.kinds.items() if True in kinds}

    def fails(self, model: nn.Module, example: Inputs, layers: dict[str, nn.Module]) -> str | None:
        """Return what goes wrong, or None."""
        given = self.doubled(example) if self.at_entrance else example.clone()
        try:
            with hooks(layers, before=self.read, after=self.pass_on):
                output = model(given)
            self.compare(output, self.doubled(self.plain.output), "the output")
            if any(len(kinds) > 1 for kinds in self.kinds.values()):
                raise _MixedUpError("a layer reads both the input and features made from it")
        except Exception as error:
            return f"{type(error).__name__}: {error}" if not isinstance(error, _MixedUpError) else str(error)
        return None

    def read(self, name: str, inputs: Any) -> None:
        x, self.outputs = self.plain.rows_first(name, inputs), 0
        expected = self.plain.inputs[name][self.calls[name]]
        self.calls[name] += 1
        self.meets_shared = not self.at_entrance and x.shape == expected.shape
        self.kinds.setdefault(name, set()).add(self.meets_shared)
        self.compare(x, expected if self.meets_shared else self.doubled(expected), f"the input of {name!r}")

    def pass_on(self, name: str, output: Tensor) -> Tensor:
        axis = self.plain.axes.get(name, 0) if not self.outputs else 1 if name in self.plain.axes else 0
        self.outputs += 1
        return self.doubled(output.movedim(axis, 0)).movedim(0, axis) if self.meets_shared else output

    def doubled(self, x: Any) -> Any:
        # A layer may read several rows for each example, such as the steps of a sequence.
        parted = x.unflatten(0, (self.plain.rows, -1))
        return torch.cat([x, parted[-1:].expand_as(parted).flatten(0, 1)])

    def compare(self, found: Tensor, expected: Tensor, what: str) -> None:
        if found.shape != expected.shape:
            raise _MixedUpError(f"{what} has shape {tuple(found.shape)}, not {tuple(expected.shape)}")
        if self.plain.trust and not _close(found, expected):
            raise _MixedUpError(f"{what} does not keep its rows")


class _MixedUpError(Exception):
    """Raised if rows are not where they should be."""


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.is_meta or one.numel() == 0:
        return one.shape == other.shape
    if not one.is_floating_point():
        return torch.equal(one, other)
    return bool((one - other).abs().max() <= _TOLERANCE * other.abs().max())

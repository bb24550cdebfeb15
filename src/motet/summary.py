"""The summary of an ensemble: which layers were converted, what is shared, and what each member owns."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from torch import nn

from motet.layers import ParameterRoles


@final
@dataclass(frozen=True, kw_only=True)
class Part:
    """One layer with a member axis, or all ordinary layers of one kind.

    Attributes:
        name: the name of the layer in the network; for ordinary layers their number.
        kind: its class.
        shared: the number of parameters that all members use.
        own: the number of parameters of single members, added over all members.
        note: the layer's own note.
    """

    name: str
    kind: str
    shared: int
    own: int
    note: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class Summary:
    """The result of `Ensemble.summary`; print it.

    Attributes:
        description: the method and its settings.
        members: M.
        converted: the layers that the method made, in the order of the network.
        ordinary: the unchanged layers, which all members share, by kind.
        trainable: the total number of trainable parameters.
    """

    description: str
    members: int
    converted: tuple[Part, ...]
    ordinary: tuple[Part, ...]
    trainable: int

    @property
    def shared(self) -> int:
        """The number of parameters that all members use."""
        return sum(part.shared for part in (*self.converted, *self.ordinary))

    @property
    def own(self) -> int:
        """The number of parameters of single members, added over all members."""
        return sum(part.own for part in (*self.converted, *self.ordinary))

    def __str__(self) -> str:
        """A table of a few lines; a sequence of equal layers is one line."""
        total = self.shared + self.own
        frozen = "" if self.trainable == total else f" ({self.trainable:,} trainable)"
        lines = [
            self.description,
            f"{self.members} member{'s' * (self.members != 1)}, {total:,} parameters{frozen}: {self.shared:,} shared, "
            f"{self.own:,} the members' own ({self.own / self.members:,.0f} each)",
        ]
        for title, parts in (("Made for the members", _in_runs(self.converted)), ("Left as it was", self.ordinary)):
            if parts:
                lines += ["", f"{title}:", *_table(parts)]
        return "\n".join(lines)


def summarise_network(network: nn.Module, *, description: str, members: int) -> Summary:
    """Return the summary of a network that a method made.

    Modules made by a method (`motet.layers.ParameterRoles`, which includes all member layers) declare which of their
    parameters belong to members, and which parameters of ordinary layers inside them are shared.

    Args:
        network: the ensemble's network.
        description: the method and its settings.
        members: M.
    """
    seen: set[int] = set()
    converted: list[Part] = []
    ordinary: dict[str, Counter[str]] = {}
    for name, module in network.named_modules():
        if isinstance(module, ParameterRoles):
            shared, own = _count(module, seen)
            note = module.summary_note
            # A wrapper without parameters is listed only if it has a note.
            if shared or own or note or not any(True for _ in module.children()):
                converted.append(
                    Part(name=name or "(all)", kind=type(module).__name__, shared=shared, own=own, note=note)
                )
        else:
            new = [value for value in module.parameters(recurse=False) if id(value) not in seen]
            seen.update(map(id, new))
            if new:
                count = ordinary.setdefault(type(module).__name__, Counter())
                count["layers"] += 1
                count["parameters"] += sum(value.numel() for value in new)
    return Summary(
        description=description,
        members=members,
        converted=tuple(converted),
        ordinary=tuple(
            Part(name=f"{count['layers']} x", kind=kind, shared=count["parameters"], own=0)
            for kind, count in ordinary.items()
        ),
        trainable=sum(value.numel() for value in network.parameters() if value.requires_grad),
    )


def _count(module: ParameterRoles, seen: set[int]) -> tuple[int, int]:
    """Return how many parameters that were not seen before are shared, and how many belong to members."""
    names = module.member_parameters
    named = dict(module.named_parameters())
    own = {id(value) for name, value in named.items() if name in names}
    # An inner layer that holds some of these parameters is part of this one, with its bias.
    inside = tuple({f"{name.rpartition('.')[0]}." for name in names | module.shared_parameters if "." in name})
    parameters = [value for name, value in named.items() if "." not in name or name.startswith(inside)]
    new = [value for value in parameters if id(value) not in seen]
    seen.update(map(id, new))
    sizes = [(value.numel(), id(value) in own) for value in new]
    return sum(size for size, mine in sizes if not mine), sum(size for size, mine in sizes if mine)


def _in_runs(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Merge consecutive equal layers into one part, with the sums of their numbers and the first and last name."""
    runs: list[list[Part]] = []
    for part in parts:
        if runs and (runs[-1][0].kind, runs[-1][0].note) == (part.kind, part.note):
            runs[-1].append(part)
        else:
            runs.append([part])
    return tuple(_joined(run) for run in runs)


def _joined(run: list[Part]) -> Part:
    first, last = run[0], run[-1]
    if len(run) == 1:
        return first
    return Part(
        name=f"{first.name} .. {last.name} ({len(run)})",
        kind=first.kind,
        shared=sum(part.shared for part in run),
        own=sum(part.own for part in run),
        note=first.note,
    )


def _table(parts: tuple[Part, ...]) -> Iterator[str]:
    rows = [
        (
            part.name,
            part.kind,
            f"{part.shared:,} shared" if part.shared else "",
            f"{part.own:,} own" if part.own else "",
            part.note,
        )
        for part in parts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, kind, shared, own, note in rows:
        columns = [f"{name:<{widths[0]}}", f"{kind:<{widths[1]}}"]
        columns += [f"{text:>{width}}" for text, width in ((shared, widths[2]), (own, widths[3])) if width]
        yield "  ".join(["", *columns, note]).rstrip()

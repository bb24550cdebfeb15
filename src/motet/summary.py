"""What an ensemble consists of: which layers were made for the members, what is shared, what each member owns."""

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
        name: of the layer in the network; for ordinary layers how many there are.
        kind: its class.
        shared: number of parameters that all members use.
        own: number of parameters that belong to members, of all members together.
        note: what the layer says about itself.
    """

    name: str
    kind: str
    shared: int
    own: int
    note: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class Summary:
    """What `Ensemble.summary` returns; print it.

    Attributes:
        description: what made the ensemble.
        members: M.
        converted: the layers that the method made, in the order in which the network holds them.
        ordinary: the layers left as they were, which all members share, by kind.
        trainable: number of trainable parameters in all.
    """

    description: str
    members: int
    converted: tuple[Part, ...]
    ordinary: tuple[Part, ...]
    trainable: int

    @property
    def shared(self) -> int:
        """Number of parameters that all members use."""
        return sum(part.shared for part in (*self.converted, *self.ordinary))

    @property
    def own(self) -> int:
        """Number of parameters that belong to members, of all members together."""
        return sum(part.own for part in (*self.converted, *self.ordinary))

    def __str__(self) -> str:
        """A table of a few lines; long runs of equal layers are one line."""
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
    """The summary of a network that a method made.

    Modules that a method made (`motet.layers.ParameterRoles`, among them all member layers) say which of their
    parameters belong to members, and which in ordinary layers inside them they count as their own and shared.
    """
    seen: set[int] = set()
    converted: list[Part] = []
    ordinary: dict[str, Counter[str]] = {}
    for name, module in network.named_modules():
        if isinstance(module, ParameterRoles):
            shared, own = _count(module, seen)
            note = module.summary_note
            # A wrapper without parameters of its own is named only where it says something about itself.
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
    """How many parameters that were not seen before are shared, and how many belong to members."""
    names = module.member_parameters
    named = dict(module.named_parameters())
    own = {id(value) for name, value in named.items() if name in names}
    # A layer inside that holds some of these parameters is part of this one, with its bias.
    inside = tuple({f"{name.rpartition('.')[0]}." for name in names | module.shared_parameters if "." in name})
    parameters = [value for name, value in named.items() if "." not in name or name.startswith(inside)]
    new = [value for value in parameters if id(value) not in seen]
    seen.update(map(id, new))
    sizes = [(value.numel(), id(value) in own) for value in new]
    return sum(size for size, mine in sizes if not mine), sum(size for size, mine in sizes if mine)


def _in_runs(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Equal layers that follow each other as one part: their numbers added up, the first and the last one's name."""
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

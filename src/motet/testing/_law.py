"""What a law is, and what it needs to be written down."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from motet.ensemble import Ensemble
from motet.layers import DepthWeights, Exits, LearnedTransforms
from motet.method import Method
from motet.testing.models import Case


def parameters_of_new_layers(ensemble: Ensemble) -> Iterator[nn.Parameter]:
    """Parameters of what motet puts in front of a model or at its exits: none of the model's, so nobody froze them."""
    for part in ensemble.modules():
        if isinstance(part, LearnedTransforms | DepthWeights):
            yield from part.parameters()
        elif isinstance(part, Exits):
            yield from part.heads.parameters()


@final
@dataclass(frozen=True, kw_only=True)
class Subject:
    """A method on a model, and what is known of the method.

    Attributes:
        method: the method.
        case: the model and its inputs.
        deals: whether other draws of the grouping make another loss; None where it is not known.
        builds: how often the method calls a function that makes the model; None for once, or once for each member.
        new_parameters: gives those parameters of an ensemble that are none of the model's, of which nobody can have
            frozen one.
    """

    method: Method
    case: Case
    deals: bool | None = None
    builds: int | None = None
    new_parameters: Callable[[Ensemble], Iterable[nn.Parameter]] = parameters_of_new_layers

    def wrap(self, dtype: torch.dtype = torch.float64) -> Ensemble:
        """An ensemble of a new model."""
        return self.method.wrap(self.case.model(dtype), example=self.case.inputs(1, dtype))

    def data(self, rows: int = 6) -> tuple[Tensor, Tensor]:
        """Inputs in double precision, and labels."""
        return self.case.inputs(rows), self.case.labels(rows)


@final
@dataclass(frozen=True)
class Law:
    """Something that holds for every method.

    Attributes:
        name: what holds, in a few words with underscores.
        check: raises `AssertionError` with what was found, where it does not hold.
        models: names of the models that it is checked on; empty for all.
        needs_one_member: whether it is about methods with one member alone.
        needs_other_outputs: whether it needs models with other numbers of outputs than the user's own has.
    """

    name: str
    check: Callable[[Subject], None]
    models: tuple[str, ...] = ()
    needs_one_member: bool = False
    needs_other_outputs: bool = False

    def applies(self, subject: Subject) -> bool:
        """Whether the law says anything about this method and model."""
        if self.needs_one_member and subject.method.size != 1:
            return False
        return subject.case.other_outputs or not self.needs_other_outputs


LAWS: list[Law] = []
"""Every law, in the order in which they are checked."""


def law(
    *models: str, needs_one_member: bool = False, needs_other_outputs: bool = False
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Decorator of a law's check: adds it to `LAWS` under its own name."""

    def add(check: Callable[[Subject], None]) -> Callable[[Subject], None]:
        LAWS.append(Law(check.__name__, check, models, needs_one_member, needs_other_outputs))
        return check

    return add


def require(holds: bool | Tensor, found: str) -> None:
    """Raise `AssertionError` with what was found, unless this holds."""
    if not bool(holds):
        raise AssertionError(found)


def close(found: Tensor, expected: Tensor, what: str, *, rtol: float = 1e-10, atol: float = 1e-12) -> None:
    """Raise `AssertionError` unless the tensors agree in shape, type and values."""
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, msg=lambda text: f"{what}: {text}")


@contextmanager
def refused(kind: type[Exception], match: str, what: str) -> Iterator[None]:
    """Raise `AssertionError` unless an error of this kind is raised within, whose message matches."""
    try:
        yield
    except kind as error:
        require(re.search(match, str(error)) is not None, f"{what}: an error that does not say {match!r}: {error}")
        return
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__} instead of {kind.__name__}: {error}") from error
    raise AssertionError(f"{what} must be refused with {kind.__name__}, but was not")


def state(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the module's state."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def require_state(module: nn.Module, before: dict[str, Tensor], what: str) -> None:
    """Raise `AssertionError` unless the module's state is what it was."""
    changed = [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]
    require(not changed, f"{what} changed {_listed(changed)}")


def require_same(found: Sequence[object], expected: Sequence[object], what: str) -> None:
    """Raise `AssertionError` unless both hold the same."""
    require(list(found) == list(expected), f"{what}: {found} instead of {expected}")


def count(module: nn.Module) -> int:
    """Numbers in the module's parameters."""
    return sum(value.numel() for value in module.parameters())


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def unreached(ensemble: Ensemble) -> str:
    """Names of the parameters without a gradient."""
    return _listed([name for name, value in ensemble.named_parameters() if value.grad is None or not value.grad.any()])


def loss_from_seed(ensemble: Ensemble, x: Tensor, y: Tensor) -> Tensor:
    """The loss with all random draws from one seed: the grouping's from a generator, masks from torch's default."""
    torch.manual_seed(1)
    return ensemble.loss(x, y, generator=torch.Generator().manual_seed(0))

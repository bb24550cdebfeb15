"""The class `Law`, and helpers for writing laws."""

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
    """Yield the parameters that motet adds before a model or at its exits. The user cannot have frozen them."""
    for part in ensemble.modules():
        if isinstance(part, LearnedTransforms | DepthWeights):
            yield from part.parameters()
        elif isinstance(part, Exits):
            yield from part.heads.parameters()


@final
@dataclass(frozen=True, kw_only=True)
class Subject:
    """A method with a model to check it on.

    Attributes:
        method: the method.
        case: the model and its inputs.
        deals: whether other random numbers for the grouping give another loss; None if unknown.
        builds: how often the method calls a function that makes the model; None for once, or once for each member.
        new_parameters: returns those parameters of an ensemble that the model does not have, and which therefore cannot
            be frozen by the user.
    """

    method: Method
    case: Case
    deals: bool | None = None
    builds: int | None = None
    new_parameters: Callable[[Ensemble], Iterable[nn.Parameter]] = parameters_of_new_layers

    def wrap(self, dtype: torch.dtype = torch.float64) -> Ensemble:
        """Return an ensemble of a new model."""
        return self.method.wrap(self.case.model(dtype), example=self.case.inputs(1, dtype))

    def data(self, rows: int = 6, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """Return inputs, and labels; real targets for a method whose default likelihood is not one of classes."""
        likelihood = self.method.default_likelihood
        inputs = self.case.inputs(rows, dtype)
        if likelihood.target_kind == "class":
            return inputs, self.case.labels(rows)
        return inputs, likelihood.sample(torch.randn(rows, self.case.classes, dtype=dtype))


@final
@dataclass(frozen=True)
class Law:
    """A property that holds for every method.

    Attributes:
        name: the property in a few words, with underscores.
        check: raises `AssertionError`, with the values found, if the property does not hold.
        models: names of the models that it is checked on; empty for all.
        needs_one_member: whether it applies only to methods with one member.
        needs_other_outputs: whether it needs models with other numbers of outputs than the user's own has.
        needs_classes: whether it applies only to methods whose default likelihood is one of classes.
    """

    name: str
    check: Callable[[Subject], None]
    models: tuple[str, ...] = ()
    needs_one_member: bool = False
    needs_other_outputs: bool = False
    needs_classes: bool = False

    def applies(self, subject: Subject) -> bool:
        """Whether the law applies to this method and model."""
        if self.needs_one_member and subject.method.members != 1:
            return False
        if self.needs_classes and subject.method.default_likelihood.target_kind != "class":
            return False
        return subject.case.other_outputs or not self.needs_other_outputs


LAWS: list[Law] = []
"""Every law, in the order in which they are checked."""


def law(
    *models: str, needs_one_member: bool = False, needs_other_outputs: bool = False, needs_classes: bool = False
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Decorator that adds a check to `LAWS` under the function's name.

    Args:
        models: see `Law`.
        needs_one_member: see `Law`.
        needs_other_outputs: see `Law`.
        needs_classes: see `Law`.
    """

    def add(check: Callable[[Subject], None]) -> Callable[[Subject], None]:
        LAWS.append(Law(check.__name__, check, models, needs_one_member, needs_other_outputs, needs_classes))
        return check

    return add


def require(holds: bool | Tensor, found: str) -> None:
    """Check a condition.

    Raises:
        AssertionError: with the text `found`, unless `holds` is true.
    """
    if not bool(holds):
        raise AssertionError(found)


def close(found: Tensor, expected: Tensor, what: str, *, rtol: float = 1e-10, atol: float = 1e-12) -> None:
    """Check that two tensors agree in shape, type and values.

    Args:
        found: the tensor to check.
        expected: the tensor that it must equal.
        what: what the tensors are, for the error.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol, msg=lambda text: f"{what}: {text}")


@contextmanager
def refused(kind: type[Exception], match: str, what: str) -> Iterator[None]:
    """Check that an error is raised within this context.

    Args:
        kind: the class of the error.
        match: a regular expression that its message must match.
        what: what must be refused, for the error.

    Raises:
        AssertionError: if no error is raised, or another one.
    """
    try:
        yield
    except kind as error:
        require(re.search(match, str(error)) is not None, f"{what}: an error that does not say {match!r}: {error}")
        return
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__} instead of {kind.__name__}: {error}") from error
    raise AssertionError(f"{what} must be refused with {kind.__name__}, but was not")


def state(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the module's state."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def require_state(module: nn.Module, before: dict[str, Tensor], what: str) -> None:
    """Check that the module's state has not changed.

    Args:
        module: the module.
        before: its earlier state, from `state`.
        what: what may have changed it, for the error.
    """
    changed = [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]
    require(not changed, f"{what} changed {_listed(changed)}")


def require_same(found: Sequence[object], expected: Sequence[object], what: str) -> None:
    """Check that two sequences hold the same objects.

    Args:
        found: the sequence to check.
        expected: the sequence that it must equal.
        what: what the sequences are, for the error.
    """
    require(list(found) == list(expected), f"{what}: {found} instead of {expected}")


def count(module: nn.Module) -> int:
    """Return the number of elements of the module's parameters."""
    return sum(value.numel() for value in module.parameters())


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def unreached(ensemble: Ensemble) -> str:
    """Return the names of the parameters without a gradient."""
    return _listed([name for name, value in ensemble.named_parameters() if value.grad is None or not value.grad.any()])


def loss_from_seed(ensemble: Ensemble, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss with all random numbers from one seed: the grouping's from a generator, masks from torch's
    default.

    Args:
        ensemble: the ensemble.
        x: inputs, ``(B, ...)``.
        y: targets, ``(B,)``.
    """
    torch.manual_seed(1)
    return ensemble.loss(x, y, generator=torch.Generator().manual_seed(0))

"""Check a method against the laws."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, overload

import torch
from torch import Tensor, nn

# isort: off
# In the order in which the laws are checked.
from motet._internal.wording import with_article
from motet.testing import _forward_laws, _training_laws, _device_laws, _input_laws  # noqa: F401

# isort: on
from motet.ensemble import Ensemble
from motet.errors import InputError, nearest
from motet.method import Method, Model
from motet.testing._law import LAWS, Law, Subject
from motet.testing.models import MODELS, case_of

Check = tuple[str, Callable[[], None]]


@overload
def check_method(
    method: Method,
    model: Model | None = None,
    example: Tensor | None = None,
    *,
    generate_only: Literal[False] = False,
    expected_failures: Mapping[str, str] | None = None,
    new_parameters: Callable[[Ensemble], Iterable[nn.Parameter]] | None = None,
) -> None: ...


@overload
def check_method(
    method: Method,
    model: Model | None = None,
    example: Tensor | None = None,
    *,
    generate_only: Literal[True],
    expected_failures: Mapping[str, str] | None = None,
    new_parameters: Callable[[Ensemble], Iterable[nn.Parameter]] | None = None,
) -> Iterator[Check]: ...


def check_method(
    method: Method,
    model: Model | None = None,
    example: Tensor | None = None,
    *,
    generate_only: bool = False,
    expected_failures: Mapping[str, str] | None = None,
    new_parameters: Callable[[Ensemble], Iterable[nn.Parameter]] | None = None,
) -> Iterator[Check] | None:
    """Check that a method keeps the laws that all of motet's methods keep.

    The laws cover shapes, gradients, determinism, folding, copies, the loss against a slow loop, the grouping, weight
    decay, frozen parameters, errors for wrong input, and settings as a record. They are checked on motet's own small
    models (see `MODELS`), or on a model of yours. This takes some seconds on a CPU. The state of torch's random number
    generator is restored.

    Args:
        method: an instance.
        model: a model to check it on, or a function that makes one; motet's models if None. Laws that need a model with
            other numbers of outputs are then left out.
        example: an input batch for `model`, one row or more.
        generate_only: yield the checks instead of running them.
        expected_failures: names of laws that do not apply to the method, each with the reason, in addition to
            `Method.exempt_from`. They are not checked. ``"law[model]"`` names a law on one model only.
        new_parameters: returns the parameters of an ensemble that the method adds to the model, and which are trained
            even if the whole model is frozen; by default those of motet's own transforms and exits.

    Returns:
        None; with `generate_only`, an iterator over pairs of a check's name, ``"law[model]"``, and a function that runs
        it, in the form that `pytest.mark.parametrize` takes.

    Raises:
        AssertionError: for the first law that does not hold, with its name and the values found.
        InputError: for a model without an example, and for names in `expected_failures` that are not laws.

    >>> import motet
    >>> motet.testing.check_method(motet.Multihead(members=2))
    """
    if not isinstance(method, Method):
        raise InputError(
            "check_method needs an instance of a method",
            got=f"the class {method.__name__}" if isinstance(method, type) else with_article(type(method).__name__),
            fix="Pass Mine(), for example",
        )
    left_out = {**method.exempt_from, **(expected_failures or {})}
    checks = _checks(method, model, example, left_out, new_parameters)
    if generate_only:
        return checks
    for _, check in checks:
        check()
    return None


def _checks(
    method: Method,
    model: Model | None,
    example: Tensor | None,
    left_out: dict[str, str],
    new_parameters: Callable[[Ensemble], Iterable[nn.Parameter]] | None,
) -> Iterator[Check]:
    if (model is None) != (example is None):
        raise InputError(
            "a model and an example must be passed together",
            got="a model without an example" if example is None else "an example without a model",
            fix="Pass both, or neither for motet's own models",
        )
    cases = MODELS if model is None or example is None else {"model": case_of(model, example)}
    known = [each.name for each in LAWS]
    for name in left_out:
        if name.partition("[")[0] not in known:
            raise InputError("expected_failures must name laws", got=repr(name), fix=nearest(name, known))
    for each in LAWS:
        for place, case in cases.items():
            subject = Subject(method=method, case=case)
            if new_parameters is not None:
                subject = Subject(method=method, case=case, new_parameters=new_parameters)
            name = f"{each.name}[{place}]"
            wanted = model is not None or not each.models or place in each.models
            if wanted and each.applies(subject) and not {each.name, name} & left_out.keys():
                yield name, _runner(each, subject, name)


def _runner(each: Law, subject: Subject, name: str) -> Callable[[], None]:
    def run() -> None:
        run_law(each, subject, name)

    return run


def run_law(each: Law, subject: Subject, name: str) -> None:
    """Check one law, from seed 0.

    Args:
        each: the law.
        subject: the method and the model.
        name: the name of the check in errors.

    Raises:
        AssertionError: if the law does not hold, or if the method raises an error.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            each.check(subject)
        except Exception as error:
            found = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            raise AssertionError(f"{subject.method} breaks the law {name}: {found}") from error

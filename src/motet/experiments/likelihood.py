"""Which likelihood an experiment is run under: the one that was asked for, if its data can have it, or the default."""

from typing import Literal, get_args

from motet._internal.loading import load_class
from motet._internal.own_code import make, name_in_record
from motet.data import DataSpec
from motet.errors import InputError, nearest
from motet.likelihoods import Bernoulli, Categorical, Gaussian, HeteroscedasticGaussian, Likelihood, Poisson, TargetKind

LikelihoodName = Literal["categorical", "bernoulli", "gaussian", "heteroscedastic", "poisson"]
LIKELIHOODS: dict[str, Likelihood] = {
    "categorical": Categorical(),
    "bernoulli": Bernoulli(),
    "heteroscedastic": HeteroscedasticGaussian(),
    "gaussian": Gaussian(),
    "poisson": Poisson(),
}
# The task whose targets are of that kind, and what the target then holds.
_TASKS: dict[TargetKind, tuple[str, str]] = {
    "class": ("classification", "classes"),
    "binary": ("classification", "two classes"),
    "real": ("regression", "real numbers"),
    "count": ("counts", "counts"),
}


def likelihood_named(name: str) -> LikelihoodName | Likelihood:
    """The likelihood that is asked for by name: one of motet's, which stays a name, or a class of the user's own.

    Args:
        name: a `LikelihoodName`, ``module:Class`` or ``file.py:Class``.

    Raises:
        InputError: if there is no such likelihood, or its class needs arguments.
    """
    if ":" in name:
        return known_by_name(make(load_class(name, Likelihood, "likelihood"), name, "likelihood"))
    return _checked_name(name)


def known_by_name(likelihood: "LikelihoodName | Likelihood") -> LikelihoodName | Likelihood:
    """The likelihood, or its name if it has one: so that ``Gaussian()`` and ``"gaussian"`` are the same experiment.

    Raises:
        InputError: for another name, and for what is no likelihood.
    """
    if isinstance(likelihood, Likelihood):
        if likelihood.target_kind not in get_args(TargetKind):
            raise InputError(
                f"the likelihood of an experiment must say what its targets are, one of {', '.join(_TASKS)}",
                got=f"{type(likelihood).__name__} with target_kind {likelihood.target_kind!r}",
                fix='Write target_kind = "real" in the class, for example',
            )
        return next((known for known in get_args(LikelihoodName) if LIKELIHOODS[known] == likelihood), likelihood)
    return _checked_name(likelihood)


def _checked_name(name: object) -> LikelihoodName:
    for known in get_args(LikelihoodName):
        if known == name:
            found: LikelihoodName = known
            return found
    raise InputError(
        "the likelihood must be one that motet has",
        got=repr(name),
        fix=f"{nearest(str(name), get_args(LikelihoodName))}; one of your own is named file.py:Class or module:Class",
    )


def likelihood_for(likelihood: LikelihoodName | Likelihood | None, spec: DataSpec) -> Likelihood:
    """The likelihood that is asked for, checked against the data; the data's default if None.

    Defaults: categorical for classes, poisson for counts; heteroscedastic for the real targets of tables, since a unit
    variance hardly tells methods apart; gaussian for other regressions (MIMO's toy has it in the paper).

    Raises:
        InputError: for an unknown name, one that targets of this kind cannot have, and binary labels of more or fewer
            than two classes.
    """
    if likelihood is None:
        fitting = _fitting(spec)[0]
        return LIKELIHOODS["gaussian" if fitting == "heteroscedastic" and not spec.feature_names else fitting]
    asked = known_by_name(likelihood)
    found = LIKELIHOODS[asked] if isinstance(asked, str) else asked
    assert found.target_kind is not None
    task, holds = _TASKS[found.target_kind]
    if task != spec.task:
        raise InputError(
            f"the likelihood of {spec.name} ({spec.task}) must be {' or '.join(_fitting(spec))}",
            got=repr(asked),
            fix=f"Pass --task {task}, if the target holds {holds}",
        )
    if found.target_kind == "binary" and spec.outputs != 2:
        raise InputError(
            f"the {_shown(found)} likelihood needs two classes",
            got=f"{spec.outputs} classes of {spec.name}",
            fix="Use the categorical likelihood",
        )
    return found


def likelihood_name(likelihood: LikelihoodName | Likelihood | None, spec: DataSpec) -> str:
    """What `likelihood_for` is called in records: one of motet's names, or the reference of the user's own class."""
    return _shown(likelihood_for(likelihood, spec))


def outputs_for(likelihood: Likelihood, spec: DataSpec) -> int:
    """How many outputs the network needs: two classes are one binary label."""
    return likelihood.outputs(1 if likelihood.target_kind == "binary" else spec.outputs)


def _fitting(spec: DataSpec) -> list[str]:
    """Names of motet's likelihoods for such targets, the default first."""
    kinds = [kind for kind, (task, _) in _TASKS.items() if task == spec.task]
    return [name for name, each in LIKELIHOODS.items() if each.target_kind in kinds]


def _shown(likelihood: Likelihood) -> str:
    known = known_by_name(likelihood)
    return known if isinstance(known, str) else name_in_record(type(known))

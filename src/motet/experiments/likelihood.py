"""Choose the likelihood of an experiment: the requested one, if the data can have it, or the default."""

from collections.abc import Callable
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
# The tasks with targets of that kind, the likeliest first, and what the target then contains.
_TASKS: dict[TargetKind, tuple[tuple[str, ...], str]] = {
    "class": (("classification",), "classes"),
    "binary": (("classification", "multilabel"), "two classes"),
    "real": (("regression",), "real numbers"),
    "count": (("counts",), "counts"),
}


def likelihood_named(name: str) -> LikelihoodName | Likelihood:
    """Return a likelihood by name: the name, for motet's own, or an instance of a class outside motet.

    Args:
        name: a `LikelihoodName`, ``module:Class`` or ``file.py:Class``.

    Raises:
        InputError: if there is no such likelihood, or if its class needs arguments.
    """
    if ":" in name:
        return known_by_name(make(load_class(name, Likelihood, "likelihood"), name, "likelihood"))
    return _checked_name(name)


def known_by_name(likelihood: "LikelihoodName | Likelihood") -> LikelihoodName | Likelihood:
    """Return the likelihood, or its name if it has one, so that ``Gaussian()`` and ``"gaussian"`` are the same
    experiment.

    Raises:
        InputError: for an unknown name, and for an object that is not a likelihood.
    """
    if isinstance(likelihood, Likelihood):
        if likelihood.target_kind not in get_args(TargetKind):
            raise InputError(
                f"the likelihood of an experiment must have a target_kind of {' or '.join(map(repr, _TASKS))}",
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
        "the likelihood must be one of motet's",
        got=repr(name),
        fix=f"{nearest(str(name), get_args(LikelihoodName))}; name your own as file.py:Class or module:Class",
    )


def likelihood_for(
    likelihood: LikelihoodName | Likelihood | None,
    spec: DataSpec,
    *,
    accepts: Callable[[Likelihood], bool] = lambda _: True,
) -> Likelihood:
    """Return the requested likelihood, checked against the data; the data's default if None.

    Defaults: categorical for classes, bernoulli for several binary labels, poisson for counts; heteroscedastic for the
    real targets of tables, because with unit variance methods hardly differ; gaussian for other regressions (as in the
    paper for MIMO's toy example).

    Args:
        likelihood: the request; None for the default.
        spec: the data's specification.
        accepts: whether a likelihood can be used, see `motet.Experiment.accepts`. The default is the first likelihood
            for such targets that is accepted, so gaussian for a modular network on a table; it is heteroscedastic, and
            leads to an error later, if none is.

    Raises:
        InputError: for an unknown name, a likelihood that does not fit this kind of targets, and binary labels with
            more or fewer than two classes.
    """
    if likelihood is None:
        names = _fitting(spec)
        if names[0] == "heteroscedastic" and not spec.feature_names:
            names.remove("heteroscedastic")
        first = LIKELIHOODS[names[0]]
        alike = [LIKELIHOODS[name] for name in names if LIKELIHOODS[name].target_kind == first.target_kind]
        return next(filter(accepts, alike), first)
    asked = known_by_name(likelihood)
    found = LIKELIHOODS[asked] if isinstance(asked, str) else asked
    assert found.target_kind is not None
    tasks, holds = _TASKS[found.target_kind]
    if spec.task not in tasks:
        raise InputError(
            f"the likelihood of {spec.name} ({spec.task}) must be {' or '.join(_fitting(spec))}",
            got=repr(asked),
            fix=f"Pass --task {tasks[0]}, if the target holds {holds}",
        )
    if found.target_kind == "binary" and spec.task == "classification" and spec.outputs != 2:
        raise InputError(
            f"the {_shown(found)} likelihood needs two classes",
            got=f"{spec.outputs} classes of {spec.name}",
            fix="Use the categorical likelihood",
        )
    return found


def likelihood_name(
    likelihood: LikelihoodName | Likelihood | None,
    spec: DataSpec,
    *,
    accepts: Callable[[Likelihood], bool] = lambda _: True,
) -> str:
    """Return the name of `likelihood_for` in records: a name of motet's, or a reference to the user's class.

    Args:
        likelihood, spec, accepts: see `likelihood_for`.
    """
    return _shown(likelihood_for(likelihood, spec, accepts=accepts))


def outputs_for(likelihood: Likelihood, spec: DataSpec) -> int:
    """Return the number of outputs that the network needs: one for two classes under a binary likelihood."""
    two_classes = likelihood.target_kind == "binary" and spec.task == "classification"
    return likelihood.outputs(1 if two_classes else spec.outputs)


def _fitting(spec: DataSpec) -> list[str]:
    """Return the names of motet's likelihoods for such targets, the default first."""
    kinds = [kind for kind, (tasks, _) in _TASKS.items() if spec.task in tasks]
    return [name for name, each in LIKELIHOODS.items() if each.target_kind in kinds]


def _shown(likelihood: Likelihood) -> str:
    known = known_by_name(likelihood)
    return known if isinstance(known, str) else name_in_record(type(known))

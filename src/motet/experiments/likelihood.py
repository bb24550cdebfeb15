"""Which likelihood an experiment is run under: the one that was asked for, if its data can have it, or the default."""

from typing import Literal, get_args

from motet.data import DataSpec
from motet.errors import InputError, nearest
from motet.likelihoods import Bernoulli, Categorical, Gaussian, HeteroscedasticGaussian, Likelihood, Poisson

LikelihoodName = Literal["categorical", "bernoulli", "gaussian", "heteroscedastic", "poisson"]
LIKELIHOODS: dict[str, Likelihood] = {
    "categorical": Categorical(),
    "bernoulli": Bernoulli(),
    "gaussian": Gaussian(),
    "heteroscedastic": HeteroscedasticGaussian(),
    "poisson": Poisson(),
}
_FITTING = {
    "classification": ("categorical", "bernoulli"),
    "regression": ("heteroscedastic", "gaussian"),
    "counts": ("poisson",),
}
_WAYS_OUT = {
    "categorical": "Pass --task classification, if the target holds classes",
    "bernoulli": "Pass --task classification, if the target holds two classes",
    "gaussian": "Pass --task regression, if the target holds real numbers",
    "heteroscedastic": "Pass --task regression, if the target holds real numbers",
    "poisson": "Pass --task counts, if the target holds counts",
}


def check_name(name: str | None) -> None:
    """Raise `InputError` unless this is a likelihood's name, or None."""
    if name is not None and name not in get_args(LikelihoodName):
        raise InputError(
            "the likelihood must be one that motet has",
            got=repr(name),
            fix=nearest(str(name), get_args(LikelihoodName)),
        )


def likelihood_name(name: str | None, spec: DataSpec) -> LikelihoodName:
    """The likelihood of that name, checked against the data; the data's default if None.

    Defaults: categorical for classes, poisson for counts; heteroscedastic for the real targets of tables, since a unit
    variance hardly tells methods apart; gaussian for other regressions (MIMO's toy has it in the paper).

    Raises:
        InputError: for an unknown name, one that targets of this kind cannot have, and binary labels of more or fewer
            than two classes.
    """
    check_name(name)
    if name is None:
        default = _FITTING[spec.task][0]
        name = "gaussian" if default == "heteroscedastic" and not spec.feature_names else default
    if name not in _FITTING[spec.task]:
        fitting = " or ".join(_FITTING[spec.task])
        raise InputError(
            f"the likelihood of {spec.name} ({spec.task}) must be {fitting}", got=repr(name), fix=_WAYS_OUT[name]
        )
    if name == "bernoulli" and spec.outputs != 2:
        raise InputError(
            "the bernoulli likelihood needs two classes",
            got=f"{spec.outputs} classes of {spec.name}",
            fix="Use the categorical likelihood",
        )
    found: LikelihoodName = next(known for known in get_args(LikelihoodName) if known == name)
    return found


def likelihood_for(name: str | None, spec: DataSpec) -> Likelihood:
    """The likelihood that `likelihood_name` names."""
    return LIKELIHOODS[likelihood_name(name, spec)]


def outputs_for(likelihood: Likelihood, spec: DataSpec) -> int:
    """How many outputs the network needs: two classes are one binary label."""
    return likelihood.outputs(1 if isinstance(likelihood, Bernoulli) else spec.outputs)

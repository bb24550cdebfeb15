"""The baselines that the papers compare with."""

from motet.experiments import Experiment
from motet.experiments.defaults import defaults_for


def single_digits() -> Experiment:
    """One deterministic network on scikit-learn's digits."""
    return _digits("single")


def deep_ensemble_digits() -> Experiment:
    """A deep ensemble of three networks on scikit-learn's digits."""
    return _digits("deep-ensemble")


def multihead_digits() -> Experiment:
    """The naive multi-headed network on scikit-learn's digits."""
    return _digits("multihead")


def _digits(method: str) -> Experiment:
    defaults = defaults_for("digits")
    return Experiment(data="digits", model=defaults.model, method=defaults.method(method), training=defaults.training)

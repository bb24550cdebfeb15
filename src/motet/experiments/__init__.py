"""Experiments: describe a run, run it, and compare many runs."""

from motet._internal.moved import moved_names
from motet.experiments.compare import compare, default_folder
from motet.experiments.entry import Entry
from motet.experiments.evaluate_runs import evaluate, evaluate_part
from motet.experiments.experiment import Experiment
from motet.experiments.find_runs import find_run, find_runs
from motet.experiments.gather import gather
from motet.experiments.likelihood import (
    LIKELIHOODS,
    LikelihoodName,
    likelihood_for,
    likelihood_name,
    likelihood_named,
)
from motet.experiments.plan import Plan, make_plan
from motet.experiments.robustness import evaluate_robustness
from motet.experiments.run import Run, load_ensemble, load_run, run_experiment

__all__ = [
    "LIKELIHOODS",
    "Entry",
    "Experiment",
    "LikelihoodName",
    "Plan",
    "Run",
    "compare",
    "default_folder",
    "evaluate",
    "evaluate_part",
    "evaluate_robustness",
    "find_run",
    "find_runs",
    "gather",
    "likelihood_for",
    "likelihood_name",
    "likelihood_named",
    "load_ensemble",
    "load_run",
    "make_plan",
    "run_experiment",
]

__getattr__ = moved_names(
    __name__,
    {
        name: f"motet.evaluation.{name}"
        for name in ("find_shift", "risks_at_shown", "side_by_side", "throughput_in_words")
    },
)

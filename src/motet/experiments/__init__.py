"""Experiments: what a run is, running it, and comparing many."""

from motet.experiments.compare import compare, default_folder
from motet.experiments.entry import Entry
from motet.experiments.evaluate import evaluate, find_run, throughput_in_words
from motet.experiments.evaluate_part import evaluate_part
from motet.experiments.experiment import Experiment
from motet.experiments.gather import gather, side_by_side
from motet.experiments.likelihood import (
    LIKELIHOODS,
    LikelihoodName,
    likelihood_for,
    likelihood_name,
    likelihood_named,
)
from motet.experiments.plan import Plan, make_plan
from motet.experiments.robustness import evaluate_robustness, find_runs
from motet.experiments.run import Run, load_ensemble, load_run, run_experiment
from motet.experiments.selective import risks_at_shown
from motet.experiments.shift_source import find_shift

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
    "find_shift",
    "gather",
    "likelihood_for",
    "likelihood_name",
    "likelihood_named",
    "load_ensemble",
    "load_run",
    "make_plan",
    "risks_at_shown",
    "run_experiment",
    "side_by_side",
    "throughput_in_words",
]

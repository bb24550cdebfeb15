"""Experiments: what a run is, running it, and comparing many."""

from motet.experiments.compare import compare, default_folder
from motet.experiments.entry import Entry
from motet.experiments.evaluate import evaluate, find_run, throughput_in_words
from motet.experiments.experiment import Experiment
from motet.experiments.plan import Plan, make_plan
from motet.experiments.run import Run, load_ensemble, load_run, run_experiment

__all__ = [
    "Entry",
    "Experiment",
    "Plan",
    "Run",
    "compare",
    "default_folder",
    "evaluate",
    "find_run",
    "load_ensemble",
    "load_run",
    "make_plan",
    "run_experiment",
    "throughput_in_words",
]

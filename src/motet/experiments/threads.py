"""How many CPU threads a run uses."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from motet.experiments.build import Builder
from motet.experiments.experiment import Experiment

# With less work than this more threads gain little on an idle machine, and lose much on one that does anything else,
# where they wait for each other: benchmarks/threads.py has both.
_FLOPS_PER_THREAD = 5e8
# A training step is a forward pass and about twice its work backward.
_PASSES = 3


def threads_for(experiment: Experiment, builder: Builder) -> int:
    """CPU threads for a training step of the experiment: one for every half GFLOP, and at most what torch would take.

    It depends on the model and the batch size alone, not on the method and not on a measurement, so that methods are
    compared alike, and runs can be repeated. Whoever sets ``OMP_NUM_THREADS`` has decided, and is left alone.
    """
    most = torch.get_num_threads()
    if "OMP_NUM_THREADS" in os.environ or most == 1:
        return most
    work = _PASSES * experiment.training.batch_size * builder.single_flops(experiment)
    return min(most, 1 + int(work / _FLOPS_PER_THREAD))


@contextmanager
def run_threads(experiment: Experiment, builder: Builder, device: torch.device) -> Iterator[None]:
    """Give torch the run's number of CPU threads for a while; nothing changes for a run on a GPU."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(threads_for(experiment, builder))
    try:
        yield
    finally:
        torch.set_num_threads(before)

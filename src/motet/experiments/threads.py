"""The number of CPU threads of a run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from motet.experiments.build import Builder
from motet.experiments.experiment import Experiment

# With less work than this more threads gain little on an idle machine, and lose much on a busy one, where they wait for
# each other: benchmarks/threads.py measures both.
_FLOPS_PER_THREAD = 5e8
# A training step is a forward pass, and a backward pass of about twice its work.
_PASSES = 3


def threads_for(experiment: Experiment, builder: Builder) -> int:
    """Return the CPU threads for a training step of the experiment: one per half GFLOP, and at most torch's default.

    The number depends only on the model and the batch size, not on the method or on a measurement, so that methods are
    compared under the same conditions, and runs can be repeated. If ``OMP_NUM_THREADS`` is set, torch's number is not
    changed.
    """
    most = torch.get_num_threads()
    if "OMP_NUM_THREADS" in os.environ or most == 1:
        return most
    assert experiment.training.batch_size is not None
    work = _PASSES * experiment.training.batch_size * builder.single_flops(experiment)
    return min(most, 1 + int(work / _FLOPS_PER_THREAD))


@contextmanager
def run_threads(experiment: Experiment, builder: Builder, device: torch.device) -> Iterator[None]:
    """Set torch's number of CPU threads in this context; nothing changes for a run on a GPU.

    Args:
        experiment: the run's experiment, with a batch size.
        builder: builds its ensemble.
        device: the run's device.
    """
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(threads_for(experiment, builder))
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""Put a module in evaluation mode, and restore it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """In this context `module` is in evaluation mode; afterwards each submodule has its own mode again.

    ``module.train(before)`` would not do this: batch norms that the user has frozen in evaluation mode would be in
    training mode.
    """
    training_itself = module.training
    before = [(part, part.training) for part in module.modules()]
    # For a small network that is already in evaluation mode, setting the flags again would take longer than a pass.
    at_work = any(training for _, training in before)
    if at_work:
        module.eval()
    try:
        yield
    finally:
        if at_work or module.training:
            module.train(training_itself)  # for modules whose `train` does more than set the flag
        for part, training in before:
            if part.training != training:
                part.training = training


@contextmanager
def on_trial(module: nn.Module) -> Iterator[None]:
    """In this context `module` is in evaluation mode, and all its layers are called.

    torch's fused kernels for transformers read the weights of several layers without calling them, and turn padded
    batches into nested tensors, which neither hooks nor other layers can read.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with evaluating(module):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)

"""Leave a module in the state in which it was found."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put `module` in evaluation mode, and give each submodule its own mode back.

    ``module.train(before)`` would not do: a user who froze some batch norms in evaluation mode would find them
    training again.
    """
    training_itself = module.training
    before = [(part, part.training) for part in module.modules()]
    # Of a small network in evaluation mode, as in use, setting flags that are set would take longer than a pass.
    at_work = any(training for _, training in before)
    if at_work:
        module.eval()
    try:
        yield
    finally:
        if at_work or module.training:
            module.train(training_itself)  # for modules that do more than set the flag
        for part, training in before:
            if part.training != training:
                part.training = training

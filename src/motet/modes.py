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
    module.eval()
    try:
        yield
    finally:
        module.train(training_itself)  # for modules that do more than set the flag
        for part, training in before:
            part.training = training

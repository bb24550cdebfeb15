"""The cost of a network: parameters and operations. Its latency is in `motet.metrics.latency`."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet.errors import InputError

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode


def parameters(module: nn.Module) -> int:
    """Number of trainable parameters. A parameter that is used in several places counts once.

    >>> parameters(nn.Linear(3, 5))
    20
    """
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def flops(module: nn.Module, example: Shaped[Tensor, "batch ..."]) -> int:
    """Floating-point operations for one example in a forward pass: 2 for every multiply-add.

    This is the convention of MIMO (footnote 2). For ResNet-28-10 MIMO reports 10.56 G; this function returns 10.49 G.
    torch's FlopCounterMode counts matrix products, convolutions and attention. Element-wise operations and recurrent
    layers (nn.LSTM and similar layers) are not counted. Operations that do not depend on the number of rows, such as
    mixing weights, are divided by the number of rows. The module runs in evaluation mode; its own mode is restored
    afterwards.

    Args:
        module: the network.
        example: a batch ``(B, ...)`` of inputs; one row is enough.

    Raises:
        InputError: for no rows.

    >>> flops(nn.Linear(3, 5), torch.zeros(1, 3))
    30
    """
    with counting(module, example) as counter:
        module(example)
    return math.ceil(counter.get_total_flops() / len(example))


@contextmanager
def counting(module: nn.Module, example: Tensor) -> "Iterator[FlopCounterMode]":
    """Count operations with torch's FlopCounterMode, with `module` in evaluation mode. See `flops`."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    check_example(example)
    # Fused kernels of attention and whole encoder layers are disabled, because torch does not count their operations.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mv: _matrix_vector_flops})
        with measuring(module, example=example), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@contextmanager
def measuring(*modules: nn.Module, example: Tensor) -> Iterator[None]:
    """Put all modules in evaluation mode; on exit restore them and the state of the random number generators.

    Args:
        modules: the networks to be measured.
        example: their input, whose device has one of these generators.
    """
    # Some networks draw random numbers in evaluation (MC dropout). Measuring them must not change a seeded run.
    with ExitStack() as stack, torch.random.fork_rng(devices=[example.device] if example.is_cuda else []):
        for module in modules:
            stack.enter_context(evaluating(module))
        yield


def check_example(example: Tensor) -> None:
    """Raise `InputError` unless the example is a batch with rows.

    Args:
        example: a batch.

    Raises:
        InputError: otherwise.
    """
    if example.ndim == 0 or example.numel() == 0:
        raise InputError(
            "the example must be a batch with at least one row",
            got=f"an example of shape {tuple(example.shape)}",
            fix="Pass a few inputs of the network: x[:1]",
        )


def _matrix_vector_flops(matrix: torch.Size, vector: torch.Size, **_: object) -> int:
    """Return the operations of ``x @ w`` with a vector w, which torch's counter omits."""
    return 2 * math.prod(matrix)

"""What a network costs: its parameters, its operations, and its time beside another network's."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet.errors import InputError, nearest

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

_MIN_ROUNDS = 3  # a median of fewer says little


@final
@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long one forward pass takes.

    Attributes:
        ratio: median over rounds of the network's time divided by the baseline's in the same round.
        seconds: median time of one forward pass over the whole example.
        low: lower quartile of the ratio.
        high: upper quartile of the ratio.
    """

    ratio: float
    seconds: float
    low: float
    high: float


def parameters(module: nn.Module) -> int:
    """Number of trainable parameters; one that is used in several places counts once.

    >>> parameters(nn.Linear(3, 5))
    20
    """
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def flops(module: nn.Module, example: Shaped[Tensor, "batch ..."]) -> int:
    """Floating-point operations for one example in a forward pass: 2 for every multiply-add.

    The convention of MIMO (footnote 2), whose 10.56 G for ResNet-28-10 are 10.49 G here. Counted are matrix
    products, convolutions and attention, by torch's FlopCounterMode; element-wise work is not, nor are recurrent
    layers (nn.LSTM and its like), whose kernels torch does not look into. Work that does not depend on the number of
    rows, such as mixing weights, is divided among them. The module runs in eval mode and comes back as it was.

    Args:
        module: the network.
        example: a batch ``(B, ...)`` of inputs; one row will do.

    Raises:
        InputError: no rows.

    >>> flops(nn.Linear(3, 5), torch.zeros(1, 3))
    30
    """
    with counting(module, example) as counter:
        module(example)
    return math.ceil(counter.get_total_flops() / len(example))


@contextmanager
def counting(module: nn.Module, example: Tensor) -> Iterator["FlopCounterMode"]:
    """Torch's counter of operations, 2 for a multiply-add, with `module` in evaluation mode; see `flops`."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    _check_example(example)
    # Left to itself, torch would run attention and whole encoder layers in fused kernels that count as nothing.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mv: _matrix_vector_flops})
        with _measuring(module, example=example), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def latency_ratios(
    networks: Mapping[str, nn.Module],
    example: Shaped[Tensor, "batch ..."],
    *,
    baseline: str,
    rounds: int = 50,
    min_seconds: float = 0.005,
    seconds: float = 1.5,
) -> dict[str, Latency]:
    """Time networks against one of them, in turn, in one process.

    Every round times each network once, in an order that rotates, so that a clock that changes or a busy machine
    meets them all alike. The networks run in eval mode and come back as they were.

    Args:
        networks: the networks, by name.
        example: the batch ``(B, ...)`` that all of them take.
        baseline: name of the network that the others are divided by; its own ratio is exactly 1.
        rounds: most rounds to make.
        min_seconds: forward passes are repeated until one timing lasts about this long.
        seconds: no round starts after this time, warm-up included; but three rounds are made (or `rounds`, if
            fewer), however long they take.

    Raises:
        InputError: a baseline that is not among the networks, no rows, a setting that is not positive.
    """
    if baseline not in networks:
        raise InputError(
            "the baseline must be one of the networks", got=repr(baseline), fix=nearest(baseline, networks)
        )
    if rounds < 1 or min_seconds <= 0 or seconds <= 0:
        raise InputError(
            "rounds must be at least 1, min_seconds and seconds positive",
            got=f"rounds={rounds}, min_seconds={min_seconds}, seconds={seconds}",
            fix="Pass rounds=1 and a small number of seconds for the quickest look",
        )
    _check_example(example)
    deadline = perf_counter() + seconds
    names = list(networks)
    times: dict[str, list[float]] = {name: [] for name in names}
    with _measuring(*networks.values(), example=example), torch.inference_mode():
        repeats = {name: _warm_up(network, example, min_seconds) for name, network in networks.items()}
        for made in range(rounds):
            if made >= _MIN_ROUNDS and perf_counter() > deadline:
                break
            first = made % len(names)
            for name in names[first:] + names[:first]:
                times[name].append(_time(networks[name], example, repeats[name]) / repeats[name])
    return {name: _latency(own, times[baseline]) for name, own in times.items()}


def _latency(own: list[float], baseline: list[float]) -> Latency:
    seconds = torch.tensor(own, dtype=torch.float64)
    ratios = seconds / torch.tensor(baseline, dtype=torch.float64)
    low, ratio, high = ratios.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    return Latency(ratio=ratio, seconds=seconds.quantile(0.5).item(), low=low, high=high)


def _warm_up(network: nn.Module, example: Tensor, min_seconds: float) -> int:
    """How many forward passes last `min_seconds`, found on a network that has already run."""
    _time(network, example, 2)  # the first passes allocate memory and choose kernels
    repeats = 1
    while (elapsed := _time(network, example, repeats)) < min_seconds:
        # At most tenfold, as one pass is too short to measure well; always more, so that this ends.
        repeats = max(repeats + 1, math.ceil(repeats * min(10.0, 1.1 * min_seconds / max(elapsed, 1e-9))))
    return repeats


def _time(network: nn.Module, example: Tensor, repeats: int) -> float:
    wait: Callable[[], None] = (lambda: torch.cuda.synchronize(example.device)) if example.is_cuda else (lambda: None)
    wait()
    start = perf_counter()
    for _ in range(repeats):
        network(example)
    wait()
    return perf_counter() - start


@contextmanager
def _measuring(*modules: nn.Module, example: Tensor) -> Iterator[None]:
    """All modules in evaluation mode for a while, with nothing to be seen of it afterwards."""
    # Some networks draw random numbers even now (Monte Carlo dropout); measuring them must not change a seeded run.
    with ExitStack() as stack, torch.random.fork_rng(devices=[example.device] if example.is_cuda else []):
        for module in modules:
            stack.enter_context(evaluating(module))
        yield


def _check_example(example: Tensor) -> None:
    if example.ndim == 0 or example.numel() == 0:
        raise InputError(
            "the example must be a batch with at least one row",
            got=f"an example of shape {tuple(example.shape)}",
            fix="Pass a few inputs of the network: x[:1]",
        )


def _matrix_vector_flops(matrix: torch.Size, vector: torch.Size, **_: object) -> int:
    """What torch's counter leaves out: ``x @ w`` with a vector w."""
    return 2 * math.prod(matrix)

"""The cost of a network: parameters, operations, and latency relative to another network."""

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

_MIN_ROUNDS = 3  # a median of fewer values is unreliable


@final
@dataclass(frozen=True, kw_only=True)
class Latency:
    """The time of one forward pass, relative to a baseline network and in seconds.

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

    _check_example(example)
    # Fused kernels of attention and whole encoder layers are disabled, because torch does not count their operations.
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
    """Measure the latency of networks relative to a baseline network, in one process.

    Each round times every network once, in a rotating order, so that changes of the clock rate and other load on the
    machine affect all networks equally. The networks run in evaluation mode; their own modes are restored afterwards.

    Args:
        networks: the networks, by name, including the baseline.
        example: a batch of inputs ``(B, ...)`` for all networks.
        baseline: the name of the baseline network. Its ratio is exactly 1.
        rounds: the maximum number of rounds.
        min_seconds: the approximate length of one timing. Short forward passes are repeated to reach it.
        seconds: the time limit, including the warm-up. No round starts after it, except that at least three rounds (or
            `rounds`, if that is less) are always made.

    Raises:
        InputError: if the baseline is not among the networks, for no rows, and for a setting that is not positive.
    """
    if baseline not in networks:
        raise InputError(
            "the baseline must be one of the networks", got=repr(baseline), fix=nearest(baseline, networks)
        )
    if rounds < 1 or min_seconds <= 0 or seconds <= 0:
        raise InputError(
            "rounds must be at least 1, and min_seconds and seconds must be positive",
            got=f"rounds={rounds}, min_seconds={min_seconds}, seconds={seconds}",
            fix="Pass for example rounds=1, min_seconds=0.001 and seconds=0.1 for a quick measurement",
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
    """Run the network a few times, and return the number of forward passes that take `min_seconds`."""
    _time(network, example, 2)  # the first passes allocate memory and choose kernels
    repeats = 1
    while (elapsed := _time(network, example, repeats)) < min_seconds:
        # At most ten times as many, because the time of a single pass is imprecise. At least one more, so that the loop
        # ends.
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
    """Put all modules in evaluation mode; on exit restore them and the state of the random number generators."""
    # Some networks draw random numbers in evaluation (MC dropout). Measuring them must not change a seeded run.
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
    """Return the operations of ``x @ w`` with a vector w, which torch's counter omits."""
    return 2 * math.prod(matrix)

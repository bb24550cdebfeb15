"""The latency of networks relative to another network."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import final

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from motet.errors import InputError, nearest
from motet.metrics.cost import check_example, measuring

_MIN_ROUNDS = 3  # a median of fewer values is unreliable
_ROUNDS = 50  # of one measurement
_MEASUREMENTS = 3  # at most, while quartiles are wide
_WIDE = 0.1  # the distance between the quartiles, relative to the median


def wide(ratio: float, low: float, high: float) -> bool:
    """Return whether the quartiles of a ratio are more than 10% of their median apart.

    Args:
        ratio: the median.
        low, high: the quartiles. NaN if they are not known, which is not wide.
    """
    return high - low > _WIDE * ratio


@final
@dataclass(frozen=True, kw_only=True)
class Latency:
    """The time of one forward pass, relative to a baseline network and in seconds.

    Attributes:
        ratio: median over rounds of the network's time divided by the baseline's in the same round.
        seconds: median time of one forward pass over the whole example.
        low: lower quartile of the ratio.
        high: upper quartile of the ratio.
        rounds: number of rounds.
    """

    ratio: float
    seconds: float
    low: float
    high: float
    rounds: int

    @property
    def wide(self) -> bool:
        """Whether the quartiles are more than 10% of the median apart."""
        return wide(self.ratio, self.low, self.high)


def latency_ratios(
    networks: Mapping[str, nn.Module],
    example: Shaped[Tensor, "batch ..."],
    *,
    baseline: str,
    rounds: int = _MEASUREMENTS * _ROUNDS,
    min_seconds: float = 0.005,
    seconds: float = 1.5,
) -> dict[str, Latency]:
    """Measure the latency of networks relative to a baseline network, in one process.

    Each round times every network once, in a rotating order, so that changes of the clock rate and other load on the
    machine affect all networks equally. The networks run in evaluation mode; their own modes are restored afterwards.

    A measurement has up to 50 rounds. If the quartiles of any network's ratio are then more than 10% of the median
    apart, it is measured again, at most twice. All rounds count.

    Args:
        networks: the networks, by name, including the baseline.
        example: a batch of inputs ``(B, ...)`` for all networks.
        baseline: the name of the baseline network. Its ratio is exactly 1.
        rounds: the maximum number of rounds, over all measurements.
        min_seconds: the approximate length of one timing. Short forward passes are repeated to reach it.
        seconds: the time limit of one measurement; of the first including the warm-up. No round starts after it, except
            that at least three rounds (or `rounds`, if that is less) are always made.

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
    check_example(example)
    deadline = perf_counter() + seconds
    names = list(networks)
    times: dict[str, list[float]] = {name: [] for name in names}
    with measuring(*networks.values(), example=example), torch.inference_mode():
        repeats = {name: _warm_up(network, example, min_seconds) for name, network in networks.items()}
        more, enough = _MEASUREMENTS - 1, _ROUNDS
        for made in range(rounds):
            while made >= enough or (made >= _MIN_ROUNDS and perf_counter() > deadline):
                if not more or not any(each.wide for each in _latencies(times, baseline).values()):
                    return _latencies(times, baseline)
                # Counted from the last deadline and not from now, so that three measurements take three times as long.
                more, enough, deadline = more - 1, made + _ROUNDS, deadline + seconds
            first = made % len(names)
            for name in names[first:] + names[:first]:
                times[name].append(_time(networks[name], example, repeats[name]) / repeats[name])
    return _latencies(times, baseline)


def _latencies(times: Mapping[str, list[float]], baseline: str) -> dict[str, Latency]:
    return {name: _latency(own, times[baseline]) for name, own in times.items()}


def _latency(own: list[float], baseline: list[float]) -> Latency:
    seconds = torch.tensor(own, dtype=torch.float64)
    ratios = seconds / torch.tensor(baseline, dtype=torch.float64)
    low, ratio, high = ratios.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    return Latency(ratio=ratio, seconds=seconds.quantile(0.5).item(), low=low, high=high, rounds=len(own))


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

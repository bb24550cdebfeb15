import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from motet.errors import InputError
from motet.metrics import Latency, latency_ratios


def test_ratios_are_to_the_baseline() -> None:
    small, large = nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    networks = {"small": small, "again": small, "large": large}
    ratios = latency_ratios(networks, torch.zeros(2, 8), baseline="small", rounds=4, min_seconds=1e-4)
    assert list(ratios) == ["small", "again", "large"]
    own = ratios["small"]
    assert (own.ratio, own.low, own.high) == (1, 1, 1)
    for latency in ratios.values():
        assert isinstance(latency, Latency)
        assert 0 < latency.low <= latency.ratio <= latency.high < math.inf
        assert 0 < latency.seconds < math.inf


class Recorder(nn.Module):
    """Writes down when it was called, and in what state."""

    def __init__(self, name: str, calls: list[str]) -> None:
        super().__init__()
        self.name, self.calls = name, calls

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        self.calls.append(self.name)
        return x


def test_every_round_starts_with_another_network() -> None:
    calls: list[str] = []
    networks = {name: Recorder(name, calls) for name in "abc"}
    # So short a timing that one pass is enough, which makes a timing one entry.
    latency_ratios(networks, torch.zeros(1, 1), baseline="a", rounds=4, min_seconds=1e-12)
    assert "".join(calls[-12:]) == "abc" + "bca" + "cab" + "abc"


@pytest.mark.parametrize(("rounds", "made"), [(1, 1), (2, 2), (100, 3)])
def test_three_rounds_are_made_when_time_is_up(rounds: int, made: int) -> None:
    calls: list[str] = []
    networks = {"a": Recorder("a", calls)}
    latency_ratios(networks, torch.zeros(1, 1), baseline="a", rounds=rounds, min_seconds=1e-12, seconds=1e-12)
    warm_up = 3
    assert len(calls) == warm_up + made


class Clock:
    """A clock that only the networks move: each forward pass of theirs takes as long as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("motet.metrics.latency.perf_counter", lambda: self.now)


class Timed(nn.Module):
    """Its forward pass number n takes ``seconds(n)`` on the clock. Passes are counted from the first measured one."""

    def __init__(self, clock: Clock, seconds: Callable[[int], float]) -> None:
        super().__init__()
        self.clock, self.seconds, self.passes = clock, seconds, -WARM_UP

    def forward(self, x: Tensor) -> Tensor:
        self.clock.now += self.seconds(self.passes)
        self.passes += 1
        return x


WARM_UP = 3  # two passes, and one that is longer than min_seconds


def timed(clock: Clock, seconds: Callable[[int], float], *, limit: float = 1e9, **settings: int) -> tuple[Latency, int]:
    """The latency of a network next to one of 1 s, and the number of its passes that were measured."""
    networks = {"one": Timed(clock, lambda _: 1.0), "other": Timed(clock, seconds)}
    found = latency_ratios(networks, torch.zeros(1, 1), baseline="one", seconds=limit, **settings)
    assert networks["one"].passes == networks["other"].passes
    return found["other"], networks["other"].passes


def test_narrow_quartiles_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, passes = timed(Clock(monkeypatch), lambda n: 2.0 if n % 2 else 2.1)
    assert not found.wide
    assert (found.low, found.ratio, found.high) == pytest.approx((2.0, 2.05, 2.1))
    assert found.rounds == passes == 50


def test_wide_quartiles_are_measured_three_times_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    found, passes = timed(Clock(monkeypatch), lambda n: 2.0 if n % 2 else 3.0)
    assert found.wide
    assert (found.low, found.ratio, found.high) == (2.0, 2.5, 3.0)
    assert found.rounds == passes == 150


def test_measuring_again_ends_when_the_quartiles_are_narrow_and_all_rounds_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Twenty slow rounds are more than a quarter of 50, and less than a quarter of 100.
    found, passes = timed(Clock(monkeypatch), lambda n: 3.0 if n < 20 else 2.0)
    assert (found.low, found.ratio, found.high) == (2.0, 2.0, 2.0)
    assert found.rounds == passes == 100


def test_the_time_limit_is_that_of_one_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    # The warm-up takes 6 s, and each round 2 s or 4 s; 3 times 24 s last until 72 s.
    clock = Clock(monkeypatch)
    found, passes = timed(clock, lambda n: 3.0 if n % 2 else 1.0, limit=24.0)
    assert found.wide
    assert 72.0 < clock.now <= 72.0 + 4.0
    assert found.rounds == passes == 22
    clock.now = 0.0
    narrow, passes = timed(clock, lambda n: 1.0, limit=24.0)
    assert 24.0 < clock.now <= 24.0 + 2.0
    assert narrow.rounds == passes == 10


def test_rounds_limits_all_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    found, passes = timed(Clock(monkeypatch), lambda n: 2.0 if n % 2 else 3.0, rounds=60)
    assert found.rounds == passes == 60


@pytest.mark.parametrize(("high", "wide"), [(1.1, False), (1.2, True)])
def test_quartiles_are_wide_if_more_than_a_tenth_apart(high: float, wide: bool) -> None:
    assert Latency(ratio=1.05, seconds=1.0, low=1.0, high=high, rounds=5).wide is wide


def test_bad_settings() -> None:
    networks, example = {"plain": nn.Linear(3, 5)}, torch.zeros(1, 3)
    with pytest.raises(InputError, match=r"one of the networks, but got 'plane'\. Did you mean 'plain'"):
        latency_ratios(networks, example, baseline="plane")
    with pytest.raises(InputError, match="Known: none"):
        latency_ratios({}, example, baseline="plain")
    for settings in ({"rounds": 0}, {"min_seconds": 0.0}, {"seconds": 0.0}):
        with pytest.raises(InputError, match="rounds must be at least 1"):
            latency_ratios(networks, example, baseline="plain", **settings)

import math

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


def test_bad_settings() -> None:
    networks, example = {"plain": nn.Linear(3, 5)}, torch.zeros(1, 3)
    with pytest.raises(InputError, match=r"one of the networks, but got 'plane'\. Did you mean 'plain'"):
        latency_ratios(networks, example, baseline="plane")
    with pytest.raises(InputError, match="Known: none"):
        latency_ratios({}, example, baseline="plain")
    for settings in ({"rounds": 0}, {"min_seconds": 0.0}, {"seconds": 0.0}):
        with pytest.raises(InputError, match="rounds must be at least 1"):
            latency_ratios(networks, example, baseline="plain", **settings)

"""Random numbers by seed, image and stream."""

import numpy as np
import pytest
import scipy.stats
import torch

from motet import InputError
from motet.shifts import Draws

MASK = 2**64 - 1


def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_words_are_splitmix64_from_the_images_own_state() -> None:
    draws = Draws(seed=2**63 + 5, index_B=torch.tensor([0, 1, 10**12]), stream="fog/3")
    state = [value & MASK for value in draws._state_B.tolist()]
    words = torch.cat((draws.words(3), draws.words(2)), dim=1)
    wanted = [[mix((s + n * 0x9E3779B97F4A7C15) & MASK) for n in range(1, 6)] for s in state]
    assert [[word & MASK for word in row] for row in words.tolist()] == wanted


def test_published_splitmix64_numbers() -> None:
    draws = Draws(seed=0, index_B=torch.tensor([0]), stream="")
    draws._state_B = torch.tensor([1234567])
    assert [word & MASK for word in draws.words(2)[0].tolist()] == [6457827717110365317, 3203168211198807973]


def test_distributions() -> None:
    draws = Draws(seed=1, index_B=torch.arange(50), stream="test")
    uniform = draws.uniform(2000, low=-1.0, high=3.0).flatten().double().numpy()
    assert scipy.stats.kstest(uniform, scipy.stats.uniform(-1, 4).cdf).pvalue > 0.001
    assert uniform.min() >= -1
    assert uniform.max() < 3
    normal = draws.normal(2001, mean=2.0, std=0.5).flatten().double().numpy()
    assert scipy.stats.kstest(normal, scipy.stats.norm(2, 0.5).cdf).pvalue > 0.001
    whole = draws.integers(7, 2000).flatten().numpy()
    assert scipy.stats.chisquare(np.bincount(whole, minlength=7)).pvalue > 0.001


def test_images_streams_and_seeds_are_unrelated() -> None:
    rows = [
        Draws(seed=seed, index_B=torch.tensor([index]), stream=stream).normal(20_000)[0]
        for seed in (0, 1) for index in (0, 1) for stream in ("fog/1", "fog/2")
    ]  # fmt: skip
    correlation = torch.corrcoef(torch.stack(rows)) - torch.eye(len(rows))
    assert float(correlation.abs().max()) < 4 / 20_000**0.5


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_is_no_64_bit_number_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match="seed must lie in"):
        Draws(seed=seed, index_B=torch.tensor([0]), stream="fog")

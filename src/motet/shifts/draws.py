"""Random numbers that depend only on the seed and the image.

torch's generators have one stream for a batch, so that an image's noise would depend on the size of the batch, on its
position in it and on the device. Here every image has its own stream: SplitMix64 (Steele, Lea and Flood 2014, Fast
Splittable Pseudorandom Number Generators), a counter passed through a mixing function, which needs no loop. Integers
and uniform numbers are the same on every device; normal numbers up to the last digits of log and cosine.
"""

import math
import zlib
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from motet.errors import InputError


def _signed(word: int) -> int:
    """Return a 64-bit word as torch's signed integer."""
    word %= 2**64
    return word - 2**64 if word >= 2**63 else word


_GAMMA = _signed(0x9E3779B97F4A7C15)
_FACTOR_1 = _signed(0xBF58476D1CE4E5B9)
_FACTOR_2 = _signed(0x94D049BB133111EB)


@final
class Draws:
    """A stream of random numbers for each of several images.

    Args:
        seed: from 0 to 2^64 - 1.
        index_B: a number for each image, usually its row in the data set, ``(B,)``. Equal numbers have equal streams.
        stream: the purpose of the numbers. Other names give other numbers.

    Raises:
        InputError: for a seed outside that range.

    >>> two = Draws(seed=0, index_B=torch.tensor([3, 5]), stream="fog").uniform(2)
    >>> one = Draws(seed=0, index_B=torch.tensor([5]), stream="fog").uniform(2)
    >>> bool((two[1] == one[0]).all())
    True
    """

    def __init__(self, *, seed: int, index_B: Int64[Tensor, "batch"], stream: str) -> None:
        if not 0 <= seed < 2**64:
            raise InputError("seed must lie in 0..2^64 - 1", got=f"seed={seed}", fix="Pass a smaller integer")
        key = _mix(torch.tensor(_signed(seed), device=index_B.device) + _GAMMA)
        key = _mix(key + zlib.crc32(stream.encode()))
        self._state_B = _mix(key + index_B * _GAMMA)
        self._used = 0

    def __len__(self) -> int:
        """The number of images."""
        return len(self._state_B)

    @property
    def device(self) -> torch.device:
        """The device of the numbers."""
        return self._state_B.device

    def words(self, count: int) -> Int64[Tensor, "batch count"]:
        """Return the next `count` words of 64 random bits of each image."""
        counter = torch.arange(self._used + 1, self._used + count + 1, device=self._state_B.device)
        self._used += count
        return _mix(self._state_B.unsqueeze(1) + counter * _GAMMA)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Float[Tensor, "..."]:
        """Return uniform numbers in ``[low, high)``, in steps of a 2^24th of the range, ``(B, *shape)`` in float32.

        Args:
            shape: the shape for each image.
            low: the lower limit.
            high: the upper limit.
        """
        bits = (self._halves(math.prod(shape)) >> 8) & 0xFFFFFF
        unit = bits.to(torch.float32).mul_(2.0**-24)
        return unit.mul_(high - low).add_(low).view(-1, *shape)

    def normal(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> Float[Tensor, "..."]:
        """Return normal numbers, ``(B, *shape)`` in float32, by the Box-Muller method, within 6.8 standard deviations.

        Args:
            shape: the shape for each image.
            mean: the mean.
            std: the standard deviation.
        """
        count = math.prod(shape)
        first, second = self._halves(count + count % 2).to(torch.float32).chunk(2, dim=1)
        radius = (first * 2.0**-32 + 0.5).clamp_(min=2.0**-33).log_().mul_(-2 * std * std).sqrt_()
        angle = second * (2.0**-31 * math.pi)
        both = torch.cat((torch.cos(angle).mul_(radius), torch.sin(angle).mul_(radius)), dim=1)
        return both[:, :count].add_(mean).view(-1, *shape)

    def integers(self, below: int, *shape: int) -> Int64[Tensor, "..."]:
        """Return integers from 0 to ``below - 1``, ``(B, *shape)``; `below` is at most 2^24."""
        return (self.uniform(*shape).double() * below).to(torch.int64)

    def _halves(self, count: int) -> Tensor:
        """Return `count` words of 32 bits, as int32."""
        return self.words((count + 1) // 2).view(torch.int32)[:, :count]


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's output function. Changes `z`. torch's shift extends the sign, so the shifted bits are masked."""
    for shift, factor in ((30, _FACTOR_1), (27, _FACTOR_2)):
        z ^= (z >> shift).bitwise_and_(2 ** (64 - shift) - 1)
        z *= factor
    z ^= (z >> 31).bitwise_and_(2**33 - 1)
    return z

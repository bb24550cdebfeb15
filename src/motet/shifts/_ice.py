"""Generated pictures of frost on a window: branching ferns of ice over a cloudy film.

The original overlays photographs, which motet may not distribute. The generated pictures are similar in what matters
here: bluish white needles of all lengths on a darker film, brightness from dark to white, with a mean of about half.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

SIDE = 960  # about the size of the original's photographs
COUNT = 5
_DARK, _LIGHT = np.array([24.0, 44.0, 84.0]), np.array([236.0, 246.0, 255.0])


@lru_cache(maxsize=COUNT)
def ice(number: int) -> UInt8[Tensor, "3 side side"]:
    """Return the picture with this number, from 0 to 4. It is the same on every machine, up to one grey level.

    It is generated at the first call, and cached.
    """
    random = np.random.Generator(np.random.PCG64(number))
    needles = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(needles)
    for _ in range(18 + 4 * number):
        # Frost begins at scratches and at the frame, and grows away from them.
        x, y = random.uniform(0, SIDE, 2)
        if random.random() < 0.5:
            x = 0.0 if x < SIDE / 2 else float(SIDE)
        towards = math.atan2(SIDE / 2 - y, SIDE / 2 - x) + random.normal(0, 0.7)
        _fern(draw, random, (x, y), towards, random.uniform(0.25, 0.7) * SIDE)
    sharp = np.asarray(needles, dtype=np.float64) / 255
    glow = np.asarray(needles.filter(ImageFilter.GaussianBlur(6)), dtype=np.float64) / 255
    film = _cloud(random)
    amount = np.clip(0.06 + 0.34 * film + 0.45 * glow + 0.7 * sharp * (0.3 + film), 0, 1)
    rgb = _DARK + (_LIGHT - _DARK) * amount[..., None]
    return torch.from_numpy(np.rint(rgb).astype(np.uint8)).permute(2, 0, 1).contiguous()


def _fern(
    draw: ImageDraw.ImageDraw, random: np.random.Generator, start: tuple[float, float], towards: float, length: float
) -> None:
    """Draw a bent stem with needles at 60 degrees on both sides, which have smaller needles."""
    bend = random.normal(0, 0.6) / length
    gap = 16.0
    x, y = start
    for step in range(int(length / gap)):
        left = 1 - step * gap / length
        to_x, to_y = x + gap * math.cos(towards), y + gap * math.sin(towards)
        draw.line((x, y, to_x, to_y), fill=int(150 + 100 * left), width=4)
        for side in (-1, 1):
            _needle(draw, random, (x, y), towards + side * math.radians(60), 0.32 * length * left**0.8)
        x, y, towards = to_x, to_y, towards + bend * gap


def _needle(
    draw: ImageDraw.ImageDraw, random: np.random.Generator, start: tuple[float, float], towards: float, length: float
) -> None:
    length *= random.uniform(0.35, 1.0)
    towards += random.normal(0, 0.08)
    shade = int(random.uniform(70, 230))
    dx, dy = math.cos(towards), math.sin(towards)
    draw.line((start[0], start[1], start[0] + length * dx, start[1] + length * dy), fill=shade, width=3)
    for at in np.arange(9.0, length, 9.0):
        twig = 0.3 * (length - at) * random.uniform(0.2, 1.0)
        x, y = start[0] + at * dx, start[1] + at * dy
        turn = towards + math.radians(60 if int(at / 9) % 2 else -60)
        draw.line((x, y, x + twig * math.cos(turn), y + twig * math.sin(turn)), fill=int(0.8 * shade), width=2)


def _cloud(random: np.random.Generator) -> NDArray[np.float64]:
    """Return smooth noise from 0 to 1: white noise whose amplitudes decrease with frequency."""
    rows, columns = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :]
    weight = (np.hypot(rows, columns) + 2 / SIDE) ** -1.6
    noise = np.fft.irfft2(np.fft.rfft2(random.standard_normal((SIDE, SIDE))) * weight, (SIDE, SIDE))
    low, high = np.quantile(noise, (0.02, 0.98))
    cloud: NDArray[np.float64] = np.clip((noise - low) / (high - low), 0, 1)
    return cloud

"""Generated pictures of frost on a window: branching ferns of ice over a cloudy film.

The original overlays photographs, which motet may not distribute. The generated pictures have the photographs'
distribution of brightness and their colours, and nearly the contrast within a window of 32x32, so that the corruption
is as strong. Their shapes are different.
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
FERNS = 45

# Of each picture: how much of the light its red, green and blue lose for each grey level below white, and the grey
# levels at _SHARES of its pixels, from the darkest. As in the original, one is turquoise, two are nearly white, and two
# are dark with white crystals.
_SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_TURQUOISE = ((1.4, 0.86, 0.74), (79, 88, 95, 109, 120, 133, 154, 168, 196))
_WHITE = ((1.13, 1.03, 0.84), (114, 142, 165, 194, 209, 222, 235, 244, 252))
_GREY = ((1.12, 0.99, 0.89), (46, 71, 96, 126, 143, 160, 190, 230, 246))
_DARK = ((1.07, 1.0, 0.93), (21, 37, 51, 82, 111, 142, 194, 229, 246))
_LOOKS = (_TURQUOISE, _WHITE, _WHITE, _GREY, _DARK)


@lru_cache(maxsize=COUNT)
def ice(number: int) -> UInt8[Tensor, "3 side side"]:
    """Return the picture with this number, from 0 to 4. It is the same on every machine, up to one grey level.

    It is generated at the first call, and cached.
    """
    random = np.random.Generator(np.random.PCG64(number))
    needles = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(needles)
    for _ in range(FERNS):
        # Frost begins at scratches and at the frame, and grows away from them.
        x, y = random.uniform(0, SIDE, 2)
        if random.random() < 0.2:
            x = 0.0 if x < SIDE / 2 else float(SIDE)
        towards = math.atan2(SIDE / 2 - y, SIDE / 2 - x) + random.normal(0, 0.7)
        _fern(draw, random, (x, y), towards, random.uniform(0.1, 0.5) * SIDE)
    sharp = np.asarray(needles, dtype=np.float64) / 255
    glow = np.asarray(needles.filter(ImageFilter.GaussianBlur(6)), dtype=np.float64) / 255
    film = _cloud(random)
    amount = 0.4 * film + 0.6 * glow + 0.7 * sharp * (0.3 + film)
    weights, greys = _LOOKS[number]
    grey = np.interp(amount, np.quantile(amount, _SHARES), greys)
    rgb = 255 - (255 - grey[..., None]) * np.array(weights)
    return torch.from_numpy(np.rint(rgb.clip(0, 255)).astype(np.uint8)).permute(2, 0, 1).contiguous()


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

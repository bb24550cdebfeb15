"""The formulas of CIFAR-10-C's program, with the libraries that it used: OpenCV, scikit-image, SciPy and Pillow.

Each function takes one image ``(H, W, 3)`` of bytes, the image's random numbers in motet (the original's are unseeded)
and one severity's constants. What ImageMagick does, `blurred_along`, follows its documentation: it is not run.
"""

import math
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import scipy.stats
from PIL import Image
from scipy.ndimage import map_coordinates, zoom
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian

from motet.shifts import Draws

Array = np.ndarray[Any, Any]


def whole(image: Array, draws: Draws, kind: str, **more: float) -> Array:
    """Random numbers for every value of the image, channels last."""
    return getattr(draws, kind)(3, *image.shape[:2], **more)[0].double().numpy().transpose(1, 2, 0)


def clipped(x: Array) -> Array:
    return np.uint8(np.clip(x, 0, 1) * 255)


def gaussian_noise(image: Array, draws: Draws, std: float) -> Array:
    return clipped(image / 255.0 + whole(image, draws, "normal", std=std))


def speckle_noise(image: Array, draws: Draws, std: float) -> Array:
    x = image / 255.0
    return clipped(x + x * whole(image, draws, "normal", std=std))


def shot_noise(image: Array, draws: Draws, photons: float) -> Array:
    counts = scipy.stats.poisson.ppf(whole(image, draws, "uniform"), image / 255.0 * photons)
    return clipped(np.maximum(counts, 0) / photons)


def impulse_noise(image: Array, draws: Draws, amount: float) -> Array:
    hit, salt = whole(image, draws, "uniform") < np.float32(amount), whole(image, draws, "uniform") < 0.5
    return clipped(np.where(hit, np.where(salt, 1.0, 0.0), image / 255.0))


def gaussian_blur(image: Array, draws: Draws, sigma: float) -> Array:
    return clipped(gaussian(image / 255.0, sigma=sigma, channel_axis=-1))


def defocus_blur(image: Array, draws: Draws, radius: float, alias: float) -> Array:
    line = np.arange(-8, 9) if radius <= 8 else np.arange(-radius, radius + 1)
    side = 3 if radius <= 8 else 5
    disk = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float32)
    disk = cv2.GaussianBlur(disk / disk.sum(), ksize=(side, side), sigmaX=alias)
    return clipped(np.stack([cv2.filter2D(image[..., c] / 255.0, -1, disk) for c in range(3)], axis=-1))


def glass_blur(image: Array, draws: Draws, sigma: float, reach: float, rounds: float) -> Array:
    far = int(reach)
    x = np.uint8(gaussian(image / 255.0, sigma=sigma, channel_axis=-1) * 255)
    for _ in range(int(rounds)):
        offset = draws.integers(2 * far, 2, *image.shape[:2])[0].numpy() - far
        for h in range(image.shape[0] - far, far, -1):
            for w in range(image.shape[1] - far, far, -1):
                dx, dy = offset[:, h, w]
                x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]
    return clipped(gaussian(x / 255.0, sigma=sigma, channel_axis=-1))


def blurred_along(x: Array, angle: float, radius: float, sigma: float) -> Array:
    weights = np.exp(-(np.arange(2 * math.ceil(radius) + 1) ** 2) / (2 * sigma**2))
    out = np.zeros(x.shape)
    for step, weight in enumerate(weights / weights.sum()):
        down, right = (math.ceil(step * turn(math.radians(angle)) - 0.5) for turn in (math.sin, math.cos))
        rows = np.clip(np.arange(x.shape[0]) + down, 0, x.shape[0] - 1)
        out += weight * x[rows][:, np.clip(np.arange(x.shape[1]) + right, 0, x.shape[1] - 1)]
    return np.uint8(np.clip(out + 0.5, 0, 255))


def motion_blur(image: Array, draws: Draws, radius: float, sigma: float) -> Array:
    return blurred_along(image, float(draws.uniform(low=-45.0, high=45.0)), radius, sigma)


def zoomed(x: Array, factor: float) -> Array:
    size, kept = x.shape[0], math.ceil(x.shape[0] / factor)
    top = (size - kept) // 2
    x = zoom(x[top : top + kept, top : top + kept], (factor, factor, 1), order=1)
    trim = (x.shape[0] - size) // 2
    return x[trim : trim + size, trim : trim + size]


def zoom_blur(image: Array, draws: Draws, step: float, count: float) -> Array:
    x = (image / 255.0).astype(np.float32)
    factors = np.arange(1, 1 + (count - 0.5) * step, step)
    out = np.zeros_like(x)
    for factor in factors:
        out += zoomed(x, factor)
    return clipped((x + out) / (len(factors) + 1))


def brightness(image: Array, draws: Draws, more: float) -> Array:
    x = rgb2hsv(image / 255.0)
    x[..., 2] = np.clip(x[..., 2] + more, 0, 1)
    return clipped(hsv2rgb(x))


def saturate(image: Array, draws: Draws, factor: float, more: float) -> Array:
    x = rgb2hsv(image / 255.0)
    x[..., 1] = np.clip(x[..., 1] * factor + more, 0, 1)
    return clipped(hsv2rgb(x))


def contrast(image: Array, draws: Draws, factor: float) -> Array:
    x = image / 255.0
    means = x.mean(axis=(0, 1), keepdims=True)
    return clipped((x - means) * factor + means)


def elastic_transform(image: Array, draws: Draws, amplitude: float, smooth: float, jitter: float) -> Array:
    side = image.shape[0]
    middle, third = np.float32([side // 2, side // 2]), side // 3
    old = np.float32([middle + third, [middle[0] + third, middle[1] - third], middle - third])
    new = old + draws.uniform(3, 2, low=-jitter * side, high=jitter * side)[0].numpy()
    turned = cv2.warpAffine(
        image.astype(np.float32) / np.float32(255), cv2.getAffineTransform(old, new), (side, side),
        borderMode=cv2.BORDER_REFLECT_101,
    )  # fmt: skip
    move = np.zeros((2, side, side), dtype=np.float32)
    if amplitude:  # without one the original multiplies the field by 0
        field = draws.uniform(2, side, side, low=-1.0, high=1.0)[0].double().numpy()
        move = np.float32([gaussian(n, smooth * side, mode="reflect", truncate=3) * amplitude * side for n in field])
    y, x, z = np.meshgrid(np.arange(side), np.arange(side), np.arange(3), indexing="ij")
    return clipped(
        map_coordinates(turned, (y + move[1][..., None], x + move[0][..., None], z), order=1, mode="reflect")
    )


def pixelate(image: Array, draws: Draws, share: float) -> Array:
    small = Image.fromarray(image).resize(
        (int(image.shape[1] * share), int(image.shape[0] * share)), Image.Resampling.BOX
    )
    return np.asarray(small.resize(image.shape[1::-1], Image.Resampling.BOX))


def jpeg_compression(image: Array, draws: Draws, quality: float) -> Array:
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file))

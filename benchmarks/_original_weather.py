"""The formulas of CIFAR-10-C's program for snow, frost, fog and spatter; see `_original_corruptions`."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _original_corruptions import Array, blurred_along, clipped, zoomed
from skimage.filters import gaussian

from motet.shifts import Draws

PHOTOGRAPHS = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")


def snow(  # noqa: PLR0917  (a severity's constants come by position)
    image: Array, draws: Draws, mean: float, std: float, factor: float, threshold: float, radius: float, sigma: float,
    share: float,
) -> Array:  # fmt: skip
    x = image.astype(np.float32) / np.float32(255)
    flakes = draws.normal(1, *image.shape[:2], mean=mean, std=std)[0, 0].double().numpy()[..., None]
    flakes = zoomed(flakes, factor)[..., 0]
    flakes[flakes < threshold] = 0
    flakes = blurred_along(clipped(flakes), float(draws.uniform(low=-135.0, high=-45.0)), radius, sigma)
    flakes = flakes[..., None] / 255.0
    pale = np.maximum(x, cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None] * 1.5 + 0.5)
    return clipped(share * x + (1 - share) * pale + flakes + np.rot90(flakes, k=2))


def frost_with(folder: Path) -> Any:
    """Frost with the original's photographs, which are not part of motet."""
    pictures = [cv2.imread(str(folder / name)) for name in PHOTOGRAPHS]
    small = [cv2.resize(picture, (0, 0), fx=0.2, fy=0.2)[..., ::-1] for picture in pictures]

    def frost(image: Array, draws: Draws, share: float, weight: float, scale: float) -> Array:
        ice = small[int(draws.integers(5))]
        place = draws.uniform(2)[0].double().numpy()
        top, left = (int(place[axis] * (ice.shape[axis] - 32)) for axis in (0, 1))
        return np.uint8(np.clip(share * image + weight * ice[top : top + 32, left : left + 32], 0, 255))

    return frost


def fog(image: Array, draws: Draws, strength: float, decay: float) -> Array:
    x, side = image / 255.0, 32
    cloud = np.zeros((side, side))
    rough, step = 100.0, side
    while step >= 2:
        half, count = step // 2, side // step

        def mean(total: Array, count: int = count, rough: float = rough) -> Array:
            return total / 4 + draws.uniform(count, count, low=-(rough**2), high=rough**2)[0].double().numpy()

        corner = cloud[::step, ::step]
        pair = corner + np.roll(corner, -1, axis=0)
        cloud[half::step, half::step] = middle = mean(pair + np.roll(pair, -1, axis=1))
        top = middle + np.roll(middle, 1, axis=0) + corner + np.roll(corner, -1, axis=1)
        left = middle + np.roll(middle, 1, axis=1) + corner + np.roll(corner, -1, axis=0)
        cloud[::step, half::step], cloud[half::step, ::step] = mean(top), mean(left)
        step, rough = half, rough / decay
    cloud -= cloud.min()
    return clipped((x + strength * (cloud / cloud.max())[..., None]) * x.max() / (x.max() + strength))


def spatter(  # noqa: PLR0917  (a severity's constants come by position)
    image: Array, draws: Draws, mean: float, std: float, blur: float, threshold: float, intensity: float, mud: float
) -> Array:
    x = image.astype(np.float32) / np.float32(255)
    liquid = gaussian(draws.normal(*image.shape[:2], mean=mean, std=std)[0].double().numpy(), sigma=blur)
    liquid[liquid < threshold] = 0
    if mud:
        cover = gaussian((liquid > threshold).astype(np.float32), sigma=intensity)
        cover[cover < 0.8] = 0
        return clipped(x * (1 - cover[..., None]) + np.array([63, 42, 20]) / 255.0 * cover[..., None])
    drops = (liquid * 255).astype(np.int64).astype(np.uint8)
    far = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    far = cv2.blur(cv2.threshold(far, 20, 20, cv2.THRESH_TRUNC)[1], (3, 3)).astype(np.uint8)
    light = cv2.filter2D(cv2.equalizeHist(far), cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    shine = drops * cv2.blur(light, (3, 3)).astype(np.float32)
    shine = shine / shine.max() * intensity if shine.max() > 0 else shine  # the original divides 0 by 0
    return clipped(x + shine[..., None] * np.float32([175, 238, 238]) / np.float32(255))

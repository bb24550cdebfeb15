"""Every corruption once more, the obvious way: one image at a time, in NumPy, SciPy and Pillow, in double precision.

Each function takes one image ``(H, W, C)`` of bytes, that image's random numbers and one severity's constants.
"""

import colorsys
import math
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import scipy.ndimage as nd
import scipy.stats
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.shifts._ice import ice
from motet.shifts.draws import Draws

Array = np.ndarray[Any, Any]


def photographs(count: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Images like photographs: smooth, with an edge, some values dark and some saturated, ``(B, C, H, W)``."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 5, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    edge = (torch.arange(width) > width // 3).float() * 0.4 - 0.2
    grain = 0.04 * torch.randn(count, channels, height, width, generator=generator)
    return ((1.3 * smooth + edge + grain - 0.15).clamp(0, 1) * 255).to(torch.uint8)


def truncated(x: Array) -> Array:
    return np.clip(255 * x + 2.0**-10, 0, 255).astype(np.uint8)


def channels_last(draws: Draws, kind: str, image: Array, **more: float) -> Array:
    height, width, channels = image.shape
    return getattr(draws, kind)(channels, height, width, **more)[0].double().numpy().transpose(1, 2, 0)


def field(draws: Draws, kind: str, image: Array, **more: float) -> Array:
    return getattr(draws, kind)(*image.shape[:2], **more)[0].double().numpy()


def luma(x: Array) -> Array:
    return x if x.shape[2] == 1 else (x @ np.array([0.299, 0.587, 0.114]))[..., None]


def blurred(x: Array, sigma: float, **more: Any) -> Array:
    if sigma == 0:
        return x
    return np.stack([nd.gaussian_filter(x[..., c], sigma, **more) for c in range(x.shape[2])], axis=-1)


def gaussian_noise(image: Array, draws: Draws, std: float) -> Array:
    return truncated(image / 255 + channels_last(draws, "normal", image, std=std))


def speckle_noise(image: Array, draws: Draws, std: float) -> Array:
    return truncated(image / 255 + image / 255 * channels_last(draws, "normal", image, std=std))


def shot_noise(image: Array, draws: Draws, photons: float) -> Array:
    chance = channels_last(draws, "uniform", image)
    # ppf gives the first count whose distribution function reaches the chance; at 0 SciPy says -1
    counts = np.maximum(scipy.stats.poisson.ppf(chance, image / 255 * photons), 0)
    return truncated(counts / photons)


def impulse_noise(image: Array, draws: Draws, amount: float) -> Array:
    hit, salt = channels_last(draws, "uniform", image), channels_last(draws, "uniform", image)
    out = image.copy()
    for place in np.ndindex(image.shape):
        if hit[place] < np.float32(amount):
            out[place] = 255 if salt[place] < 0.5 else 0
    return out


def gaussian_blur(image: Array, draws: Draws, sigma: float) -> Array:
    return truncated(blurred(image / 255, sigma, mode="nearest", truncate=4.0))


def defocus_blur(image: Array, draws: Draws, radius: float, alias: float) -> Array:
    reach, half = (8, 1) if radius <= 8 else (int(radius), 2)
    disk = np.zeros((2 * reach + 1, 2 * reach + 1))
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            disk[y + reach, x + reach] = x * x + y * y <= radius * radius
    disk /= disk.sum()
    tap = np.array([math.exp(-(i**2) / (2 * alias**2)) for i in range(-half, half + 1)])
    disk = nd.correlate(disk, np.outer(tap, tap) / tap.sum() ** 2, mode="mirror")
    disk /= disk.sum()
    return truncated(np.stack([nd.correlate(c / 255, disk, mode="mirror") for c in image.transpose(2, 0, 1)], axis=-1))


def glass_blur(image: Array, draws: Draws, sigma: float, reach: float, rounds: float) -> Array:
    reach = int(reach)
    x = truncated(blurred(image / 255, sigma, mode="nearest"))
    height, width = image.shape[:2]
    for _ in range(int(rounds)):
        offset = draws.integers(2 * reach, 2, height, width)[0].numpy() - reach
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                dx, dy = offset[:, h, w]
                # the original's way to swap, on views
                x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]
    return truncated(blurred(x / 255, sigma, mode="nearest"))


def along(x: Array, angle: float, radius: float, sigma: float) -> Array:
    width = 2 * math.ceil(radius) + 1
    weights = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    rows, columns = np.arange(x.shape[0]), np.arange(x.shape[1])
    out = np.zeros(x.shape)
    for step, weight in enumerate(weights):
        down = math.ceil(step * math.sin(math.radians(angle)) - 0.5)
        right = math.ceil(step * math.cos(math.radians(angle)) - 0.5)
        row = np.clip(rows + down, 0, x.shape[0] - 1)
        column = np.clip(columns + right, 0, x.shape[1] - 1)
        out += weight * x[row][:, column]
    return out


def motion_blur(image: Array, draws: Draws, radius: float, sigma: float) -> Array:
    angle = float(draws.uniform(low=-45.0, high=45.0))
    return truncated((along(image.astype(float), angle, radius, sigma) + 0.5) / 255)


def clipped_zoom(x: Array, factor: float) -> Array:
    height, width = x.shape[:2]
    high, wide = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - high) // 2, (width - wide) // 2
    x = nd.zoom(x[top : top + high, left : left + wide], (factor, factor, 1), order=1)
    top, left = (x.shape[0] - height) // 2, (x.shape[1] - width) // 2
    return x[top : top + height, left : left + width]


def zoom_blur(image: Array, draws: Draws, step: float, count: float) -> Array:
    x = image / 255
    zoomed = [clipped_zoom(x, factor) for factor in np.arange(1, 1 + (count - 0.5) * step, step)]
    return truncated((x + sum(zoomed)) / (count + 1))


def snow(  # noqa: PLR0917
    image: Array, draws: Draws, mean: float, std: float, zoom: float, threshold: float, radius: float, sigma: float,
    share: float,
) -> Array:  # fmt: skip
    layer = clipped_zoom(draws.normal(1, *image.shape[:2], mean=mean, std=std)[0, 0].double().numpy()[..., None], zoom)
    layer[layer < np.float32(threshold)] = 0
    layer = truncated(layer).astype(float)
    layer = np.floor(along(layer, float(draws.uniform(low=-135.0, high=-45.0)), radius, sigma) + 0.5) / 255
    x = image / 255
    x = share * x + (1 - share) * np.maximum(x, luma(x) * 1.5 + 0.5)
    return truncated(x + layer + np.rot90(layer, k=2))


def resized(picture: Array, factor: float, corner: tuple[int, int], size: tuple[int, int]) -> Array:
    """A window of the picture as OpenCV's INTER_LINEAR resizes it: a pixel depends on four, however much it shrinks."""
    out = np.zeros((*size, picture.shape[2]))
    last = np.array(picture.shape[:2]) - 1
    for y, x in np.ndindex(*size):
        at = np.clip((np.array([corner[0] + y, corner[1] + x]) + 0.5) / factor - 0.5, 0, last)
        (y0, x0), (y1, x1) = at.astype(int), np.minimum(at.astype(int) + 1, last)
        down, right = at - at.astype(int)
        upper = picture[y0, x0] * (1 - right) + picture[y0, x1] * right
        lower = picture[y1, x0] * (1 - right) + picture[y1, x1] * right
        out[y, x] = np.floor(upper * (1 - down) + lower * down + 0.5)
    return out


def frost(image: Array, draws: Draws, share: float, weight: float, scale: float) -> Array:
    height, width, channels = image.shape
    picture = ice(int(draws.integers(5))).permute(1, 2, 0).contiguous().numpy()
    factor = max(scale * max(height, width), height / picture.shape[0], width / picture.shape[1])
    high, wide = max(round(picture.shape[0] * factor), height), max(round(picture.shape[1] * factor), width)
    place = draws.uniform(2)[0].double().numpy()
    corner = int(place[0] * (high - height)), int(place[1] * (wide - width))
    layer = resized(picture, factor, corner, (height, width))
    return truncated((share * image + weight * (luma(layer) if channels == 1 else layer)) / 255)


def plasma(draws: Draws, side: int, decay: float) -> Array:
    """Point by point, on a grid that meets itself at the borders."""
    heights = np.zeros((side, side))
    rough, step = 100.0, side
    while step >= 2:
        half, count = step // 2, side // step

        def noise(count: int = count, rough: float = rough) -> Array:
            return draws.uniform(count, count, low=-rough * rough, high=rough * rough)[0].double().numpy()

        def at(y: int, x: int, heights: Array = heights) -> float:
            return float(heights[y % side, x % side])

        middle = noise()
        for i, j in np.ndindex(count, count):
            y, x = i * step, j * step
            corners = at(y, x) + at(y + step, x) + at(y, x + step) + at(y + step, x + step)
            heights[y + half, x + half] = corners / 4 + middle[i, j]
        top, side_ = noise(), noise()
        new = heights.copy()
        for i, j in np.ndindex(count, count):
            y, x = i * step, j * step
            mean = (at(y, x) + at(y, x + step) + at(y + half, x + half) + at(y - half, x + half)) / 4
            new[y, x + half] = mean + top[i, j]
            mean = (at(y, x) + at(y + step, x) + at(y + half, x + half) + at(y + half, x - half)) / 4
            new[y + half, x] = mean + side_[i, j]
        heights = new
        step, rough = half, rough / decay
    heights -= heights.min()
    return heights / heights.max()


def fog(image: Array, draws: Draws, strength: float, decay: float) -> Array:
    height, width = image.shape[:2]
    side = 2 ** math.ceil(math.log2(max(height, width)))
    x = image / 255
    cloud = plasma(draws, side, decay)[:height, :width, None]
    return truncated((x + strength * cloud) * x.max() / (x.max() + strength))


def in_hsv(image: Array, change: Callable[[float, float, float], tuple[float, float, float]]) -> Array:
    rgb = np.broadcast_to(image / 255, (*image.shape[:2], 3))
    out = np.array([[colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in row] for row in rgb])
    return truncated(luma(out) if image.shape[2] == 1 else out)


def brightness(image: Array, draws: Draws, more: float) -> Array:
    return in_hsv(image, lambda h, s, v: (h, s, min(v + more, 1)))


def saturate(image: Array, draws: Draws, factor: float, more: float) -> Array:
    return in_hsv(image, lambda h, s, v: (h, min(s * factor + more, 1), v))


def contrast(image: Array, draws: Draws, factor: float) -> Array:
    x = image / 255
    means = x.mean(axis=(0, 1), keepdims=True)
    return truncated((x - means) * factor + means)


def elastic_transform(image: Array, draws: Draws, amplitude: float, smooth: float, jitter: float) -> Array:
    height, width, channels = image.shape
    side, third = min(height, width), min(height, width) // 3
    old = np.array([[third, third], [third, -third], [-third, -third]]) + np.array([width // 2, height // 2])
    new = old + draws.uniform(3, 2, low=-jitter * side, high=jitter * side)[0].double().numpy()
    back = np.linalg.solve(np.c_[new, np.ones(3)], old).T  # new places to old ones
    y, x = np.mgrid[:height, :width].astype(float)
    # OpenCV's whole 1024ths of a pixel, then whole 32nds
    parts = [(np.rint(1024 * a * x), np.rint(1024 * (b * y + c))) for a, b, c in back]
    from_x, from_y = ((across + down + 16) // 32 / 32 for across, down in parts)
    out = [nd.map_coordinates(image[..., c] / 255, (from_y, from_x), order=1, mode="mirror") for c in range(channels)]
    if amplitude:
        noise = draws.uniform(2, height, width, low=-1.0, high=1.0)[0].double().numpy()
        dx, dy = (nd.gaussian_filter(n, smooth * side, mode="reflect", truncate=3) * amplitude * side for n in noise)
        out = [nd.map_coordinates(c, (y + dy, x + dx), order=1, mode="reflect") for c in out]
    return truncated(np.stack(out, axis=-1))


def pixelate(image: Array, draws: Draws, share: float) -> Array:
    picture = Image.fromarray(image.squeeze())
    small = picture.resize((int(picture.width * share), int(picture.height * share)), Image.Resampling.BOX)
    return np.asarray(small.resize(picture.size, Image.Resampling.BOX)).reshape(image.shape)


def jpeg_compression(image: Array, draws: Draws, quality: float) -> Array:
    file = BytesIO()
    Image.fromarray(image.squeeze()).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file)).reshape(image.shape)


def canny(x: Array, low: int, high: int) -> Array:
    height, width = x.shape
    p = np.pad(x.astype(int), 1, mode="edge")
    gx, gy, size = (np.zeros((height + 2, width + 2), dtype=int) for _ in range(3))
    for i, j in np.ndindex(height, width):
        n = p[i : i + 3, j : j + 3]
        gx[i + 1, j + 1] = (n[:, 2] - n[:, 0]) @ [1, 2, 1]
        gy[i + 1, j + 1] = (n[2] - n[0]) @ [1, 2, 1]
    size = abs(gx) + abs(gy)
    thin = np.zeros((height, width), dtype=bool)
    for i, j in np.ndindex(height, width):
        y, x_ = i + 1, j + 1
        m, ax, ay = size[y, x_], abs(gx[y, x_]), abs(gy[y, x_])
        if ay * 32768 < ax * 13573:
            thin[i, j] = m > size[y, x_ - 1] and m >= size[y, x_ + 1]
        elif ay * 32768 > ax * (13573 + 65536):
            thin[i, j] = m > size[y - 1, x_] and m >= size[y + 1, x_]
        else:
            s = -1 if (gx[y, x_] < 0) != (gy[y, x_] < 0) else 1
            thin[i, j] = m > size[y - 1, x_ - s] and m > size[y + 1, x_ + s]
    inner = size[1:-1, 1:-1]
    parts, count = nd.label(thin & (inner > low), structure=np.ones((3, 3)))
    strong = {parts[place] for place in np.ndindex(height, width) if thin[place] and inner[place] > high}
    return np.isin(parts, [part for part in range(1, count + 1) if part in strong])


def equalised(x: Array) -> Array:
    histogram = np.bincount(x.ravel(), minlength=256)
    lowest = int(np.flatnonzero(histogram)[0])
    if histogram[lowest] == x.size:
        return x
    table, total = np.zeros(256), 0
    for level in range(lowest + 1, 256):
        total += histogram[level]
        table[level] = round(total * 255 / (x.size - histogram[lowest]))
    return table[x]


def chamfer(edges: Array) -> Array:
    """OpenCV's distance to the nearest edge pixel, in units of 1/10000: one pass down, one up, over 16 neighbours."""
    steps = [(0, 1, 10000), (1, 0, 10000), (1, 1, 14000), (1, -1, 14000)]
    steps += [(1, 2, 21969), (1, -2, 21969), (2, 1, 21969), (2, -1, 21969)]
    height, width = edges.shape
    out = np.pad(np.where(edges, 0, 2**40), 2, constant_values=2**40)
    for sign in (-1, 1):
        for y, x in list(np.ndindex(height, width))[::-sign]:
            near = (out[y + 2 + sign * dy, x + 2 + sign * dx] + length for dy, dx, length in steps)
            out[y + 2, x + 2] = min(out[y + 2, x + 2], *near)
    return out[2:-2, 2:-2]


def spatter(  # noqa: PLR0917
    image: Array, draws: Draws, mean: float, std: float, blur: float, threshold: float, intensity: float, mud: float
) -> Array:
    x = image / 255
    liquid = nd.gaussian_filter(field(draws, "normal", image, mean=mean, std=std), blur, mode="nearest")
    liquid[liquid < np.float32(threshold)] = 0
    water = (np.array([63, 42, 20]) if mud else np.array([175, 238, 238])) / 255
    tint = water if image.shape[2] == 3 else water @ np.array([[0.299], [0.587], [0.114]])
    if mud:
        m = nd.gaussian_filter((liquid > threshold).astype(float), intensity, mode="nearest")
        m[m < 0.8] = 0
        return truncated(x * (1 - m[..., None]) + m[..., None] * tint)
    liquid = np.floor(255 * liquid + 2.0**-10).astype(int) % 256
    distance = np.minimum(chamfer(canny(liquid, 50, 150)), 20 * 10000)
    mean3 = np.full((3, 3), 1 / 9)
    near = nd.correlate(distance, np.ones((3, 3), dtype=int), mode="mirror") // (9 * 10000)
    near = equalised(near)
    kernel = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    near = np.clip(nd.correlate(near.astype(float), kernel, mode="mirror"), 0, 255)
    m = liquid * np.rint(nd.correlate(near, mean3, mode="mirror"))
    m = m / m.max() * intensity if m.max() > 0 else m
    return truncated(x + m[..., None] * tint)


def moved(x: Array, cosine: float, sine: float) -> Array:
    height, width = x.shape[:2]
    y, x_ = np.mgrid[:height, :width].astype(float)
    cy, cx = (height - 1) / 2, (width - 1) / 2
    places = (sine * (x_ - cx) + cosine * (y - cy) + cy, cosine * (x_ - cx) - sine * (y - cy) + cx)
    # a margin, since SciPy does not interpolate towards the constant beyond the border
    places = (places[0] + 1, places[1] + 1)
    framed = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    return np.stack([nd.map_coordinates(framed[..., c], places, order=1) for c in range(x.shape[2])], axis=-1)


def mimmo_translation(image: Array, draws: Draws, share: float) -> Array:
    height, width = image.shape[:2]
    right, down = math.floor(share * width + 0.5), math.floor(share * height + 0.5)
    dx, dy = [(right, 0), (-right, 0), (0, down), (0, -down)][int(draws.integers(4))]
    out = np.zeros_like(image)
    for y, x in np.ndindex(height, width):
        if 0 <= y - dy < height and 0 <= x - dx < width:
            out[y, x] = image[y - dy, x - dx]
    return out


def mimmo_rotation(image: Array, draws: Draws, degrees: float) -> Array:
    return truncated(moved(image / 255, math.cos(math.radians(degrees)), math.sin(math.radians(degrees))))


def mimmo_scale(image: Array, draws: Draws, factor: float) -> Array:
    return truncated(moved(image / 255, 1 / factor, 0))


def mimmo_brightness(image: Array, draws: Draws, factor: float) -> Array:
    return truncated(image / 255 * factor)


def mimmo_contrast(image: Array, draws: Draws, factor: float) -> Array:
    x = image / 255
    return truncated((x - luma(x).mean()) * factor + luma(x).mean())


def slow(name: str, image: Array, draws: Draws, constants: tuple[float, ...]) -> Array:
    return globals()[name](image, draws, *constants)

"""Linear filters on images: blurs and zooms as matrices on rows and columns, and reflection at the border."""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def gaussian(
    x: Float[Tensor, "*axes"], sigma: float, *, mode: str = "nearest", truncate: float = 4.0
) -> Float[Tensor, "*axes"]:
    """Blur the last two axes with a Gaussian, like ``skimage.filters.gaussian`` (scipy's).

    Args:
        x: ``(..., H, W)``.
        sigma: the standard deviation in pixels; 0 does not change the image.
        mode: the values beyond the border: scipy's "nearest" or "reflect".
        truncate: where the kernel ends, in standard deviations.
    """
    if int(truncate * sigma + 0.5) == 0:  # the kernel is one pixel
        return x
    height, width = x.shape[-2:]
    return separable(x, _gaussian(height, sigma, mode, truncate), _gaussian(width, sigma, mode, truncate))


def separable(
    x: Float[Tensor, "*axes height width"], rows: Float[Tensor, "to_h height"], columns: Float[Tensor, "to_w width"]
) -> Float[Tensor, "*axes to_h to_w"]:
    """``rows @ x @ columns.T`` for every image.

    Args:
        x: images.
        rows: the matrix for rows.
        columns: the matrix for columns.
    """
    rows, columns = rows.to(x.device), columns.to(x.device)
    # Two matrix products over the whole batch, instead of one small product for each image.
    half = F.linear(x, columns).transpose(-1, -2)
    return F.linear(half, rows).transpose(-1, -2)


@lru_cache(maxsize=64)
def _gaussian(size: int, sigma: float, mode: str, truncate: float) -> Tensor:
    """Return the blur of a line of pixels, with its border, as a ``(size, size)`` matrix."""
    from scipy.ndimage import gaussian_filter1d

    blurred = gaussian_filter1d(np.eye(size), sigma, axis=0, mode=mode, truncate=truncate)
    return torch.from_numpy(blurred).to(torch.float32)


@lru_cache(maxsize=256)
def zoom_matrix(size: int, factor: float) -> Float[Tensor, "size size"]:
    """The original's ``clipped_zoom`` of a line of pixels: magnify its middle linearly, and cut that to `size`.

    As in ``scipy.ndimage.zoom`` of order 1, the first and last pixel of the magnified part stay first and last.
    """
    kept = math.ceil(size / factor)
    top = (size - kept) // 2
    made = round(kept * factor)
    trim = (made - size) // 2
    at = (np.arange(size) + trim) * ((kept - 1) / max(made - 1, 1))
    low = np.minimum(at.astype(int), max(kept - 2, 0))
    matrix = np.zeros((size, size))
    matrix[np.arange(size), top + low] = 1 - (at - low)
    if kept > 1:
        matrix[np.arange(size), top + low + 1] += at - low
    return torch.from_numpy(matrix).to(torch.float32)


def mirrored(size: int, margin: int, device: torch.device) -> Int64[Tensor, "padded"]:
    """Return the indices of the pixels at -margin .. size + margin - 1 of a line that is mirrored at its outer pixels.

    This is OpenCV's BORDER_REFLECT_101. torch's padding does not allow a margin as wide as the image.

    Args:
        size: the number of pixels of the line.
        margin: the number of pixels on each side.
        device: the device of the result.
    """
    period = max(2 * (size - 1), 1)
    at = torch.arange(-margin, size + margin, device=device).remainder(period)
    return torch.minimum(at, period - at) if size > 1 else torch.zeros_like(at)


def pad_mirrored(x: Float[Tensor, "*axes"], margin: int) -> Float[Tensor, "*more"]:
    """Return `x` of ``(..., H, W)`` with a margin on all four sides; see `mirrored`."""
    height, width = x.shape[-2:]
    return x.index_select(-2, mirrored(height, margin, x.device)).index_select(-1, mirrored(width, margin, x.device))

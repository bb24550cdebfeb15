"""Images that stay in their files until they are needed: decoded by threads, in order, a few batches ahead.

Pillow releases the GIL while it decodes, so threads share the work like processes, without their start-up time and
without copies. The result depends only on the files and the seed, not on the number of threads.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from motet.data.formats.decode import BadImageError, Box, bad_images_error, centre, decode
from motet.data.formats.memory import available_cores

_AHEAD = 2
# The usual evaluation uses 224 pixels in the middle of 256.
_SHOWN = 0.875
_ASPECT = 4 / 3

Job = tuple[Path, Callable[[int, int], Box]]


@final
class ImageFiles:
    """Image files with the interface of a uint8 tensor ``(N, C, size, size)``: a shape, indexing, batches.

    Indexing and `split` return the middle of each image, a square of 7/8 of its shorter side; `cropped` returns random
    parts for training.

    Args:
        paths: the files.
        size: height and width to which images are resized.
        channels: 1 or 3.
        device: the device of decoded images.
        workers: the number of threads that decode; if None, the number of cores that the process may use, at most
            16.
    """

    dtype = torch.uint8

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        size: int,
        channels: int,
        device: torch.device | str = "cpu",
        workers: int | None = None,
    ) -> None:
        self.paths = tuple(paths)
        self.size, self.channels, self.device = size, channels, torch.device(device)
        self.workers = min(16, available_cores()) if workers is None else workers

    def __len__(self) -> int:
        """The number of images."""
        return len(self.paths)

    @property
    def shape(self) -> torch.Size:
        """``(N, channels, size, size)``."""
        return torch.Size((len(self.paths), self.channels, self.size, self.size))

    @property
    def ndim(self) -> int:
        """4."""
        return 4

    def is_floating_point(self) -> bool:
        """Always False: the images are bytes."""
        return False

    def to(self, device: torch.device | str) -> "ImageFiles":
        """Return the same files, decoded to `device`."""
        return self._like(self.paths, device=device)

    def index_select(self, dim: int, rows_K: Int64[Tensor, "taken"]) -> "ImageFiles":
        """Return some of the files, not decoded."""
        assert dim == 0
        return self._like([self.paths[row] for row in rows_K.tolist()])

    def __getitem__(self, rows: slice | Int64[Tensor, "..."]) -> UInt8[Tensor, "..."]:
        """Return these images, decoded: ``(K, C, size, size)``, or with the axes of a tensor of row indices in
        front.
        """
        if isinstance(rows, Tensor) and rows.ndim != 1:
            flat: Tensor = self[rows.flatten()]
            return flat.reshape(*rows.shape, *flat.shape[1:])
        paths = self.paths[rows] if isinstance(rows, slice) else [self.paths[row] for row in rows.tolist()]
        return next(self._decoded([[(path, centre(_SHOWN)) for path in paths]]))

    def split(self, batch_size: int) -> Iterator[UInt8[Tensor, "batch channels height width"]]:
        """Yield all images in order, in batches; the last may be smaller."""
        starts = range(0, len(self), batch_size)
        return self._decoded([(path, centre(_SHOWN)) for path in self.paths[at : at + batch_size]] for at in starts)

    def cropped(
        self, order_N: Int64[Tensor, "rows"], *, batch_size: int, least_area: float, seed: int, epoch: int
    ) -> Iterator[UInt8[Tensor, "batch channels height width"]]:
        """Yield images in batches, for training.

        If `least_area` is above 0, each is a random part with between that fraction and all of the area, and with an
        aspect ratio between 3/4 and 4/3 (Szegedy et al., 2015; section 6), resized to the size. A part that does not
        fit into the image is cut down to it. With 0 it is the middle, as in `split`.

        Args:
            order_N: row indices, in the order of the batches.
            batch_size: images per batch.
            least_area: the smallest fraction of the area of a random part.
            seed: the seed of the run.
            epoch: the epoch, from 0.
        """
        rows = order_N.tolist()
        if least_area <= 0:
            draws = None
        else:
            # A row's part depends on the row, not on its position. The key is the order's (motet.data.batches), with a
            # distant counter.
            key = np.array([seed, epoch], dtype=np.uint64)
            bits = np.random.Philox(key=key, counter=np.array([0, 0, 0, 1], dtype=np.uint64))
            words = bits.random_raw(4 * len(self)).reshape(-1, 4)
            draws = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53

        def for_row(row: int) -> Callable[[int, int], Box]:
            return centre(_SHOWN) if draws is None else random_part(draws[row], least_area)

        starts = range(0, len(rows), batch_size)
        return self._decoded([(self.paths[r], for_row(r)) for r in rows[at : at + batch_size]] for at in starts)

    def _decoded(self, batches: Iterable[list[Job]]) -> Iterator[Tensor]:
        pool = ThreadPoolExecutor(max(1, self.workers), thread_name_prefix="motet-decode")
        waiting: deque[list[Future[Tensor]]] = deque()
        try:
            for batch in batches:
                waiting.append([pool.submit(self._decode, *job) for job in batch])
                if len(waiting) > _AHEAD:
                    yield self._collect(waiting.popleft())
            while waiting:
                yield self._collect(waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _decode(self, path: Path, box: Callable[[int, int], Box]) -> Tensor:
        try:
            return decode(path, size=self.size, channels=self.channels, box=box)
        except BadImageError as error:
            raise bad_images_error([(path, str(error))], len(self)) from error

    def _collect(self, images: list[Future[Tensor]]) -> Tensor:
        batch = torch.stack([image.result() for image in images])
        return batch if self.device.type == "cpu" else batch.to(self.device, non_blocking=True)

    def _like(self, paths: Sequence[Path], device: torch.device | str | None = None) -> "ImageFiles":
        return ImageFiles(
            paths, size=self.size, channels=self.channels, device=device or self.device, workers=self.workers
        )


def random_part(draw_4: NDArray[np.float64], least_area: float) -> Callable[[int, int], Box]:
    """Return a part of an image from four uniform numbers: its area, aspect ratio, and position."""
    area, ratio, right, down = (float(value) for value in draw_4)

    def box(width: int, height: int) -> Box:
        pixels = (least_area + (1 - least_area) * area) * width * height
        aspect = _ASPECT ** (2 * ratio - 1)
        w, h = min((pixels * aspect) ** 0.5, float(width)), min((pixels / aspect) ** 0.5, float(height))
        left, upper = right * (width - w), down * (height - h)
        return (left, upper, left + w, upper + h)

    return box

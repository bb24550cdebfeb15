"""Draw every corruption at every severity on CIFAR-10's test images: docs/img/corruptions.png.

python tools/draw_corruptions.py FOLDER_WITH_TEST_BATCH
"""

import pickle
import sys
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from motet.plots.style import LIGHT, style
from motet.shifts import CORRUPTIONS, SETS, SEVERITIES, corrupt

FILE = Path(__file__).resolve().parent.parent / "docs" / "img" / "corruptions.png"
ROWS = (3, 13)  # of the test set: an aeroplane, a horse
GAP, ENLARGED, DPI = 2, 2, 150
LEFT, TOP = 205, 40  # pixels for the labels


def main() -> None:
    images = test_images(Path(sys.argv[1]))[list(ROWS)]
    names = [name for each in ("cifar-c-19", "mimmo") for name in SETS[each]]
    half = len(names) // 2
    sheets = [(part, sheet(images, part)) for part in (names[:half], names[half:])]
    high, wide = (ENLARGED * side for side in sheets[0][1].shape[:2])
    total_wide, total_high = 2 * (LEFT + wide), TOP + high
    style()
    figure = plt.figure(figsize=(total_wide / DPI, total_high / DPI), dpi=DPI)
    for number, (part, paper) in enumerate(sheets):
        # On whole pixels, so that nothing is resampled.
        left = LEFT + number * (LEFT + wide)
        axes = figure.add_axes((left / total_wide, 0.0, wide / total_wide, high / total_high))
        axes.imshow(paper, interpolation="nearest", aspect="auto")
        step = images.shape[2] + GAP
        axes.set_yticks([step * row + step / 2 for row in range(len(part))], [label(name) for name in part])
        across = len(images) * step
        axes.set_xticks(
            [column * (across + GAP) + across / 2 for column in range(6)], ["original", *map(str, SEVERITIES)]
        )
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelsize=9, colors=LIGHT["ink"])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    buffer = BytesIO()
    figure.savefig(buffer, dpi=DPI)
    # 32 levels a channel: a much smaller file, and hardly another picture.
    Image.open(buffer).convert("RGB").point(lambda level: (level & 0xF8) | (level >> 5)).save(FILE, optimize=True)


def label(name: str) -> str:
    return name.replace("mimmo_", "MIMMO: ").replace("_", " ").replace("jpeg", "JPEG").replace("gaussian", "Gaussian")


def sheet(images: Tensor, names: list[str]) -> np.ndarray:
    """A line for each corruption, the images side by side for each severity."""
    count, _, height, width = images.shape
    step_y, step_x = height + GAP, width + GAP
    paper = np.full((len(names) * step_y, 6 * (count * step_x + GAP), 3), 255, dtype=np.uint8)
    for row, name in enumerate(names):
        versions = [images, *(corrupt(images, CORRUPTIONS[name], severity=severity) for severity in SEVERITIES)]
        for column, version in enumerate(versions):
            for number, image in enumerate(version):
                y, x = row * step_y, column * (count * step_x + GAP) + number * step_x
                paper[y : y + height, x : x + width] = image.permute(1, 2, 0).numpy()
    return paper


def test_images(folder: Path) -> Tensor:
    with (folder / "test_batch").open("rb") as file:
        return torch.from_numpy(pickle.load(file, encoding="bytes")[b"data"].reshape(-1, 3, 32, 32))


if __name__ == "__main__":
    main()

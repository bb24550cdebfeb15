"""How close motet's 19 corruptions are to CIFAR-10-C's program: both on the same images with the same random numbers.

It needs OpenCV and scikit-image (``pip install opencv-python-headless scikit-image``), and two folders in environment
variables: MOTET_CIFAR10, with cifar-10-batches-py, and MOTET_FROST, with the original's five photographs of frost
(frost1.png to frost5.jpg), which motet does not contain. Generated frost has no counterpart to compare pixels with, so
its strength is compared: the mean absolute change of an image.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _original_corruptions
import _original_weather
import cv2
import numpy as np
import scipy
import skimage
import torch
from _harness import record
from PIL import __version__ as pillow_version
from torch import Tensor

import motet
from motet.shifts import CORRUPTIONS, SETS, SEVERITIES, Draws, corrupt, frost_from

IMAGES = 200
FROST_IMAGES = 10_000
SEED = 0
Formula = Callable[..., np.ndarray[Any, Any]]


def main() -> int:
    photographs = Path(os.environ["MOTET_FROST"])
    test = motet.data.cifar10(Path(os.environ["MOTET_CIFAR10"])).test.inputs
    original = {**vars(_original_corruptions), **vars(_original_weather)}
    original["frost"] = _original_weather.frost_with(photographs)
    found: dict[str, Any] = {}
    for name in SETS["cifar-c-19"]:
        by_severity = [compared(test[:IMAGES], name, severity, photographs, original[name]) for severity in SEVERITIES]
        worst = max(range(len(SEVERITIES)), key=lambda at: share_differing(by_severity[at]))
        found[name] = {"worst_severity": SEVERITIES[worst], **by_severity[worst]}
        print(f"{name:>20}  {found[name]}", flush=True)
    strength = frost_strength(test[:FROST_IMAGES], original["frost"])
    print(strength)
    result = {
        "corruptions": found,
        "frost_strength": strength,
        "largest_frost_error": max(abs(got / want - 1) for got, want in zip(*strength.values(), strict=True)),
        "largest_share_beyond_one": max(row["share_beyond_one"] for row in found.values()),
    }
    settings = {
        "images": IMAGES, "frost_images": FROST_IMAGES, "data": "the first images of CIFAR-10's test set", "seed": SEED,
        "severities": list(SEVERITIES), "opencv": cv2.__version__, "scikit-image": skimage.__version__,
        "scipy": scipy.__version__, "pillow": pillow_version, "imagemagick": None,
    }  # fmt: skip
    bounds = {"largest_frost_error": 0.05, "largest_share_beyond_one": 0.01}
    return record("corruption_fidelity", settings, result, bounds=bounds)


def share_differing(row: dict[str, float]) -> tuple[float, float]:
    return row["share_beyond_one"], row["share_different"]


def compared(images: Tensor, name: str, severity: int, photographs: Path, formula: Formula) -> dict[str, float]:
    """Return how motet's images differ from the original's; frost is that of the photographs."""
    constants = CORRUPTIONS[name].constants_at(severity, "cifar")
    fast = corrupt(images, frost_from(photographs) if name == "frost" else name, severity=severity, seed=SEED)
    wanted = []
    for row, image in enumerate(images):
        draws = Draws(seed=SEED, index_B=torch.tensor([row]), stream=f"{name}/{severity}")
        wanted.append(formula(image.permute(1, 2, 0).numpy().copy(), draws, *constants))
    reference = torch.from_numpy(np.stack(wanted)).permute(0, 3, 1, 2).int()
    off = (fast.int() - reference).abs()
    return {
        "share_beyond_one": float((off > 1).double().mean()),
        "share_different": float((off > 0).double().mean()),
        "mean_difference": float(off.double().mean()),
        "mean_change": float((reference - images.int()).abs().double().mean()),
    }


def frost_strength(images: Tensor, formula: Formula) -> dict[str, list[float]]:
    """Return the mean absolute change at each severity: of generated frost, and of the original's formula."""
    grown, photographed = [], []
    for severity in SEVERITIES:
        constants = CORRUPTIONS["frost"].constants_at(severity, "cifar")
        grown.append(
            float((corrupt(images, "frost", severity=severity, seed=SEED).int() - images.int()).abs().double().mean())
        )
        total = 0.0
        for row, image in enumerate(images):
            array = image.permute(1, 2, 0).numpy()
            draws = Draws(seed=SEED, index_B=torch.tensor([row]), stream=f"photographs/{severity}")
            made = formula(array, draws, *constants)
            total += float(np.abs(made.astype(int) - array).mean())
        photographed.append(total / len(images))
    return {"generated": grown, "photographs": photographed}


if __name__ == "__main__":
    sys.exit(main())

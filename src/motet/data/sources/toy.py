"""The noisy function in MIMO's regression example."""

import numpy as np
import torch

from motet.data._dataset import Dataset

NOISE = 0.08
"""The standard deviation of the noise."""

_ROWS = {"train": 64, "validation": 1000, "test": 3000}


def toy(seed: int = 0) -> Dataset:
    """``y = x + 0.3 sin(2 pi (x + e)) + 0.3 sin(4 pi (x + e)) + e`` with one ``e ~ N(0, 0.08^2)`` per row, x ~ U(-1,
    1).

    64 training rows and 3,000 test rows, as in the paper's experiment; the 1,000 validation rows are an addition.
    Validation and test rows are the same for every seed; training rows depend on the seed, because the paper's bias and
    variance are over training sets. Random numbers are from `numpy.random.RandomState`, the same on every machine.

    Args:
        seed: the seed of the training rows, from 0 to 2^32 - 2.

    Source: Havasi et al., "Training independent subnetworks for robust prediction", section 2.1 and appendix; the
    position and size of the noise are from a transcription of its notebook.
    """
    seeds = {"train": seed + 1, "validation": 2**32 - 1, "test": 0}
    splits = {name: _draw(rows, seeds[name]) for name, rows in _ROWS.items()}
    return Dataset.from_tensors("toy", train=splits["train"], validation=splits["validation"], test=splits["test"])


def _draw(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.RandomState(seed)
    x = random.uniform(-1, 1, size=(rows, 1))
    noise = NOISE * random.randn(rows, 1)
    moved = x + noise
    y = x + 0.3 * np.sin(2 * np.pi * moved) + 0.3 * np.sin(4 * np.pi * moved) + noise
    return torch.from_numpy(x).float(), torch.from_numpy(y).float()

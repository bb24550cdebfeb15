"""The noisy function of MIMO's regression example."""

import numpy as np
import torch

from motet.data._dataset import Dataset

NOISE = 0.08
"""Standard deviation of the noise."""

_ROWS = {"train": 64, "validation": 1000, "test": 3000}


def toy(seed: int = 0) -> Dataset:
    """``y = x + 0.3 sin(2 pi (x + e)) + 0.3 sin(4 pi (x + e)) + e`` with one ``e ~ N(0, 0.08^2)`` a row, x ~ U(-1, 1).

    64 training rows and 3,000 test rows, as in the paper's experiment; 1,000 validation rows are ours. Validation and
    test rows are the same for every seed, training rows are drawn anew: the paper's bias and variance are taken over
    training sets. Draws are `numpy.random.RandomState`'s, the same on every machine.

    Args:
        seed: of the training rows, from 0 to 2^32 - 2.

    Source: Havasi et al., "Training independent subnetworks for robust prediction", section 2.1 and appendix; the
    noise's place and size are from a transcription of its notebook.
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

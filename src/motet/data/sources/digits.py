"""The handwritten digits that come with scikit-learn: small enough for trials in seconds."""

import math

import torch

from motet.data._dataset import Dataset, Split
from motet.data._holdout import hold_out, take_rows
from motet.data._spec import DataSpec

SPLIT_SEED = 0
"""The seed of the shuffle for the fixed split of `digits`."""


def digits() -> Dataset:
    """1,797 grey images ``(1, 8, 8)`` of the digits 0 to 9, in a fixed stratified split of 1079/359/359 rows.

    Pixels are float32 counts from 0 to 16 (dark pixels in a 4x4 block). `Dataset.prepare` standardises them by the mean
    and standard deviation of all training pixels, about 4.9 and 6.0. The split uses `hold_out` with seed `SPLIT_SEED`:
    test rows first, then validation rows from the rest; it is the same on every machine.

    Source: the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine
    Learning Repository, 1998), from the installed scikit-learn; nothing is downloaded.
    """
    from sklearn.datasets import load_digits

    pixels_NHW, labels_N = load_digits().images, load_digits().target
    every = Split(
        inputs=torch.from_numpy(pixels_NHW).float().unsqueeze(1),
        targets=torch.from_numpy(labels_N).long(),
    )
    fifth = len(every) // 5
    rest, test = hold_out(every.targets, fifth, seed=SPLIT_SEED)
    kept, validation = hold_out(every.targets[rest], fifth, seed=SPLIT_SEED)
    train = take_rows(every, rest[kept])
    # Pixels and their squares are integers with exact float64 sums, so the result is the same on every machine.
    assert isinstance(train.inputs, torch.Tensor)
    pixels = train.inputs.double()
    mean = float(pixels.mean())
    dataset = Dataset(
        spec=DataSpec(
            name="digits",
            input_shape=(1, 8, 8),
            outputs=10,
            task="classification",
            class_names=tuple(str(digit) for digit in range(10)),
            mean=(mean,),
            std=(math.sqrt(float(pixels.square().mean()) - mean * mean),),
            full_scale=16.0,
        ),
        train=train,
        validation=take_rows(every, rest[validation]),
        test=take_rows(every, test),
    )
    dataset.check()
    return dataset

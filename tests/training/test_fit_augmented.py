"""Training with augmentation and on streamed images: repeatable, and resumed to the same numbers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from motet import MIMO, Dataset, DeepEnsemble, Ensemble, InputError, MixMo, Single, Training, fit
from motet.data import Augmentation, DataOptions, image_folder
from motet.errors import RunInterrupted

EVERYTHING = Augmentation(crop=2, flip=True, cutout=2, mixup=0.4, cutmix=1.0, mix_probability=0.8)
METHODS = {
    "single": Single(),
    "mimo": MIMO(members=2, batch_repetition=2),
    "ensemble": DeepEnsemble(members=2),
    "mixmo": MixMo(members=2, batch_repetition=2),
}
SHORT = Training(epochs=2, batch_size=8, learning_rate=0.05)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(4, 2)
    )


def make(method: str) -> Ensemble:
    torch.manual_seed(0)
    return METHODS[method].wrap(network, example=torch.zeros(2, 3, 8, 8))


@pytest.fixture
def stored() -> Dataset:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(256, (48, 3, 8, 8), dtype=torch.uint8, generator=generator)
    y = torch.arange(48) % 2
    rows = {"train": slice(0, 32), "validation": slice(32, 40), "test": slice(40, 48)}
    splits: dict[str, Any] = {name: (x[row], y[row]) for name, row in rows.items()}
    return Dataset.from_tensors("images", mean=(0.5,), std=(0.25,), **splits)


@pytest.fixture
def streamed(tmp_path: Path) -> Dataset:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for row in range(30):
            values = np.random.RandomState(row).randint(0, 256, size=(12, 10 + row % 3, 3), dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / "pets" / name / f"{row}.png")
    return image_folder(tmp_path / "pets", DataOptions(image_size=8, stream=True))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.slow
def test_stopped_and_continued_ends_where_never_stopped_ends(  # noqa: PLR0917
    stored: Dataset, tmp_path: Path, at_step: Any, same_weights: Callable[..., bool], untimed: Any, method: str
) -> None:
    training = replace(SHORT, augment=EVERYTHING)
    whole = make(method)
    rows = fit(whole, stored, training, seed=3, folder=tmp_path / "whole")
    stopped = make(method)
    with at_step(stopped, 6), pytest.raises(RunInterrupted):
        fit(stopped, stored, training, seed=3, folder=tmp_path / "run")
    resumed = make(method)
    history = fit(resumed, stored, training, seed=3, folder=tmp_path / "run")
    assert same_weights(resumed, whole)
    assert untimed(history) == untimed(rows)
    plain = make(method)
    fit(plain, stored, SHORT, seed=3)
    assert not same_weights(plain, whole)
    with pytest.raises(InputError, match="another run"):
        fit(make(method), stored, SHORT, seed=3, folder=tmp_path / "run")


@pytest.mark.slow
def test_stopped_and_continued_on_streamed_images(
    streamed: Dataset, tmp_path: Path, at_step: Any, same_weights: Callable[..., bool]
) -> None:
    training = replace(SHORT, augment=Augmentation(resized_crop=0.3, flip=True))
    whole = make("single")
    fit(whole, streamed, training, seed=3)
    stopped = make("single")
    with at_step(stopped, 3), pytest.raises(RunInterrupted):
        fit(stopped, streamed, training, seed=3, folder=tmp_path / "run")
    resumed = make("single")
    fit(resumed, streamed, training, seed=3, folder=tmp_path / "run")
    assert same_weights(resumed, whole)


@pytest.mark.slow
def test_streamed_images_without_augmentation(streamed: Dataset) -> None:
    history = fit(make("mimo"), streamed, SHORT)
    assert np.isfinite([row["validation_nll"] for row in history]).all()


def test_floating_images_are_padded_before_they_are_normalised(stored: Dataset) -> None:
    as_floats = Dataset.from_tensors(
        "images",
        mean=(0.5,),
        std=(0.25,),
        **{
            name: (getattr(stored, name).inputs.float() / 255, getattr(stored, name).targets)
            for name in ("train", "validation", "test")
        },
    )
    training = replace(SHORT, augment=Augmentation(crop=3, flip=True))
    bytes_, floats = (fit(make("single"), data, training) for data in (stored, as_floats))
    assert [row["train_loss"] for row in bytes_] == pytest.approx([row["train_loss"] for row in floats], rel=1e-4)


def test_mixed_labels_of_a_single_network_by_hand(stored: Dataset) -> None:
    ensemble = make("single").eval()
    x = stored.prepare(stored.train.inputs[:4])
    labels, others, shares = torch.tensor([0, 1, 0, 1]), torch.tensor([1, 1, 0, 0]), torch.rand(4, 1)
    soft = shares * torch.eye(2)[labels] + (1 - shares) * torch.eye(2)[others]
    logp = ensemble(x)[:, 0].log_softmax(dim=-1)
    by_hand = -(soft * logp).sum(dim=1).mean()
    torch.testing.assert_close(ensemble.loss(x, soft), by_hand)
    with pytest.raises(InputError, match="add up to 1"):
        ensemble.likelihood.check_targets(2 * soft, outputs=2)


def test_data_that_is_no_image_is_refused_before_training(blobs: Dataset, lab: Any) -> None:
    with pytest.raises(InputError, match="augmentation needs images"):
        fit(lab.make(), blobs, Training(epochs=1, augment=Augmentation(flip=True)))

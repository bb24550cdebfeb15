"""Every recipe of motet runs from data to scores, with a small model on few images for two epochs."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_data import idx_bytes

from motet import Experiment
from motet.data import load
from motet.evaluation import predict_split
from motet.experiments import load_ensemble, run_experiment
from motet.models import WideResNet
from motet.recipes import load_recipe, recipes

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Fashion-MNIST's four files: 240 and 40 random images."""
    folder = tmp_path_factory.mktemp("images")
    generator = torch.Generator().manual_seed(0)
    for stem, rows in (("train", 240), ("t10k", 40)):
        pixels = torch.randint(256, (rows * 28 * 28,), generator=generator).tolist()
        labels = torch.randint(10, (rows,), generator=generator).tolist()
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(idx_bytes((rows, 28, 28), bytes(pixels)))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx_bytes((rows,), bytes(labels)))
    return folder


def tiny(experiment: Experiment) -> Experiment:
    """Two epochs of the recipe; a wide ResNet of 10 layers and width 1 in place of a larger one."""
    early = None if experiment.training.early_stopping is None else 2
    training = replace(experiment.training, epochs=2, batch_size=40, milestones=(1.0,), early_stopping=early)
    model = WideResNet(depth=10, width=1) if isinstance(experiment.model, WideResNet) else experiment.model
    return replace(experiment, model=model, training=training)


def test_there_are_recipes_of_every_file() -> None:
    assert {name.partition(":")[0] for name in recipes()} == {"baselines", "joint_training", "mimo"}


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_trains_predicts_and_scores(name: str, images: Path, tmp_path: Path) -> None:
    experiment = tiny(load_recipe(name))
    run = run_experiment(experiment, tmp_path, data_dir=images, progress=False)
    assert run.experiment == experiment
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert all(math.isfinite(row["train_loss"]) for row in run.history)
    assert math.isfinite(run.scores.test["nll"])
    assert 0 <= run.scores.test["accuracy"] <= 1
    assert run.prediction.members == experiment.method.members
    dataset = load(experiment.data, images)
    again = predict_split(load_ensemble(run, dataset), dataset, dataset.test)
    torch.testing.assert_close(again.outputs_BMC, run.prediction.outputs_BMC)

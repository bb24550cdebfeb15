"""What `fit` computes, against loops written out in plain torch; and what it does when that goes wrong."""

import copy
import math
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet import MIMO, Dataset, Ensemble, InputError, Single, Training, fit
from motet.data.batches import batches
from motet.errors import TrainingDivergedError
from motet.evaluation import predict_split
from motet.training import read_history

Make = Callable[..., Ensemble]


def plain_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    weights = [parameter for name, parameter in model.named_parameters() if parameter.ndim > 1]
    vectors = [parameter for name, parameter in model.named_parameters() if parameter.ndim == 1]
    decay = training.weight_decay
    groups = [
        {"params": weights, "weight_decay": decay},
        {"params": vectors, "weight_decay": decay if training.decay_norm_and_bias else 0.0},
    ]
    if training.optimizer == "adamw":
        return torch.optim.AdamW(groups, betas=(training.beta1, training.beta2), fused=False, foreach=False)
    return torch.optim.SGD(
        groups, lr=1.0, momentum=training.momentum, nesterov=training.nesterov, fused=False, foreach=False
    )


def plain_rate(training: Training, step: int, steps_per_epoch: int) -> float:
    warm, total = training.warmup_epochs * steps_per_epoch, training.epochs * steps_per_epoch
    if step < warm:
        return training.learning_rate * step / warm
    if training.schedule == "cosine":
        return training.learning_rate * (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2
    epoch = step / steps_per_epoch
    return training.learning_rate * training.decay_factor ** sum(epoch >= mark for mark in training.milestones)


def plain_fit(
    model: nn.Module, data: Dataset, training: Training, seed: int, loss_of: Callable[[Tensor, Tensor], Tensor]
) -> list[float]:
    """Train, and return the mean loss of every epoch."""
    optimizer = plain_optimizer(model, training)
    per_epoch = len(data.train) // training.batch_size
    means = []
    for epoch in range(training.epochs):
        model.train()
        losses = []
        for index, (x, y) in enumerate(
            batches(data.train, batch_size=training.batch_size, seed=seed, epoch=epoch), start=epoch * per_epoch
        ):
            for group in optimizer.param_groups:
                group["lr"] = plain_rate(training, index, per_epoch)
            loss = loss_of(x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    return means


SETTINGS = {
    "sgd": Training(epochs=4, batch_size=16, learning_rate=0.1, weight_decay=0.01, warmup_epochs=0.5),
    "steps": Training(
        epochs=4, batch_size=16, learning_rate=0.1, nesterov=False, schedule="step", milestones=(1.0, 2.5)
    ),
    "adamw": Training(
        epochs=4, batch_size=16, optimizer="adamw", learning_rate=0.01, weight_decay=0.1, decay_norm_and_bias=False
    ),
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_single_trains_as_a_plain_loop_does(
    network: Callable[[], nn.Module], make: Make, blobs: Dataset, settings: str
) -> None:
    training = SETTINGS[settings]
    ensemble = make("single")
    model = copy.deepcopy(ensemble.network)
    torch.manual_seed(7)  # dropout
    history = fit(ensemble, blobs, training, seed=5)
    torch.manual_seed(7)
    losses = plain_fit(model, blobs, training, 5, lambda x, y: F.cross_entropy(model(x), y))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(ensemble.network.state_dict()[name], value, rtol=1e-6, atol=1e-6)
    assert [row["train_loss"] for row in history] == pytest.approx(losses, rel=1e-6)


def test_mimo_trains_as_a_plain_loop_does(blobs: Dataset) -> None:
    """M inputs concatenated, each member's own permutation of the repeated batch, the sum of the members' losses."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 3))
    ensemble = MIMO(members=2, batch_repetition=2, input_repetition=0.25).wrap(net, example=torch.zeros(1, 4))
    first, last = (copy.deepcopy(ensemble.network[index].layer) for index in (0, 2))
    model = nn.ModuleList([first, last])

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        rows = 2 * len(x)
        shuffled = torch.randperm(rows) % len(x)
        moved = int(rows * 0.75)
        seen = [torch.cat([shuffled[:moved][torch.randperm(moved)], shuffled[moved:]]) for _ in range(2)]
        interleaved = torch.stack([x[index] for index in seen], dim=2).flatten(1)  # feature c of member m: c M + m
        heads = last(first(interleaved).relu()).unflatten(1, (2, 3))
        return F.cross_entropy(heads[:, 0], y[seen[0]]) + F.cross_entropy(heads[:, 1], y[seen[1]])

    training = Training(epochs=3, batch_size=16, learning_rate=0.05, weight_decay=0.01)
    torch.manual_seed(3)
    history = fit(ensemble, blobs, training, seed=1)
    torch.manual_seed(3)
    losses = plain_fit(model, blobs, training, 1, loss_of)
    assert [row["train_loss"] for row in history] == pytest.approx(losses, rel=1e-6)
    for ours, plain in ((ensemble.network[0].layer, first), (ensemble.network[2].layer, last)):
        torch.testing.assert_close(ours.weight, plain.weight, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(ours.bias, plain.bias, rtol=1e-6, atol=1e-6)


def test_inputs_are_normalised_once_for_training_and_validation(make: Make) -> None:
    """Bytes and the floats they stand for train the same: pixels / 255, less the mean, over the deviation."""
    pixels = torch.randint(0, 256, (60, 4), dtype=torch.uint8)
    labels = torch.arange(60) % 3
    normalised = (pixels.float() / 255 - 0.4) / 0.2
    as_bytes = Dataset.from_tensors(
        "pixels", train=(pixels, labels), validation=(pixels, labels), test=(pixels, labels), mean=(0.4,), std=(0.2,)
    )
    as_floats = Dataset.from_tensors(
        "pixels", train=(normalised, labels), validation=(normalised, labels), test=(normalised, labels)
    )
    training = Training(epochs=2, batch_size=20)
    rows = []
    for data in (as_bytes, as_floats):
        ensemble = make()
        rows.append(fit(ensemble, data, training))
    assert len(rows[0]) == 2
    for one, other in zip(*rows, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
        assert one["validation_nll"] == pytest.approx(other["validation_nll"], rel=1e-4)


def test_history_says_what_happened(make: Make, blobs: Dataset, short: Training, tmp_path: Path) -> None:
    ensemble = make("mimo")
    rows = fit(ensemble, blobs, short, folder=tmp_path)
    assert [list(row) for row in rows] == [
        ["epoch", "step", "learning_rate", "train_loss", "validation_nll", "validation_accuracy", "seconds"]
    ] * 4
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["step"] for row in rows] == [4, 8, 12, 16]
    assert [row["learning_rate"] for row in rows] == [plain_rate(short, step, 4) for step in (3, 7, 11, 15)]
    last = predict_split(ensemble, blobs, blobs.validation)
    assert rows[-1]["validation_nll"] == float(last.nll().mean())
    assert rows[-1]["validation_accuracy"] == float((last.labels == blobs.validation.targets).float().mean())
    assert all(row["seconds"] > 0 for row in rows)
    assert read_history(tmp_path / "history.csv") == rows


def test_regression_has_an_error_in_the_place_of_an_accuracy() -> None:
    x = torch.randn(60, 4)
    y = x.sum(dim=1)
    data = Dataset.from_tensors("sums", train=(x, y), validation=(x, y), test=(x, y))
    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    ensemble = Single().wrap(net, example=x[:1], likelihood=data.spec.likelihood)
    rows = fit(ensemble, data, Training(epochs=20, batch_size=20, learning_rate=0.1, weight_decay=0.0))
    assert "validation_accuracy" not in rows[0]
    assert rows[-1]["validation_rmse"] < 0.05 < rows[0]["validation_rmse"]
    assert rows[-1]["validation_nll"] == pytest.approx(0.5 * math.log(2 * math.pi), abs=0.01)


def test_the_test_rows_are_never_touched(make: Make, blobs: Dataset, short: Training) -> None:
    """They may even be NaN."""
    broken = replace(blobs, test=replace(blobs.test, inputs=torch.full_like(blobs.test.inputs, math.nan)))
    one, other = make(), make()
    torch.manual_seed(1)
    fit(one, blobs, short)
    torch.manual_seed(1)
    fit(other, broken, short)
    assert torch.equal(one.network[0].weight, other.network[0].weight)


def test_evaluation_modes_come_back(make: Make, blobs: Dataset, short: Training) -> None:
    """Validation puts the network in evaluation mode and back; training has dropout in every epoch."""
    ensemble = make()
    ensemble.eval()
    modes = []
    ensemble.network[3].register_forward_pre_hook(lambda module, _: modes.append(module.training))
    fit(ensemble, blobs, short)
    assert modes == ([True] * 4 + [False]) * 4


def test_bf16_is_autocast_in_the_loss_and_not_in_validation(make: Make, blobs: Dataset, short: Training) -> None:
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}

    def watch(module: nn.Module, args: Any, output: Tensor) -> None:
        seen[torch.is_grad_enabled()].add(output.dtype)

    exact, mixed = make(), make()
    for ensemble in (exact, mixed):
        for layer in (ensemble.network[0], ensemble.network[4]):
            layer.register_forward_hook(watch)
    torch.manual_seed(1)
    fit(exact, blobs, replace(short, precision="32-true"))
    assert seen == {True: {torch.float32}, False: {torch.float32}}
    seen[True].clear()
    torch.manual_seed(1)
    fit(mixed, blobs, replace(short, precision="bf16-mixed"))
    assert seen == {True: {torch.bfloat16}, False: {torch.float32}}
    assert {parameter.dtype for parameter in mixed.parameters()} == {torch.float32}
    assert not torch.equal(exact.network[0].weight, mixed.network[0].weight)
    assert torch.allclose(exact.network[0].weight, mixed.network[0].weight, atol=0.05)


def test_auto_on_the_cpu_is_exact(make: Make, blobs: Dataset, short: Training) -> None:
    weights = []
    for precision in ("auto", "32-true"):
        ensemble = make()
        fit(ensemble, blobs, replace(short, precision=precision), device="cpu")  # type: ignore[arg-type]
        weights.append(ensemble.network[0].weight)
    assert torch.equal(*weights)


def test_without_a_folder_nothing_is_written(
    make: Make, blobs: Dataset, short: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fit(make(), blobs, short)
    assert list(tmp_path.iterdir()) == []


def test_a_thread_that_is_not_the_main_one(
    make: Make, blobs: Dataset, short: Training, tmp_path: Path, same_weights: Callable[..., bool]
) -> None:
    expected, trained = make(), make()
    torch.manual_seed(1)
    fit(expected, blobs, short)
    failed = []

    def work() -> None:
        try:
            torch.manual_seed(1)
            fit(trained, blobs, short, folder=tmp_path)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
    assert same_weights(expected, trained)
    assert (tmp_path / "history.csv").exists()


def test_a_batch_larger_than_the_data(make: Make, blobs: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"batch_size must be at most the 70 rows.*batch_size=71"):
        fit(make(), blobs, Training(epochs=1, batch_size=71), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert len(fit(make(), blobs, Training(epochs=1, batch_size=70))) == 1


def test_one_row_is_too_few_for_batch_normalisation(make: Make, blobs: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"batch normalisation needs at least 2 rows.*batch_size=1"):
        fit(make(), blobs, Training(epochs=1, batch_size=1), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_one_row_is_enough_without_it_and_for_mimo(make: Make, blobs: Dataset) -> None:
    training = Training(epochs=1, batch_size=1, learning_rate=0.01)
    assert fit(make("single", model=lambda: nn.Linear(4, 3)), blobs, training)
    assert fit(make("mimo"), blobs, training), "batch repetition makes two rows of one"


def test_labels_outside_the_models_outputs(make: Make, blobs: Dataset) -> None:
    ensemble = make("single", model=lambda: nn.Linear(4, 2))
    with pytest.raises(InputError, match=r"class labels must lie in 0\.\.1 for a model with 2 outputs"):
        fit(ensemble, blobs, Training(epochs=1, batch_size=16))


def test_nan_in_data_is_refused_before_there_is_a_dataset() -> None:
    bad = torch.zeros(6, 4)
    bad[2, 1], bad[3, 0] = math.nan, math.inf
    good, labels = torch.zeros(6, 4), torch.arange(6) % 3
    with pytest.raises(InputError, match=r"inputs of the validation split must be finite.*2 NaN or infinite"):
        Dataset.from_tensors("bad", train=(good, labels), validation=(bad, labels), test=(good, labels))


# -- a loss that is not finite ------------------------------------------------------------------------------------


def first_bad_step(model: nn.Module, data: Dataset, training: Training) -> int:
    """Counted from 1, by a plain loop."""
    optimizer = plain_optimizer(model, training)
    step = 0
    for epoch in range(training.epochs):
        for x, y in batches(data.train, batch_size=training.batch_size, seed=0, epoch=epoch):
            for group in optimizer.param_groups:
                group["lr"] = plain_rate(training, step, len(data.train) // training.batch_size)
            step += 1
            loss = F.cross_entropy(model(x), y)
            if not math.isfinite(loss.item()):
                return step
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return -1


def deep() -> nn.Module:
    """Products of weights overflow within a few steps at a large learning rate."""
    return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3))


def test_a_diverging_loss_stops_with_step_rate_and_no_checkpoint_yet(
    make: Make, blobs: Dataset, tmp_path: Path
) -> None:
    training = Training(epochs=5, batch_size=4, learning_rate=1e6, schedule="constant")
    ensemble = make("single", model=deep)
    step = first_bad_step(copy.deepcopy(ensemble.network), blobs, training)
    assert 1 < step < 17, "within the first epoch"
    with pytest.raises(TrainingDivergedError) as caught:
        fit(ensemble, blobs, training, folder=tmp_path / "run")
    message = str(caught.value)
    assert f"at step {step} of 85 (epoch 1) with learning rate 1e+06" in message
    assert "Last good checkpoint: none yet" in message
    assert "\n" not in message
    assert not (tmp_path / "run").exists(), "nothing half-written"


@pytest.mark.slow
def test_a_later_divergence_names_the_last_good_checkpoint_which_is_good(
    make: Make, blobs: Dataset, tmp_path: Path
) -> None:
    training = Training(
        epochs=5, batch_size=4, learning_rate=1e-3, schedule="step", milestones=(1.0,), decay_factor=1e9
    )
    ensemble = make("single", model=deep)
    step = first_bad_step(copy.deepcopy(ensemble.network), blobs, training)
    assert 17 < step < 34, "within the second epoch"
    with pytest.raises(TrainingDivergedError) as caught:
        fit(ensemble, blobs, training, folder=tmp_path)
    checkpoint = tmp_path / "checkpoint" / "last.safetensors"
    message = str(caught.value)
    assert f"at step {step} of 85 (epoch 2) with learning rate 1e+06" in message
    assert f"Last good checkpoint: {checkpoint}." in message
    again = make("single", model=deep)
    with pytest.raises(TrainingDivergedError, match=re.escape(f"at step {step} of 85 (epoch 2)")):
        fit(again, blobs, training, folder=tmp_path)
    assert len(read_history(tmp_path / "history.csv")) == 1


def poison(ensemble: Ensemble) -> None:
    with torch.no_grad():
        ensemble.network[0].weight.fill_(math.nan)


@pytest.mark.parametrize("last_of_epoch", [4, 8])
def test_weights_that_went_bad_in_an_epochs_last_step_are_no_checkpoint(
    lab: Any, monkeypatch: pytest.MonkeyPatch, last_of_epoch: int
) -> None:
    """The losses were all finite: the last update was not. Validation sees it, before anything is kept."""
    ensemble = lab.make()
    real = torch.optim.SGD.step
    steps = iter(range(-1, 1000))  # fit warms the optimiser up with a step of its own

    def step(self: torch.optim.SGD, closure: Any = None) -> Any:
        result = real(self, closure)
        if next(steps) == last_of_epoch - 1:
            poison(ensemble)
        return result

    fit(lab.make(), lab.data, replace(lab.short, epochs=1))  # has warmed up
    next(steps)
    monkeypatch.setattr(torch.optim.SGD, "step", step)
    epoch = last_of_epoch // 4
    with pytest.raises(
        TrainingDivergedError, match=rf"validation loss became nan at step {last_of_epoch} of 16 \(epoch {epoch}\)"
    ) as caught:
        fit(ensemble, lab.data, lab.short, folder=lab.folder)
    assert ("none yet" in str(caught.value)) == (epoch == 1)
    monkeypatch.undo()
    if epoch == 2:
        assert len(read_history(lab.folder / "history.csv")) == 1
        assert len(fit(lab.make(), lab.data, lab.short, folder=lab.folder)) == 4, (
            "the checkpoint is good: it goes on from there"
        )


def test_frozen_parameters_may_be_infinite(make: Make, blobs: Dataset, short: Training, tmp_path: Path) -> None:
    """Such as an attention mask that somebody stored as a parameter."""

    def masked() -> nn.Module:
        model = nn.Linear(4, 3)
        model.mask = nn.Parameter(torch.tensor([-math.inf]), requires_grad=False)
        return model

    assert len(fit(make("single", model=masked), blobs, short, folder=tmp_path)) == 4

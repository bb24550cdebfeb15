"""Everything on an accelerator against the same on the CPU. Skipped where there is none."""

import copy
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_data import random_targets
from torch import Tensor, nn

import motet
from motet import Ensemble, Method
from motet.analyses import fit_budget
from motet.evaluation import evaluate_shift, predict_split
from motet.experiments import Experiment, load_ensemble, run_experiment
from motet.methods import METHODS
from motet.shifts import CORRUPTIONS, corrupt
from motet.training import Training

# Set to "cpu" to try these tests themselves where there is no accelerator.
DEVICE = os.environ.get("MOTET_TEST_DEVICE", "cuda")
pytestmark = pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device")


def of_three(name: str) -> Method:
    method = METHODS[name]()
    size = [item.name for item in dataclasses.fields(method) if item.name == "members"]
    return dataclasses.replace(method, **dict.fromkeys(size, 3))


METHODS_OF_THREE = [of_three(name) for name in METHODS]
each_method = pytest.mark.parametrize("method", METHODS_OF_THREE, ids=[method.name for method in METHODS_OF_THREE])
OF_CLASSES = [method for method in METHODS_OF_THREE if method.default_likelihood.target_kind == "class"]
of_classes = pytest.mark.parametrize("method", OF_CLASSES, ids=[method.name for method in OF_CLASSES])


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 5),
    )  # fmt: skip


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5))


MODELS = {"convolutional": (convolutional, (3, 8, 8)), "perceptron": (perceptron, (12,))}


def wrapped(method: Method, model: str) -> tuple[Ensemble, Ensemble, Tensor, Tensor]:
    """The ensemble in double precision on the CPU, its copy on the accelerator, and a batch on the CPU."""
    torch.manual_seed(0)
    make, shape = MODELS[model]
    x, y = torch.randn(8, *shape), random_targets(method.default_likelihood, 8, 5)
    here = method.wrap(make, example=x[:2]).double()
    with torch.no_grad():  # statistics of batch norms away from their initial values
        here.train()(x.double())
    return here.eval(), copy.deepcopy(here).to(DEVICE).eval(), x.double(), y


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def assert_same(there: Tensor, here: Tensor, tolerance: float = 1e-9) -> None:
    assert there.device.type == DEVICE
    torch.testing.assert_close(there.cpu(), here, rtol=tolerance, atol=tolerance)


@each_method
@pytest.mark.parametrize("model", MODELS)
def test_outputs_folds_subsets_and_steps_are_the_cpus(method: Method, model: str) -> None:
    here, there, x, _ = wrapped(method, model)
    far = x.to(DEVICE)
    if method.name != "mc-dropout" or here.is_folded:
        assert_same(there(far), here(x))
    with torch.no_grad():
        assert_same(there.fold()(far), here.fold()(x))
        some = [0, 2] if here.members == 3 else [0]
        assert_same(there.subset(some)(far), here.subset(some)(x))
        assert_same(there.predict(far).mean, here.predict(x).mean)
        for mine, yours in zip(there.fold().anytime(far), here.fold().anytime(x), strict=True):
            assert_same(mine.outputs_BMC, yours.outputs_BMC)


@each_method
@pytest.mark.parametrize("model", MODELS)
def test_gradients_of_a_dealt_batch_are_the_cpus(method: Method, model: str) -> None:
    here, there, x, y = wrapped(method, model)
    batch = here.grouping.deal(x, y, members=here.members, generator=torch.Generator().manual_seed(0))
    moved = dataclasses.replace(
        batch,
        **{
            item.name: value.to(DEVICE)
            for item in dataclasses.fields(batch)
            if isinstance(value := getattr(batch, item.name), Tensor)
        },
    )
    here.forward_batch(batch).square().sum().backward()
    there.forward_batch(moved).square().sum().backward()
    gradients = dict(there.named_parameters())
    for name, parameter in here.named_parameters():
        if parameter.grad is None:
            assert gradients[name].grad is None
        else:
            found = gradients[name].grad
            assert found is not None
            assert_same(found, parameter.grad, tolerance=1e-7)


@each_method
@pytest.mark.parametrize("model", MODELS)
def test_a_training_step_gives_every_parameter_a_finite_gradient(method: Method, model: str) -> None:
    _, there, x, y = wrapped(method, model)
    there.train()
    generator = torch.Generator(DEVICE).manual_seed(0)
    loss = there.loss(x.to(DEVICE), y.to(DEVICE), generator=generator)
    loss.backward()
    assert loss.device.type == DEVICE
    assert all(p.grad is not None and p.grad.isfinite().all() for p in there.parameters() if p.requires_grad)


@each_method
def test_autocast_keeps_outputs_in_single_precision(method: Method) -> None:
    _, there, x, y = wrapped(method, "convolutional")
    there = there.float().train()
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        loss = there.loss(x.float().to(DEVICE), y.to(DEVICE))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()


@of_classes
def test_a_budget_is_spent(method: Method) -> None:
    _, there, x, _ = wrapped(method, "convolutional")
    folded, far = there.float().fold(), x.float().to(DEVICE)
    for unit in ("flops", "seconds"):
        budget = fit_budget(folded, far, budget=1e18, unit=unit)
        spent = folded.budgeted(far, budget)
        assert spent.prediction.outputs_BMC.device.type == DEVICE
        assert spent.steps_B.shape == (8,)


@of_classes
def test_a_run_is_trained_there_and_read_here(method: Method, tmp_path: Path) -> None:
    experiment = Experiment(
        data="digits",
        model=motet.models.SmallCNN(width=1),
        method=method,
        training=Training(epochs=3, batch_size=64, learning_rate=0.01, precision="32-true"),
    )
    run = run_experiment(experiment, tmp_path / "run", device=DEVICE, progress=False)
    dataset = motet.data.digits()
    prediction = predict_split(load_ensemble(run, dataset), dataset, dataset.test)
    if method.name != "mc-dropout":  # it draws its masks anew
        torch.testing.assert_close(prediction.outputs_BMC, run.prediction.outputs_BMC.cpu(), rtol=1e-3, atol=1e-3)
    assert prediction.outputs_BMC.isfinite().all()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_are_the_cpus(name: str) -> None:
    images = torch.randint(256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    here = corrupt(images, name, severity=3, seed=1)
    there = corrupt(images.to(DEVICE), name, severity=3, seed=1)
    assert there.device.type == DEVICE
    apart = (there.cpu().int() - here.int()).abs()
    # A value next to a half may be rounded to the other side.
    assert apart.max() <= 1 or (apart > 1).float().mean() < 1e-3
    assert (apart > 0).float().mean() < 0.01


def test_an_evaluation_under_shift_is_the_cpus() -> None:
    dataset = motet.data.digits()
    torch.manual_seed(0)
    net = motet.models.small_cnn(in_channels=1, num_classes=10, width=1)
    ensemble = motet.MIMO(members=3).wrap(net, example=dataset.prepare(dataset.train.inputs[:1])).eval()
    here = list(evaluate_shift(ensemble, dataset, "gaussian_noise", severities=[1, 5]))
    there = list(evaluate_shift(ensemble.to(DEVICE), dataset.to(DEVICE), "gaussian_noise", severities=[1, 5]))
    for mine, yours in zip(there, here, strict=True):
        assert mine["nll"] == pytest.approx(yours["nll"], rel=1e-3)

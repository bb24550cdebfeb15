"""Every method, likelihood, objective and grouping on the meta device, whose tensors have no values.

An operation on tensors of different devices fails here as it does on an accelerator, and so does reading a value, for
which a program on an accelerator has to wait. The law `runs_on_the_meta_device` of `motet.testing` checks more settings
of the methods. Some tests do the reverse: tensors are on the CPU while torch's default device is the meta device, so
that a tensor created without a device is on the wrong one.
"""

import copy
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from small_data import random_targets
from torch import Tensor, nn

from motet import Ensemble, InputError, Method
from motet.analyses import best_of_random, drop_numbers, greedy
from motet.grouping import Grouping, Mixed, Permuted, Shared, Split
from motet.inference.budget import Budget, combined
from motet.likelihoods import Bernoulli, Categorical, Gaussian, HeteroscedasticGaussian, Likelihood, Poisson, numerical
from motet.methods import (
    DUN,
    METHODS,
    MIMO,
    NCL,
    DeepEnsemble,
    EarlyExit,
    MCDropout,
    MixMo,
    ModularNetwork,
    Multihead,
    Single,
)
from motet.objectives import (
    DepthELBO,
    DepthMarginalLikelihood,
    ExitSum,
    Independent,
    Joint,
    Modular,
    ModularExits,
)
from motet.prediction import Prediction
from motet.testing import MODELS
from motet.testing._device_laws import on_meta
from motet.types import Progress

META = torch.device("meta")
ROWS = 6


def of_three(kind: type[Method]) -> Method:
    return kind(**dict.fromkeys({"members"} & {item.name for item in fields(kind)}, 3))


EVERY_METHOD = [of_three(kind) for kind in METHODS.values()]
every_method = pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: method.name)


def model(place: str) -> nn.Module:
    return MODELS[place].model(torch.float32)


def data(place: str, likelihood: Likelihood | None = None) -> tuple[Tensor, Tensor]:
    case = MODELS[place]
    return case.inputs(ROWS, torch.float32), random_targets(likelihood or Categorical(), ROWS, case.classes)


def on_cpu(method: Method, place: str) -> Ensemble:
    return method.wrap(model(place), example=MODELS[place].inputs(1, torch.float32))


def check_tensors(ensemble: nn.Module) -> None:
    assert all(tensor.is_meta for tensor in (*ensemble.parameters(), *ensemble.buffers()))


def check_runs(ensemble: Ensemble, place: str) -> None:
    """Train for one step, predict, fold, and take members out."""
    check_tensors(ensemble)
    x, y = (tensor.to(META) for tensor in data(place, ensemble.likelihood))
    optimizer = torch.optim.SGD(ensemble.train().parameter_groups(learning_rate=0.1), lr=0.1, momentum=0.9)
    with on_meta("training"):
        loss = ensemble.loss(x, y)
        assert loss.is_meta
        assert loss.shape == ()
        loss.backward()
        assert all(value.grad is not None and value.grad.is_meta for value in ensemble.parameters())
        optimizer.step()
    with on_meta("prediction"):
        check_prediction(ensemble.predict(x, targets=y, batch_size=4), ensemble.members)
        *_, last = ensemble.anytime(x)
        assert last.outputs_BMC.is_meta
        if ensemble.has_distinct_inputs:
            own = x.unsqueeze(1).expand(-1, ensemble.members, *x.shape[1:])
            assert ensemble.eval().forward_distinct(own).is_meta
    with on_meta("smaller ensembles"):
        folded = ensemble.fold()
        check_tensors(folded)
        assert folded.predict(x).outputs_BMC.is_meta
        some = list(range(ensemble.members))[::-2]
        smaller = ensemble.subset(some)
        check_tensors(smaller)
        assert smaller.predict(x).outputs_BMC.shape[1] == len(some)
        assert ensemble.predict(x, lost=0.3).outputs_BMC.is_meta
        member = ensemble.member(ensemble.members - 1).eval()
        check_tensors(member)
        assert member(x).is_meta


def check_prediction(prediction: Prediction, members: int) -> None:
    assert prediction.outputs_BMC.shape[:2] == (ROWS, members)
    found = [prediction.mean, prediction.member_means, prediction.nll(), combined(prediction)]
    if prediction.likelihood.target_kind == "class":
        found += [prediction.probs, prediction.member_probs, prediction.labels, prediction.confidence]
        found += [prediction.entropy, prediction.expected_entropy, prediction.mutual_information]
    assert all(tensor.is_meta and len(tensor) == ROWS for tensor in found)


@pytest.mark.slow
@every_method
def test_an_ensemble_can_be_moved_to_the_meta_device(method: Method) -> None:
    check_runs(on_cpu(method, "conv2d").to(META), "conv2d")


@pytest.mark.slow
@every_method
def test_a_model_on_the_meta_device_can_be_wrapped(method: Method) -> None:
    x, _ = data("tokens")
    check_runs(method.wrap(model("tokens").to(META), example=x[:1].to(META)), "tokens")


@every_method
def test_a_model_can_be_made_and_wrapped_under_the_meta_device(method: Method) -> None:
    with META:
        x, y = data("mlp", method.default_likelihood)
        ensemble = method.wrap(lambda: model("mlp"), example=x[:1])
        ensemble.loss(x, y).backward()
        assert ensemble.predict(x).mean.is_meta
    check_tensors(ensemble)


@every_method
def test_weights_can_be_loaded_into_an_ensemble_made_on_the_meta_device(method: Method) -> None:
    if isinstance(
        method, DeepEnsemble | ModularNetwork | NCL
    ):  # members are not stacked on the meta device, where outputs have no values
        method = replace(method, execution="loop")
    here = on_cpu(method, "conv2d").train()
    x, _ = data("conv2d")
    with torch.no_grad():  # statistics of batch norms away from their initial values
        here(x)
    there = method.wrap(model("conv2d").to(META), example=x[:1].to(META)).to_empty(device="cpu")
    there.load_state_dict(here.state_dict())
    expected = here.predict(x).outputs_BMC
    assert torch.equal(there.predict(x).outputs_BMC, expected)
    torch.testing.assert_close(there.fold().predict(x).outputs_BMC, expected, rtol=1e-4, atol=1e-5)


def test_errors_on_the_meta_device() -> None:
    x, _ = data("mlp")
    for net, example in ((model("mlp").to(META), x), (model("mlp"), x.to(META))):
        with pytest.raises(InputError, match=r"must accept the example batch.*device"):
            MIMO(members=2).wrap(net, example=example)
    stacked = DeepEnsemble(members=2, execution="stacked")
    with pytest.raises(InputError, match=r"is on the meta device, where outputs cannot be compared.*'auto'"):
        stacked.wrap(model("mlp").to(META), example=x.to(META))


GROUPINGS = [
    Shared(),
    Split(),
    Permuted(batch_repetition=2),
    Permuted(input_repetition=0.5),
    Mixed(cut_probability=0.0),
    Mixed(cut_probability=1.0),
    Mixed(alpha=0.0),
]
every_grouping = pytest.mark.parametrize("grouping", GROUPINGS, ids=str)


def tensors_of(batch: Any) -> dict[str, Tensor]:
    return {item.name: value for item in fields(batch) if isinstance(value := getattr(batch, item.name), Tensor)}


@every_grouping
def test_groupings(grouping: Grouping) -> None:
    x, y = torch.randn(7, 2, 6, 6, device=META), torch.zeros(7, dtype=torch.long, device=META)
    with on_meta(str(grouping)):
        batch = grouping.deal(x, y, members=3)
    assert all(tensor.is_meta for tensor in tensors_of(batch).values())


@every_grouping
def test_groupings_under_another_default_device(grouping: Grouping) -> None:
    x, y = torch.randn(7, 2, 6, 6), torch.arange(7)
    expected = tensors_of(grouping.deal(x, y, members=3, generator=torch.Generator().manual_seed(0)))
    with META:
        found = tensors_of(grouping.deal(x, y, members=3, generator=torch.Generator().manual_seed(0)))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


LIKELIHOODS: list[tuple[Likelihood, Callable[[], Tensor]]] = [
    (Categorical(), lambda: torch.randint(4, (ROWS,))),
    (Gaussian(), lambda: torch.randn(ROWS, 4)),
    (HeteroscedasticGaussian(), lambda: torch.randn(ROWS, 2)),
    (Bernoulli(), lambda: torch.randint(2, (ROWS, 4)).float()),
    (Poisson(), lambda: torch.randint(9, (ROWS, 4)).float()),
]
every_likelihood = pytest.mark.parametrize(("likelihood", "targets"), LIKELIHOODS, ids=lambda each: str(each)[:23])


def functions(likelihood: Likelihood, eta_BMC: Tensor, y: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return what a likelihood computes without reading values."""
    y_BM = y.unsqueeze(1).expand(-1, 3, *y.shape[1:])
    weights_M = torch.zeros(3, device=y.device).log_softmax(dim=0)
    found: dict[str, Callable[[], Tensor]] = {
        "nll": lambda: likelihood.nll(eta_BMC, y_BM),
        "mean_nll": lambda: likelihood.mean_nll(eta_BMC, y_BM),
        "mean": lambda: likelihood.mean(eta_BMC),
        "variance": lambda: likelihood.variance(eta_BMC),
        "sample": lambda: likelihood.sample(eta_BMC),
        "geometric": lambda: likelihood.geometric(eta_BMC),
        "average": lambda: likelihood.average(eta_BMC, weights_M),
        "mixture": lambda: likelihood.mixture(eta_BMC),
        "mixture_nll": lambda: likelihood.mixture_nll(eta_BMC, y),
        "combined_nll": lambda: likelihood.combined_nll(eta_BMC, y, "geometric"),
    }
    if likelihood.target_kind != "class":
        found["cdf"] = lambda: likelihood.cdf(eta_BMC, y_BM)
        found["combined_cdf"] = lambda: likelihood.combined_cdf(eta_BMC, y, "mixture")
    return found


def scores(likelihood: Likelihood, eta_BMC: Tensor, y: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return the scores of a likelihood."""
    if likelihood.target_kind == "class":
        return {}
    return {
        "quantile": lambda: likelihood.mixture_quantile(eta_BMC, 0.3),
        "crps": lambda: likelihood.mixture_crps(eta_BMC, y),
        "numerical quantile": lambda: Likelihood.mixture_quantile(likelihood, eta_BMC, 0.3),
        "numerical crps": lambda: Likelihood.mixture_crps(likelihood, eta_BMC, y),
    }


@every_likelihood
def test_likelihoods(likelihood: Likelihood, targets: Callable[[], Tensor]) -> None:
    eta_BMC, y = torch.randn(ROWS, 3, 4, device=META), targets().to(META)
    exact = {"quantile", "crps"} if not isinstance(likelihood, Poisson) else set()
    calls = functions(likelihood, eta_BMC, y) | {
        name: run for name, run in scores(likelihood, eta_BMC, y).items() if name in exact
    }
    for name, run in calls.items():
        with on_meta(name):
            assert run().is_meta


@every_likelihood
def test_likelihoods_under_another_default_device(
    likelihood: Likelihood, targets: Callable[[], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Devices matter here, and accuracy does not.
    monkeypatch.setattr(numerical, "_HALVINGS", 2)
    monkeypatch.setattr(numerical, "_LEVELS", (0.1, 0.3))
    eta_BMC, y = torch.randn(ROWS, 3, 4), targets()
    for name, run in (functions(likelihood, eta_BMC, y) | scores(likelihood, eta_BMC, y)).items():
        torch.manual_seed(1)
        expected = run()
        torch.manual_seed(1)
        with META:
            found = run()
        assert torch.equal(found, expected), name


@every_likelihood
@pytest.mark.parametrize("method", [Multihead(members=3), EarlyExit()], ids=lambda method: method.name)
def test_ensembles_under_every_likelihood(
    likelihood: Likelihood, targets: Callable[[], Tensor], method: Method
) -> None:
    net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).to(META)
    x, y = torch.randn(ROWS, 5, device=META), targets().to(META)
    ensemble = method.wrap(net, example=x[:1], likelihood=likelihood)
    with on_meta("training"):
        ensemble.loss(x, y).backward()
    assert all(value.grad is not None for value in ensemble.parameters())
    for combination in ("mixture", "geometric"):
        ensemble.combination = combination
        with on_meta("prediction"):
            check_prediction(ensemble.predict(x, targets=y), ensemble.members)


OBJECTIVES = [
    (Multihead(members=3), Independent(reduction="mean")),
    (MixMo(members=3), Independent(reduction="sum")),  # weights rows
    (Multihead(members=3), Modular(lam=0.5)),
    (Multihead(members=3), Modular(schedule="linear", reduction="sum")),
    (Multihead(members=3), Joint(reduction="sum")),
    (DUN(), Joint()),
    (EarlyExit(), ExitSum(beta=0.1)),
    (DUN(), DepthELBO(warm_start_epochs=1.0)),
    (DUN(), DepthMarginalLikelihood(warm_start_epochs=1.0)),
    (DUN(), ModularExits(lam=0.5)),
    (DUN(), ModularExits(lam=1.0)),
]


@pytest.mark.parametrize(("method", "objective"), OBJECTIVES, ids=lambda value: getattr(value, "name", str(value)))
def test_objectives(method: Method, objective: Any) -> None:
    x, y = (tensor.to(META) for tensor in data("mlp"))
    ensemble = method.wrap(model("mlp").to(META), example=x[:1], objective=objective)
    for progress in (None, Progress(epoch=0.5, epochs=4, examples=60), Progress(epoch=3.8, epochs=4)):
        with on_meta(f"the loss with {progress}"):
            loss = ensemble.loss(x, y, progress=progress)
            loss.backward()
        assert loss.is_meta


@pytest.mark.slow
# Wrapping is left out, because torch draws initial weights on its default device.
@every_method
def test_methods_under_another_default_device(method: Method) -> None:
    x, y = data("conv2d", method.default_likelihood)
    here = on_cpu(method, "conv2d")
    other = copy.deepcopy(here)
    expected = results(here, x, y)
    with META:
        found = results(other, x, y)
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))


def results(ensemble: Ensemble, x: Tensor, y: Tensor) -> list[Tensor]:
    """Return the loss, gradients, and outputs of the ensemble, its fold, a part of it and each member."""
    torch.manual_seed(1)
    loss = ensemble.train().loss(x, y, generator=torch.Generator().manual_seed(0))
    loss.backward()
    found = [loss.detach(), *(value.grad for value in ensemble.parameters() if value.grad is not None)]
    chosen = list(range(ensemble.members))[::-2]
    for each in (ensemble, ensemble.fold(), ensemble.subset(chosen)):
        found += [each.predict(x).outputs_BMC, *(step.outputs_BMC for step in each.anytime(x))]
    found.append(ensemble.predict(x, lost=0.5, generator=torch.Generator().manual_seed(0)).outputs_BMC)
    with torch.no_grad():
        found += [ensemble.member(index).eval()(x) for index in range(ensemble.members)]
    return found


@pytest.mark.parametrize("method", [MCDropout(members=2), DeepEnsemble(members=2, execution="stacked")], ids=str)
def test_random_numbers_of_a_generator_are_on_its_device(method: Method) -> None:
    """Fixed masks, and the inputs and weights that stacked members are checked with."""
    nets, (x, _) = [model("conv2d") for _ in range(8)], data("conv2d")
    first, second = (iter(copy.deepcopy(nets)) for _ in range(2))
    expected = method.wrap(lambda: next(first), example=x[:1]).predict(x).outputs_BMC
    with META:
        found = method.wrap(lambda: next(second), example=x[:1]).predict(x).outputs_BMC
    assert torch.equal(found, expected)


def predicted(likelihood: Likelihood) -> Prediction:
    y = next(targets() for each, targets in LIKELIHOODS if each == likelihood).to(META)
    return Prediction(outputs_BMC=torch.randn(ROWS, 3, 4, device=META), likelihood=likelihood, targets=y)


def budgeted() -> object:
    x, _ = data("mlp")
    ensemble = on_cpu(DeepEnsemble(members=2), "mlp").to(META)
    return ensemble.budgeted(x.to(META), Budget(thresholds=(0.5,), costs=(1.0, 1.0), unit="flops", expected_cost=1.5))


def cumulative_average() -> object:
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, momentum=None), nn.Linear(8, 3))
    ensemble = Single().wrap(net, example=torch.zeros(1, 4)).to(META)
    return ensemble.train()(torch.zeros(ROWS, 4, device=META))


NEEDS_VALUES: list[tuple[str, Callable[[], object]]] = [
    ("examples stop when their confidence is large enough", budgeted),
    ("members are chosen by their scores", lambda: best_of_random(predicted(Categorical()), 2, "accuracy")),
    ("members are chosen by their scores", lambda: greedy(predicted(Gaussian()), 2, "rmse")),
    ("targets are checked, and scores are returned on the CPU", lambda: drop_numbers(predicted(Categorical()))),
    ("the length of a sum over counts depends on the rates", lambda: score(Poisson(), "crps")),
    ("a search ends when it has found all quantiles", lambda: score(Poisson(), "quantile")),
    ("a search ends when it has found all quantiles", lambda: score(Gaussian(), "numerical crps")),
    ("torch's own layer reads the number of batches", cumulative_average),
]


def score(likelihood: Likelihood, name: str) -> Tensor:
    prediction = predicted(likelihood)
    assert prediction.targets is not None
    return scores(likelihood, prediction.outputs_BMC, prediction.targets)[name]()


@pytest.mark.parametrize(("reason", "run"), NEEDS_VALUES)
def test_what_needs_values_does_not_run_on_the_meta_device(reason: str, run: Callable[[], object]) -> None:
    """An error, not a result without values. If one of these runs, move it to the tests above."""
    with pytest.raises((RuntimeError, NotImplementedError), match=r"meta|nonzero"):
        run()

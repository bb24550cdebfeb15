"""Outputs with positions: segmentation (B, C, H, W), tokens (B, T, C) and signals (B, C, L)."""

from dataclasses import dataclass, replace

import pytest
import torch
from small_models import ConvNet, SignalTagger, TinyUNet, TokenTagger
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet import Categorical, InputError
from motet._internal.plain_records import from_record, to_record
from motet.methods import METHODS
from motet.objectives import Independent, Joint, Modular


@dataclass(frozen=True)
class Case:
    model: type[nn.Module]
    input_shape: tuple[int, ...]
    positions: tuple[int, ...]
    classes: int
    class_axis: int

    def data(self, rows: int = 6) -> tuple[Tensor, Tensor]:
        x = torch.randn(rows, *self.input_shape, dtype=torch.float64)
        y = torch.randint(self.classes, (rows, *self.positions))
        y.masked_fill_(torch.rand(y.shape) < 0.3, -100)
        y[0] = -100  # one example without any label
        y[1, ..., 0] = 1  # and one with some
        return x, y

    @property
    def likelihood(self) -> Categorical:
        return Categorical(class_axis=self.class_axis)

    def wrap(self, method: motet.Method, classes: int | None = None, **settings: object) -> motet.Ensemble:
        def make() -> nn.Module:
            return self.model(classes or self.classes).double()

        example = torch.randn(1, *self.input_shape, dtype=torch.float64)
        return method.wrap(make, example=example, **{"likelihood": self.likelihood, **settings})


CASES = {
    "images": Case(TinyUNet, (2, 6, 4), (6, 4), 3, 1),
    "tokens": Case(TokenTagger, (5, 3), (5,), 4, -1),
    "signals": Case(SignalTagger, (2, 7), (7,), 3, 1),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(0)
    return CASES[request.param]


def small(method: type[motet.Method]) -> motet.Method:
    members = method().members
    return method(members=2) if members not in (1,) and "members" in method.__dataclass_fields__ else method()


# The loss


@pytest.mark.parametrize("objective", [Independent(), Independent(reduction="mean"), Modular(lam=0.0)])
def test_the_loss_is_that_of_separate_networks(case: Case, objective: motet.objectives.Objective) -> None:
    x, y = case.data()
    ensemble = case.wrap(motet.DeepEnsemble(members=3), objective=objective)
    networks = [ensemble.member(m) for m in range(3)]
    loss = ensemble.loss(x, y)
    outputs = [network.train()(x) for network in networks]
    want = sum(F.cross_entropy(each if case.class_axis == 1 else each.movedim(-1, 1), y) for each in outputs)
    want = want / (1 if objective == Independent() else 3)
    torch.testing.assert_close(loss, want)


@pytest.mark.parametrize("members", [1, 3])
def test_gradients_are_those_of_cross_entropy(case: Case, members: int) -> None:
    x, y = case.data()
    ensemble = case.wrap(motet.DeepEnsemble(members=members)).train()
    readout = ensemble.readout
    batch = ensemble.grouping.deal(x, y, members=members)
    outputs = ensemble.forward_batch(batch).detach().requires_grad_()
    (own,) = torch.autograd.grad(readout.loss(outputs, batch, progress=None, training=True), outputs)
    want = sum(F.cross_entropy(outputs[:, m].movedim(-1, 1), y) for m in range(members))
    (expected,) = torch.autograd.grad(want, outputs)
    torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("lam", [0.5, 1.0])
def test_the_modular_loss_is_over_the_scored_positions(case: Case, lam: float) -> None:
    x, y = case.data()
    objective = Joint() if lam == 1 else Modular(lam=lam)
    ensemble = case.wrap(motet.DeepEnsemble(members=2), objective=objective).eval()
    outputs = ensemble(x)
    joint = F.cross_entropy(outputs.mean(dim=1).movedim(-1, 1), y)
    own = sum(F.cross_entropy(outputs[:, m].movedim(-1, 1), y) for m in range(2)) / 2
    torch.testing.assert_close(ensemble.loss(x, y), lam * joint + (1 - lam) * own)


@pytest.mark.parametrize("method", [motet.MIMO(members=3), motet.MixMo(members=2), motet.DataMUX(members=2)])
def test_with_distinct_examples_each_member_has_the_mean_over_its_scored_positions(
    case: Case, method: motet.Method
) -> None:
    x, y = case.data()
    ensemble = case.wrap(method)
    batch = ensemble.grouping.deal(x, y, members=method.members)
    outputs = ensemble.forward_batch(batch)
    loss = ensemble.readout.loss(outputs, batch, progress=None, training=True)
    want = torch.zeros((), dtype=torch.float64)
    for m in range(method.members):
        targets = batch.targets_BM[:, m]
        nll = F.cross_entropy(outputs[:, m].movedim(-1, 1), targets, reduction="none")
        if batch.weights_BM is not None:
            nll = nll * batch.weights_BM[:, m].view(-1, *[1] * len(case.positions))
        want = want + nll.sum() / (targets != -100).sum()
    torch.testing.assert_close(loss, want)


@pytest.mark.parametrize("method", [motet.DeepEnsemble(members=2), motet.MIMO(members=2)])
def test_ignored_positions_have_no_influence(case: Case, method: motet.Method) -> None:
    x, y = case.data()
    losses, gradients = [], []
    for ignored in (-100, case.classes - 1 + 7):
        torch.manual_seed(1)
        ensemble = case.wrap(method, likelihood=Categorical(class_axis=case.class_axis, ignore_index=ignored))
        loss = ensemble.loss(x, y.masked_fill(y == -100, ignored), generator=torch.Generator().manual_seed(0))
        loss.backward()
        losses.append(loss.detach())
        gradients.append([each.grad for each in ensemble.parameters()])
    assert torch.equal(*losses)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    "method", [motet.Single(), motet.DeepEnsemble(members=2), motet.ModularNetwork(members=2), motet.MIMO(members=2)]
)
def test_a_batch_without_labels_has_zero_loss_and_zero_gradients(case: Case, method: motet.Method) -> None:
    x, y = case.data()
    ensemble = case.wrap(method)
    loss = ensemble.loss(x, torch.full_like(y, -100))
    loss.backward()
    assert loss == 0
    gradients = [each.grad for each in ensemble.parameters() if each.grad is not None]
    assert gradients
    assert all(not bool(each.any()) for each in gradients)


def test_a_member_without_labels_has_zero_loss() -> None:
    case = CASES["tokens"]
    ensemble = case.wrap(motet.MIMO(members=2))
    x, y = case.data(4)
    y[:] = 1
    batch = motet.types.Batch(
        inputs=torch.stack([x, x], dim=1), targets_BM=torch.stack([y, y - 101], dim=1), distinct=True
    )
    outputs = ensemble.forward_batch(batch)
    loss = ensemble.readout.loss(outputs, batch, progress=None, training=True)
    torch.testing.assert_close(loss, F.cross_entropy(outputs[:, 0].movedim(-1, 1), y))


def test_class_probabilities_at_positions(case: Case) -> None:
    x, _ = case.data()
    probs = torch.rand(6, *case.positions, case.classes, dtype=torch.float64).softmax(dim=-1)
    ensemble = case.wrap(motet.DeepEnsemble(members=2)).eval()
    want = -(probs.unsqueeze(1) * ensemble(x).log_softmax(dim=-1)).sum(dim=-1)
    torch.testing.assert_close(ensemble.loss(x, probs), want.transpose(0, 1).flatten(1).mean(dim=1).sum())


# Prediction


def test_predictions_are_those_of_the_members_with_the_classes_last(case: Case) -> None:
    x, y = case.data()
    ensemble = case.wrap(motet.DeepEnsemble(members=3)).eval()
    prediction = ensemble.predict(x, targets=y, batch_size=4)
    members = [ensemble.member(m)(x) for m in range(3)]
    assert all(each.shape == ensemble.member(0)(x).shape for each in members)
    probs = torch.stack([each.movedim(case.class_axis, -1).softmax(dim=-1) for each in members]).mean(dim=0)
    torch.testing.assert_close(prediction.probs, probs)
    assert prediction.member_probs.shape == (6, 3, *case.positions, case.classes)
    for name in ("labels", "confidence", "entropy", "expected_entropy", "mutual_information"):
        assert getattr(prediction, name).shape == (6, *case.positions), name
    assert prediction.sample().shape == (6, *case.positions)
    nll = prediction.nll()
    assert torch.equal(nll.isnan(), y == -100)
    torch.testing.assert_close(nll.nanmean(), F.nll_loss(probs.log().movedim(-1, 1), y))
    assert "positions" in repr(prediction)


def test_scores_are_over_the_scored_positions(case: Case) -> None:
    x, y = case.data()
    prediction = case.wrap(motet.DeepEnsemble(members=2)).predict(x, targets=y)
    kept = y != -100
    rows = motet.Prediction(
        outputs_BMC=prediction.outputs_BMC.movedim(1, -2)[kept], likelihood=Categorical(), targets=y[kept]
    )
    found = motet.metrics.score(prediction)
    iou = motet.metrics.mean_iou(prediction.labels, y, classes=case.classes)
    assert found.pop("mean_iou") == pytest.approx(float(iou))
    assert found == pytest.approx(motet.metrics.score(rows))
    assert motet.metrics.member_scores(prediction) == motet.metrics.member_scores(rows)
    assert found["accuracy"] == pytest.approx(float(motet.metrics.pixel_accuracy(prediction.labels, y)))
    running = motet.metrics.RunningScores()
    for part in (slice(0, 4), slice(4, 6)):
        running.add(replace(prediction, outputs_BMC=prediction.outputs_BMC[part], targets=y[part]))
    assert running.result()["nll"] == pytest.approx(found["nll"])
    assert running.result()["ece"] == pytest.approx(found["ece"], abs=1e-6)


def test_a_prediction_can_be_saved(case: Case, tmp_path: object) -> None:
    x, y = case.data()
    prediction = case.wrap(motet.DeepEnsemble(members=2)).predict(x, targets=y)
    prediction.save(f"{tmp_path}/p")
    again = motet.Prediction.load(f"{tmp_path}/p")
    assert again.likelihood == case.likelihood
    assert torch.equal(again.outputs_BMC, prediction.outputs_BMC)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "ncl"])
def test_every_method_trains_and_predicts(case: Case, name: str) -> None:
    x, y = case.data()
    ensemble = case.wrap(small(METHODS[name]))
    optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.01)
    loss = ensemble.loss(x, y)
    assert loss.isfinite()
    loss.backward()
    optimizer.step()
    prediction = ensemble.predict(x)
    assert prediction.probs.shape == (6, *case.positions, case.classes)
    torch.testing.assert_close(ensemble.fold().predict(x).outputs_BMC, prediction.outputs_BMC)
    last = list(ensemble.anytime(x))[-1]
    if name != "mc_dropout":
        torch.testing.assert_close(last.outputs_BMC, prediction.outputs_BMC)
    if ensemble.members > 1:
        one = prediction.outputs_BMC[:, 1:2]
        torch.testing.assert_close(ensemble.subset([1]).predict(x).outputs_BMC, one)
        torch.testing.assert_close(ensemble.predict(x, lost=[0]).outputs_BMC, one)
        torch.testing.assert_close(
            ensemble.member(1).eval()(x).movedim(case.class_axis, -1), one.squeeze(1), check_stride=False
        )


def test_ncl_is_refused(case: Case) -> None:
    with pytest.raises(InputError, match="regression"):
        case.wrap(METHODS["ncl"]())


@pytest.mark.parametrize("edge", ["one class", "one example"])
def test_edges(case: Case, edge: str) -> None:
    x, y = case.data()
    classes = 1 if edge == "one class" else case.classes
    y = y.clamp(max=0) if edge == "one class" else y
    ensemble = case.wrap(motet.DeepEnsemble(members=1), classes=classes)
    x, y = (x[1:2], y[1:2]) if edge == "one example" else (x, y)
    assert ensemble.loss(x, y).isfinite()
    prediction = ensemble.predict(x, targets=y)
    assert prediction.probs.shape == (len(x), *case.positions, classes)
    assert 0 <= motet.metrics.score(prediction)["mean_iou"] <= 1


def test_no_position_is_like_one_row_per_example() -> None:
    torch.manual_seed(0)
    ensemble = motet.DeepEnsemble(members=2).wrap(ConvNet, example=torch.zeros(1, 2, 8, 8))
    torch.manual_seed(0)
    same = motet.DeepEnsemble(members=2).wrap(
        ConvNet, example=torch.zeros(1, 2, 8, 8), likelihood=Categorical(class_axis=1)
    )
    x, y = torch.randn(5, 2, 8, 8), torch.randint(4, (5,))
    assert torch.equal(ensemble.loss(x, y), same.loss(x, y))
    assert torch.equal(ensemble.predict(x).probs, same.predict(x).probs)


# Errors


def test_the_error_without_class_axis_says_what_to_pass(case: Case) -> None:
    with pytest.raises(InputError, match=r"class_axis") as caught:
        case.wrap(motet.DeepEnsemble(members=2), likelihood=Categorical())
    advice = caught.value.fix
    assert f"likelihood=Categorical(class_axis={case.class_axis})" in advice
    likelihood = eval(f"Categorical(class_axis={case.class_axis})")
    x, y = case.data()
    assert case.wrap(motet.DeepEnsemble(members=2), likelihood=likelihood).loss(x, y).isfinite()


@pytest.mark.parametrize("name", [name for name in METHODS if name != "ncl"])
def test_every_method_gives_that_error(name: str) -> None:
    with pytest.raises(InputError) as caught:
        CASES["images"].wrap(small(METHODS[name]), likelihood=Categorical())
    assert "Categorical(class_axis=1)" in caught.value.fix


@pytest.mark.parametrize("likelihood", [motet.Gaussian(), motet.Bernoulli(), motet.Poisson()])
def test_other_likelihoods_get_that_error_too(case: Case, likelihood: motet.Likelihood) -> None:
    with pytest.raises(InputError, match="the outputs of one position") as caught:
        case.wrap(motet.DeepEnsemble(members=2), likelihood=likelihood)
    assert f"likelihood={type(likelihood).__name__}(class_axis={case.class_axis})" in caught.value.fix


def test_targets_of_another_shape_are_refused(case: Case) -> None:
    ensemble = case.wrap(motet.DeepEnsemble(members=2))
    x, y = case.data()
    for wrong in (y[:, 0] if y.ndim == 2 else y[:, 0, 0], y[:, :-1], y.unsqueeze(1)):
        with pytest.raises(InputError, match="must have shape") as caught:
            ensemble.loss(x, wrong)
        assert str(tuple(wrong.shape)) in caught.value.got
        with pytest.raises(InputError, match="must have shape"):
            ensemble.predict(x, targets=wrong)


def test_labels_outside_the_classes_are_refused(case: Case) -> None:
    ensemble = case.wrap(motet.DeepEnsemble(members=2))
    x, y = case.data()
    with pytest.raises(InputError, match="or be -100"):
        ensemble.loss(x, y.masked_fill(y == -100, 255))


@pytest.mark.parametrize("axis", [0, True])
def test_class_axis_must_be_an_axis(axis: object) -> None:
    with pytest.raises(InputError, match="class_axis must"):
        Categorical(class_axis=axis)


def test_class_axis_must_be_an_axis_of_the_output(case: Case) -> None:
    with pytest.raises(InputError, match="class_axis must be an axis"):
        case.wrap(motet.DeepEnsemble(members=2), likelihood=Categorical(class_axis=4))


def test_texts_of_different_lengths_are_refused() -> None:
    case = CASES["tokens"]
    ensemble = case.wrap(motet.DeepEnsemble(members=2))
    rows = [torch.randn(length, 3, dtype=torch.float64) for length in (5, 5, 4, 4)]
    with pytest.raises(InputError, match="same positions"):
        ensemble.predict(torch.utils.data.DataLoader(rows, batch_size=2))


def test_a_budget_is_refused(case: Case) -> None:
    ensemble = case.wrap(motet.DeepEnsemble(members=2))
    x, _ = case.data()
    budget = motet.inference.budget.Budget(thresholds=(0.5,), costs=(1.0, 1.0), unit="flops", expected_cost=1.0)
    with pytest.raises(InputError, match="an example stops as a whole"):
        ensemble.budgeted(x, budget)
    with pytest.raises(InputError, match="an example stops as a whole"):
        motet.analyses.fit_budget(ensemble, x, budget=1.5)


# Fit


def test_fit_trains_on_pairs_with_positions(case: Case) -> None:
    x, _ = case.data(24)
    x = x.float()
    ensemble = case.wrap(motet.DeepEnsemble(members=2)).float()
    y = (x.sum(dim=1) > 0).long() if case.class_axis == 1 else (x.sum(dim=-1) > 0).long()
    y[0, 0] = -100
    training = motet.Training(epochs=4, batch_size=8, learning_rate=0.05)
    history = motet.fit(ensemble, (x, y), training, progress=False, device="cpu")
    assert history[-1].train_loss < history[0].train_loss
    assert 0 <= history[-1].validation_accuracy <= 1
    with pytest.raises(InputError, match="augmentation"):
        motet.fit(
            ensemble,
            (x, y),
            motet.Training(epochs=1, batch_size=8, augment=motet.data.Augmentation(flip=True)),
            progress=False,
            device="cpu",
        )


def test_records_of_before_stay_the_same() -> None:
    assert to_record(Categorical()) == {"type": "Categorical"}
    assert from_record({"type": "Categorical"}, [Categorical]) == Categorical()
    own = Categorical(class_axis=1, ignore_index=255)
    assert from_record(to_record(own), [Categorical]) == own
    assert repr(Categorical()) == "Categorical()"
    assert repr(own) == "Categorical(class_axis=1, ignore_index=255)"

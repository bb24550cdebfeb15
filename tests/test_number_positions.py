"""Numbers, counts and binary labels at positions: against each position as a row of its own."""

from dataclasses import dataclass
from itertools import product

import pytest
import torch
from small_models import TinyUNet, TokenTagger
from torch import Tensor, nn

import motet
from motet import Bernoulli, Gaussian, HeteroscedasticGaussian, InputError, Likelihood, Poisson
from motet._internal.plain_records import from_record, to_record


@dataclass(frozen=True)
class Case:
    likelihood: Likelihood
    targets: int

    @property
    def axis(self) -> int:
        assert self.likelihood.output_axis is not None
        return self.likelihood.output_axis

    def data(self, rows: int = 6) -> tuple[Tensor, Tensor]:
        """Inputs, and targets with their axis last."""
        positions = (6, 4) if self.axis == 1 else (5,)
        x = torch.randn(rows, *((2, *positions) if self.axis == 1 else (*positions, 3)), dtype=torch.float64)
        kind = self.likelihood.target_kind
        y = torch.randn(rows, *positions, self.targets, dtype=torch.float64)
        return x, y if kind == "real" else (y > 0).double() if kind == "binary" else y.square().floor()

    def wrap(self, method: motet.Method, **settings: object) -> motet.Ensemble:
        model: type[nn.Module] = TinyUNet if self.axis == 1 else TokenTagger
        outputs = self.likelihood.outputs(self.targets)
        x, _ = self.data(1)
        return method.wrap(lambda: model(outputs).double(), example=x, likelihood=self.likelihood, **settings)


KINDS = (Gaussian, HeteroscedasticGaussian, Bernoulli, Poisson)
CASES = [Case(kind(class_axis=axis), k) for kind, axis, k in product(KINDS, (1, -1), (1, 2))]


@pytest.fixture(params=CASES, ids=repr)
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(0)
    return request.param


def as_rows(values: Tensor) -> Tensor:
    return values.flatten(0, -2)


@pytest.mark.parametrize("last", [True, False])
def test_the_loss_is_that_of_the_positions_as_rows(case: Case, last: bool) -> None:
    x, y = case.data()
    ensemble = case.wrap(motet.DeepEnsemble(members=2)).eval()
    outputs = ensemble(x)
    plain = case.likelihood.of_rows
    want = sum(plain.nll(as_rows(outputs[:, m]), as_rows(y), constants=True).mean() for m in range(2))
    given = y if last else y.movedim(-1, case.axis)
    constant = ensemble.loss(x, given) - want
    torch.testing.assert_close(constant, torch.zeros_like(constant), atol=1e-8, rtol=0)
    if case.targets == 1:
        torch.testing.assert_close(ensemble.loss(x, y.squeeze(-1)), ensemble.loss(x, y))


def test_predictions_and_scores_are_those_of_rows(case: Case) -> None:
    x, y = case.data()
    ensemble = case.wrap(motet.DeepEnsemble(members=2))
    prediction = ensemble.predict(x, targets=y.movedim(-1, case.axis))
    assert torch.equal(prediction.targets, y)
    rows = motet.Prediction(
        outputs_BMC=prediction.outputs_BMC.movedim(1, -2).flatten(0, -3),
        likelihood=case.likelihood.of_rows, targets=as_rows(y),
    )  # fmt: skip
    positions = y.shape[:-1]
    for name in ("mean", "variance", "std"):
        torch.testing.assert_close(as_rows(getattr(prediction, name)), getattr(rows, name))
    assert prediction.member_means.shape == (6, 2, *positions[1:], case.targets)
    torch.testing.assert_close(as_rows(prediction.quantile(0.3)), rows.quantile(0.3))
    torch.testing.assert_close(prediction.nll().flatten(), rows.nll())
    assert prediction.sample().shape == y.shape
    found = motet.metrics.score(prediction)
    assert (found.pop("mean_iou", None) is not None) == isinstance(case.likelihood, Bernoulli)
    assert found == pytest.approx(motet.metrics.score(rows), nan_ok=True)


def test_modular_losses_are_those_of_rows(case: Case) -> None:
    x, y = case.data()
    if isinstance(case.likelihood, HeteroscedasticGaussian):
        with pytest.raises(InputError, match="natural exponential family"):
            case.wrap(motet.ModularNetwork(members=2))
        return
    objective = motet.Modular(lam=0.4)
    ensemble = case.wrap(motet.ModularNetwork(members=2), objective=objective).eval()
    rows = ensemble(x).movedim(1, -2).flatten(0, -3)
    want = objective(rows, as_rows(y).unsqueeze(1).expand(-1, 2, -1), case.likelihood.of_rows)
    torch.testing.assert_close(ensemble.loss(x, y), want)


@pytest.mark.parametrize(
    "method", [motet.MIMO(members=2), motet.MIMMO(members=2), motet.MCDropout(), motet.EarlyExit()]
)
def test_other_methods_train(case: Case, method: motet.Method) -> None:
    x, y = case.data()
    ensemble = case.wrap(method)
    loss = ensemble.loss(x, y)
    loss.backward()
    assert loss.isfinite()
    assert ensemble.predict(x).mean.shape == y.shape


@pytest.mark.parametrize("ignored", [-100, 255])
@pytest.mark.parametrize("method", [motet.DeepEnsemble(members=2), motet.MIMO(members=2)])
def test_binary_labels_may_be_ignored(method: motet.Method, ignored: int) -> None:
    for targets in (1, 2):
        case = Case(Bernoulli(class_axis=1, ignore_index=ignored), targets)
        x, y = case.data()
        hidden = torch.rand(y.shape[:-1]) < 0.4
        y[hidden] = ignored
        ensemble = case.wrap(method).eval()
        batch = ensemble.grouping.deal(x, y, members=2)
        outputs = ensemble.forward_batch(batch)
        loss = ensemble.readout.loss(outputs, batch, progress=None, training=True)
        want = torch.zeros((), dtype=torch.float64)
        for m in range(2):
            kept = batch.targets_BM[:, m, ..., 0] != ignored
            want = want + Bernoulli().mean_nll(outputs[:, m][kept], batch.targets_BM[:, m][kept])
        torch.testing.assert_close(loss, want)
        prediction = ensemble.predict(x, targets=y)
        assert torch.equal(prediction.nll().isnan(), hidden)
        assert 0 <= motet.metrics.score(prediction)["accuracy"] <= 1


def test_labels_that_are_ignored_in_part_are_refused() -> None:
    case = Case(Bernoulli(class_axis=1), 2)
    x, y = case.data()
    y[0, 0, 0, 0] = -100
    with pytest.raises(InputError, match="binary labels must be 0 or 1"):
        case.wrap(motet.DeepEnsemble(members=2)).loss(x, y)


def test_targets_at_other_positions_are_refused(case: Case) -> None:
    x, y = case.data()
    ensemble = case.wrap(motet.DeepEnsemble(members=2))
    for wrong in (y[:, :-1], y[:, 0]):
        with pytest.raises(InputError, match="must have shape"):
            ensemble.loss(x, wrong)
    with pytest.raises(InputError, match=r"targets? per row"):
        ensemble.loss(x, torch.cat([y, y], dim=-1))


def test_targets_in_their_own_units() -> None:
    case = Case(Gaussian(class_axis=1), 2)
    x, y = case.data()
    ensemble = case.wrap(motet.DeepEnsemble(members=2))
    plain = ensemble.predict(x, targets=y)
    ensemble.scale_targets(mean=[10.0, -3.0], std=[2.0, 0.5])
    scaled = ensemble.predict(x, targets=y.movedim(-1, 1))
    scale = torch.tensor([2.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(scaled.targets, y * scale + torch.tensor([10.0, -3.0], dtype=torch.float64))
    torch.testing.assert_close(scaled.mean, plain.mean * scale + torch.tensor([10.0, -3.0], dtype=torch.float64))
    torch.testing.assert_close(scaled.nll(), plain.nll())  # log 2 + log 0.5 is 0


def test_fit_needs_classes() -> None:
    case = Case(Gaussian(class_axis=1), 1)
    x, y = case.data(12)
    with pytest.raises(InputError, match="fit needs class labels"):
        motet.fit(case.wrap(motet.DeepEnsemble(members=2)), (x, y), progress=False, device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_records(kind: type[Likelihood]) -> None:
    assert to_record(kind()) == {"type": kind.__name__}
    assert repr(kind()) == f"{kind.__name__}()"
    own = kind(class_axis=1)
    assert from_record(to_record(own), [kind]) == own
    assert own.of_rows == kind()

"""Inputs and targets as people have them: arrays, lists, other types, torch's data sets and loaders."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import motet
from motet import MIMO, Bernoulli, DeepEnsemble, Gaussian, InputError, Poisson, Single, Training, fit

pytestmark = pytest.mark.usefixtures("unchecked")

X = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(20) % 3


def net(outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, outputs))


@pytest.fixture(scope="module")
def ensemble() -> motet.Ensemble:
    torch.manual_seed(0)
    return MIMO(members=2).wrap(net(), example=X[:1])


class Pairs(Dataset[Any]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return X[row], Y[row]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(X)


@pytest.mark.parametrize(
    ("given", "has_targets"),
    [
        (X, False),
        (X.numpy(), False),
        (X.double(), False),
        (X.double().numpy().astype(">f8"), False),
        (X.numpy()[::-1][::-1], False),
        (X.tolist(), False),
        (list(X), False),
        (pd.DataFrame(X.numpy()), False),
        ((X, Y), True),
        ((X.numpy(), Y.numpy().astype(np.int8)), True),
        (TensorDataset(X), False),
        (TensorDataset(X, Y), True),
        (Pairs(), True),
        (Stream(), False),
        (DataLoader(X, batch_size=3), False),  # type: ignore[arg-type]
        (DataLoader(TensorDataset(X, Y), batch_size=7), True),
        (DataLoader(Pairs(), batch_size=20), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_predictions_are_those_of_the_tensor(ensemble: motet.Ensemble, given: Any, has_targets: bool) -> None:
    expected = ensemble.predict(X).outputs_BMC
    prediction = ensemble.predict(given)
    torch.testing.assert_close(prediction.outputs_BMC, expected)
    assert (prediction.targets is not None) == has_targets
    if has_targets:
        assert torch.equal(prediction.targets, Y)
        assert prediction.targets.dtype == torch.int64


def test_integers_become_the_networks_type(ensemble: motet.Ensemble) -> None:
    whole = (4 * X).round()
    expected = ensemble.predict(whole).outputs_BMC
    for dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
        assert torch.equal(ensemble.predict(whole.to(dtype)).outputs_BMC, expected)
    for kind in (np.int16, np.uint16, np.uint32, np.float16, np.longdouble):
        given = whole.abs().numpy().astype(kind)
        torch.testing.assert_close(ensemble.predict(given).outputs_BMC, ensemble.predict(whole.abs()).outputs_BMC)
    double = Single().wrap(net().double(), example=X[:1].double())
    assert double.predict(X).outputs_BMC.dtype == torch.float64


def test_integers_stay_integers_where_the_network_reads_them() -> None:
    tokens = Single().wrap(nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 3)), example=torch.tensor([[1, 2]]))
    expected = tokens.predict(torch.tensor([[3, 4]])).outputs_BMC
    for given in ([[3, 4]], np.array([[3, 4]], dtype=np.uint8), torch.tensor([[3, 4]], dtype=torch.int16)):
        assert torch.equal(tokens.predict(given).outputs_BMC, expected)
    with pytest.raises(InputError, match=r"inputs must be integers.*x\.long\(\)"):
        tokens.predict([[3.0, 4.0]])


@pytest.mark.parametrize(
    "given",
    ["abc", None, 3, {"a": 1}, [["a"]], X.to(torch.complex64), [torch.zeros(2), torch.zeros(3)], [[1], [1, 2]],
     np.zeros((2, 5), dtype=object), np.array(["a"]), np.zeros(2, dtype="M8[s]"), iter([1]), object(),
     DataLoader([{"a": X[0]}]), TensorDataset(X, Y, Y), [], torch.zeros(0, 5), DataLoader(TensorDataset(X[:0]))],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_cannot_be_taken(ensemble: motet.Ensemble, given: Any) -> None:
    with pytest.raises(InputError):
        ensemble.predict(given)


def test_what_is_passed_twice(ensemble: motet.Ensemble) -> None:
    for given in ((X, Y), TensorDataset(X, Y), DataLoader(X)):  # type: ignore[arg-type]
        with pytest.raises(InputError, match="targets must be passed once"):
            ensemble.predict(given, targets=Y)
    with pytest.raises(InputError, match="batch size must be passed once"):
        ensemble.predict(DataLoader(X), batch_size=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="batch_size must be an integer"):
        ensemble.predict(X, batch_size=2.0)
    with pytest.raises(InputError, match="one target per input"):
        ensemble.predict(X, targets=Y[:3])
    with pytest.raises(InputError, match="one target per input"):
        ensemble.predict((X, Y[:3]), batch_size=7)


def test_losses_are_those_of_the_tensors() -> None:
    ensemble = DeepEnsemble(members=2).wrap(net(), example=X[:1])
    expected = ensemble.loss(X, Y)
    for x, y in ((X.numpy(), Y.numpy()), (X.double(), Y.int()), (X.tolist(), Y.tolist())):
        torch.testing.assert_close(ensemble.loss(x, y), expected)
    soft = torch.eye(3)[Y]
    torch.testing.assert_close(ensemble.loss(X, soft.double().numpy()), expected)
    real = DeepEnsemble(members=2).wrap(net(1), example=X[:1], likelihood=Gaussian())
    torch.testing.assert_close(real.loss(X, X[:, 0].double()), real.loss(X, X[:, 0]))
    torch.testing.assert_close(real.loss(X.numpy(), X[:, 0].numpy().astype(np.float64)), real.loss(X, X[:, 0]))


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (X.numpy().astype(np.float64), Y.numpy()),
        (X.tolist(), Y.tolist()),
        TensorDataset(X, Y),
        Pairs(),
        DataLoader(TensorDataset(X, Y), batch_size=6),
    ],
    ids=lambda value: type(value).__name__,
)
def test_training_is_that_of_the_tensors(data: Any) -> None:
    histories = []
    for each in ((X, Y), data):
        torch.manual_seed(0)
        ensemble = DeepEnsemble(members=2).wrap(net(), example=X[:1])
        histories.append(fit(ensemble, each, Training(epochs=2, batch_size=6), progress=False))
    first, second = ([{k: v for k, v in row.items() if k != "seconds"} for row in history] for history in histories)
    assert first == second
    assert repr(histories[0]).startswith("History(2 epochs; the last: ")


@pytest.mark.parametrize(
    ("likelihood", "y"),
    [(Gaussian(), X[:, 0].numpy()), (Bernoulli(), (Y > 0).long().numpy()), (Poisson(), Y.numpy())],
    ids=str,
)
def test_other_likelihoods_train_on_arrays(likelihood: Any, y: Any) -> None:
    ensemble = DeepEnsemble(members=2).wrap(net(1), example=X[:1], likelihood=likelihood)
    rows = fit(ensemble, (X.numpy(), y), Training(epochs=1, batch_size=6, learning_rate=0.01), progress=False)
    assert np.isfinite(rows[-1].validation_nll)


@pytest.mark.parametrize("data", [X, (X,), "digits", None, (X, Y[:3]), TensorDataset(X), (X[:1], Y[:1]), (X, Y, Y)])
def test_training_data_that_cannot_be_taken(data: Any) -> None:
    ensemble = Single().wrap(net(), example=X[:1])
    with pytest.raises(InputError):
        fit(ensemble, data, Training(epochs=1), progress=False)


def test_short_reprs(ensemble: motet.Ensemble) -> None:
    digits = motet.data.digits()
    assert repr(digits) == "Dataset(digits: a classification, inputs (1, 8, 8), 1,079 train, 359 validation, 359 test)"
    assert repr(digits.train) == "Split(1079 rows of (1, 8, 8))"
    assert repr(ensemble).startswith("Ensemble(MIMO(members=2, ")
    assert "\n" not in repr(ensemble)
    assert repr(ensemble.predict(X)) == (
        "Prediction(20 rows, 2 members, 3 outputs, Categorical, mixture, without targets)"
    )
    assert "folded" in repr(ensemble.fold())

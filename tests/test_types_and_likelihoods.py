import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.likelihoods import Categorical, Gaussian, Likelihood
from motet.types import Batch

BOTH: list[Likelihood] = [Categorical(), Gaussian()]


def slow_softmax(logits: list[float]) -> list[float]:
    largest = max(logits)
    weights = [math.exp(logit - largest) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def test_a_batch_is_frozen_and_compares_by_identity() -> None:
    batch = Batch(inputs=torch.zeros(2, 3), targets_BM=torch.zeros(2, 1), distinct=False)
    assert batch == batch  # noqa: PLR0124
    assert batch != Batch(inputs=batch.inputs, targets_BM=batch.targets_BM, distinct=False)
    with pytest.raises(FrozenInstanceError):
        batch.distinct = True  # type: ignore[misc]


@pytest.mark.parametrize("axes", [(), (4,), (4, 2), (3, 4, 2), (0,), (4, 0)])
def test_categorical_nll_takes_any_leading_axes(axes: tuple[int, ...]) -> None:
    eta, y = 3 * torch.randn(*axes, 5).double(), torch.randint(5, axes)
    nll = Categorical().nll(eta, y)
    assert nll.shape == axes
    probs = [slow_softmax(row) for row in eta.reshape(-1, 5).tolist()]
    expected = [-math.log(row[label]) for row, label in zip(probs, y.reshape(-1).tolist(), strict=True)]
    assert nll.flatten().tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("axes", [(), (4,), (4, 2), (3, 4, 2), (0,)])
@pytest.mark.parametrize("targets", [1, 3])
def test_gaussian_nll_is_scipys(axes: tuple[int, ...], targets: int) -> None:
    eta, y = torch.randn(*axes, targets).double(), torch.randn(*axes, targets).double()
    nll = Gaussian().nll(eta, y)
    assert nll.shape == axes
    expected = -stats.norm.logpdf(y.numpy(), loc=eta.numpy()).sum(axis=-1)
    np.testing.assert_allclose(nll.numpy(), expected, rtol=1e-12)
    if targets == 1:
        torch.testing.assert_close(Gaussian().nll(eta, y.squeeze(-1)), nll, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(2, 4), (4,), (4, 2, 3), (4, 1), (1, 2), (8,)])
def test_targets_never_broadcast(shape: tuple[int, ...]) -> None:
    eta_BMC = torch.randn(4, 2, 3)
    with pytest.raises(InputError, match=r"must have shape \(4, 2\)"):
        Categorical().nll(eta_BMC, torch.zeros(shape, dtype=torch.long))
    if shape != (4, 2, 3):
        with pytest.raises(InputError, match=r"must have shape \(4, 2, 3\)"):
            Gaussian().nll(eta_BMC, torch.zeros(shape))


@pytest.mark.parametrize("method", ["nll", "mean_nll"])
def test_no_label_is_ignored_silently(method: str) -> None:
    # torch's cross-entropy leaves out the label -100.
    with pytest.raises(IndexError, match="-100"):
        getattr(Categorical(), method)(torch.zeros(2, 3), torch.tensor([-100, 1]))


@pytest.mark.parametrize("likelihood", BOTH, ids=str)
@pytest.mark.parametrize("axes", [(1,), (4,), (4, 2), (3, 4, 2)])
def test_the_mean_nll_is_the_mean(likelihood: Likelihood, axes: tuple[int, ...]) -> None:
    eta = torch.randn(*axes, 5).double()
    y = torch.randint(5, axes) if isinstance(likelihood, Categorical) else torch.randn(*axes, 5).double()
    mean = likelihood.mean_nll(eta, y)
    assert mean.shape == ()
    torch.testing.assert_close(mean, likelihood.nll(eta, y).mean())
    with pytest.raises(InputError, match="must have shape"):
        likelihood.mean_nll(torch.randn(4, 3, 5), torch.zeros(3, 4, *y.shape[len(axes) :]).to(y.dtype))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_labels_may_be_any_integers(dtype: torch.dtype) -> None:
    eta, y = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    Categorical().check_targets(y.to(dtype), outputs=3)
    assert torch.equal(Categorical().nll(eta, y.to(dtype)), Categorical().nll(eta, y))


def test_gradients_of_the_nll_are_mean_minus_target() -> None:
    eta = torch.randn(5, 3).double().requires_grad_()
    y = torch.randint(3, (5,))
    (grad,) = torch.autograd.grad(Categorical().nll(eta, y).sum(), eta)
    torch.testing.assert_close(grad, Categorical().mean(eta) - F.one_hot(y, 3))
    y = torch.randn(5, 3).double()
    (grad,) = torch.autograd.grad(Gaussian().nll(eta, y).sum(), eta)
    torch.testing.assert_close(grad, eta - y)


def test_extreme_logits_stay_exact() -> None:
    eta = torch.tensor([[1e4, 0.0], [0.0, 1e4], [-math.inf, 0.0]])
    assert Categorical().nll(eta, torch.tensor([1, 1, 0])).tolist() == [1e4, 0.0, math.inf]
    # No member gives the label a probability that float32 can hold, and the mixture's NLL is still finite.
    eta_BMC = torch.tensor([[[0.0, 1e4], [0.0, 2e4]]])
    mixture = Categorical().mixture_nll(eta_BMC, torch.tensor([0]))
    assert mixture.item() == pytest.approx(1e4 + math.log(2))
    assert Categorical().mean(eta[:2]).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_the_mixture_is_the_mean_of_probabilities() -> None:
    eta_BMC, y = 2 * torch.randn(6, 3, 4).double(), torch.randint(4, (6,))
    mean_BC = Categorical().mixture(eta_BMC)
    for row, members in enumerate(eta_BMC.tolist()):
        probs = [slow_softmax(member) for member in members]
        means = [sum(member[k] for member in probs) / 3 for k in range(4)]
        assert mean_BC[row].tolist() == pytest.approx(means, rel=1e-12)
        nll = Categorical().mixture_nll(eta_BMC, y)[row].item()
        assert nll == pytest.approx(-math.log(means[int(y[row])]), rel=1e-12)


def test_the_geometric_mean_is_the_normalised_one() -> None:
    eta_BMC, y = 2 * torch.randn(6, 3, 4).double(), torch.randint(4, (6,))
    combined = Categorical().mean(Categorical().geometric(eta_BMC))
    probs = Categorical().mean(eta_BMC)
    geometric = probs.prod(dim=1) ** (1 / 3)
    torch.testing.assert_close(combined, geometric / geometric.sum(dim=-1, keepdim=True))
    nll = Categorical().combined_nll(eta_BMC, y, "geometric")
    torch.testing.assert_close(nll, -combined.gather(1, y.unsqueeze(1)).squeeze(1).log())


@pytest.mark.parametrize("targets", [1, 2])
def test_gaussian_mixtures_are_scipys(targets: int) -> None:
    eta_BMC, y = torch.randn(5, 3, targets).double(), torch.randn(5, targets).double()
    densities = stats.norm.pdf(y.unsqueeze(1).numpy(), loc=eta_BMC.numpy()).prod(axis=-1).mean(axis=1)
    np.testing.assert_allclose(Gaussian().mixture_nll(eta_BMC, y).numpy(), -np.log(densities), rtol=1e-12)
    torch.testing.assert_close(Gaussian().mixture(eta_BMC), eta_BMC.mean(dim=1))
    # Geometric: the product of unit normals, normalised, is the unit normal at the mean.
    expected = -stats.norm.logpdf(y.numpy(), loc=eta_BMC.mean(dim=1).numpy()).sum(axis=-1)
    np.testing.assert_allclose(Gaussian().combined_nll(eta_BMC, y, "geometric").numpy(), expected, rtol=1e-12)
    if targets == 1:
        torch.testing.assert_close(Gaussian().mixture_nll(eta_BMC, y[:, 0]), Gaussian().mixture_nll(eta_BMC, y))


@pytest.mark.parametrize("likelihood", BOTH, ids=str)
@pytest.mark.parametrize("combination", ["mixture", "geometric"])
def test_one_member_and_equal_members_are_that_member(likelihood: Likelihood, combination: str) -> None:
    eta_BC = torch.randn(5, 3).double()
    y = torch.randint(3, (5,)) if isinstance(likelihood, Categorical) else torch.randn(5, 3).double()
    alone = likelihood.nll(eta_BC, y)
    for members in (1, 4):
        eta_BMC = eta_BC.unsqueeze(1).expand(-1, members, -1)
        torch.testing.assert_close(likelihood.combined_nll(eta_BMC, y, combination), alone)
        torch.testing.assert_close(likelihood.mixture(eta_BMC), likelihood.mean(eta_BC))
        torch.testing.assert_close(likelihood.geometric(eta_BMC), eta_BC)


@pytest.mark.parametrize("likelihood", BOTH, ids=str)
@pytest.mark.parametrize("combination", ["mixture", "geometric"])
def test_the_ensemble_is_never_worse_than_its_members_on_average(likelihood: Likelihood, combination: str) -> None:
    eta_BMC = 3 * torch.randn(50, 4, 3).double()
    y = torch.randint(3, (50,)) if isinstance(likelihood, Categorical) else torch.randn(50, 3).double()
    y_BM = y.unsqueeze(1).expand(-1, 4, *y.shape[1:])
    assert (likelihood.combined_nll(eta_BMC, y, combination) <= likelihood.nll(eta_BMC, y_BM).mean(dim=1) + 1e-12).all()


def test_nan_stays_in_its_row() -> None:
    eta_BMC = torch.randn(3, 2, 4)
    eta_BMC[1, 0, 2] = math.nan
    y = torch.tensor([0, 1, 2])
    assert Categorical().mixture_nll(eta_BMC, y).isnan().tolist() == [False, True, False]
    assert Categorical().mixture(eta_BMC).isnan().any(dim=1).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.tensor([0.0]), "float32.*y.long"),
        (torch.tensor([True]), "targets of bool"),
        (torch.tensor([1j]), "targets of complex64"),
        (torch.tensor([0, 3]), r"0\.\.2 .*labels from 0 to 3.*number the classes from 0"),
        (torch.tensor([-1, 2]), "labels from -1 to 2"),
        (torch.tensor([-100, 2]), "labels from -100 to 2"),
    ],
)
def test_labels_that_cannot_be_are_refused(y: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Categorical().check_targets(y, outputs=3)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.tensor([[0, 1]]), "floating-point.*int64.*y.float"),
        (torch.zeros(4, 3), r"2 targets per row.*\(4, 3\)"),
        (torch.zeros(2), r"2 targets per row.*\(2,\)"),
        (torch.tensor([[0.0, math.nan], [math.inf, 0.0]]), "2 NaN or infinite"),
    ],
)
def test_real_targets_that_cannot_be_are_refused(y: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Gaussian().check_targets(y, outputs=2)


def test_fitting_targets_pass() -> None:
    Categorical().check_targets(torch.tensor([0, 2]), outputs=3)
    Categorical().check_targets(torch.tensor([], dtype=torch.long), outputs=3)
    Categorical().check_targets(torch.tensor([0]), outputs=1)
    Gaussian().check_targets(torch.zeros(4), outputs=1)
    Gaussian().check_targets(torch.zeros(4, 1), outputs=1)
    Gaussian().check_targets(torch.zeros(0, 2), outputs=2)


def test_values_can_be_left_unlooked_at() -> None:
    Categorical().check_targets(torch.zeros(4, dtype=torch.long, device="meta"), outputs=3, values=False)
    Gaussian().check_targets(torch.zeros(4, 3, device="meta"), outputs=3, values=False)
    with pytest.raises(InputError, match="integers"):
        Categorical().check_targets(torch.zeros(4, device="meta"), outputs=3, values=False)
    with pytest.raises(InputError, match="2 targets"):
        Gaussian().check_targets(torch.zeros(4, 3, device="meta"), outputs=2, values=False)

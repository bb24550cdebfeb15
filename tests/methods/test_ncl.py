"""Negative correlation learning against the losses of Liu and Yao (1999) and of Brown et al. (2005)."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import motet
from motet.cli.main import main
from motet.errors import InputError
from motet.likelihoods import HeteroscedasticGaussian, Poisson
from motet.methods import NCL, ModularNetwork
from motet.testing import check_method

GAMMAS = [0.0, 0.2, 0.5]


def outputs(members: int, rows: int = 5, targets: int = 2) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, members, targets, dtype=torch.float64), torch.randn(rows, targets, dtype=torch.float64)


def loss_of(method: NCL, f_BMK: Tensor, y_BK: Tensor) -> Tensor:
    members = f_BMK.shape[1]
    targets = y_BK.unsqueeze(1).expand(-1, members, -1)
    return method.default_objective(f_BMK, targets, motet.Gaussian())


def own_loss(f: list[Tensor], y: Tensor, i: int, gamma: float) -> Tensor:
    """Brown et al. (2005): e_i of one example, with the penalty as a sum over the other networks."""
    bar = sum(f[1:], f[0]) / len(f)
    penalty = (f[i] - bar) * sum((f[j] - bar for j in range(len(f)) if j != i), torch.zeros_like(bar))
    return (0.5 * (f[i] - y).square() + gamma * penalty).sum()


@pytest.mark.parametrize("members", [2, 3, 7])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_each_network_has_the_gradient_of_its_own_published_loss(members: int, gamma: float) -> None:
    f_BMK, y_BK = outputs(members)
    method = NCL(members=members, gamma=gamma)
    grad = torch.func.grad(lambda f: loss_of(method, f, y_BK))(f_BMK)
    for row in range(len(f_BMK)):
        for i in range(members):
            f = [f_BMK[row, j].clone().requires_grad_() for j in range(members)]
            # Brown et al. differentiate the mean: network i sees its own part of it.
            (brown,) = torch.autograd.grad(own_loss(f, y_BK[row], i, gamma), f[i])
            torch.testing.assert_close(grad[row, i], brown / len(f_BMK), rtol=1e-10, atol=1e-12)
            # Liu and Yao hold it constant, and have lambda in the place of gamma.
            fixed = [each.detach() for each in f]
            bar = torch.stack(fixed).mean(dim=0)
            others = sum((fixed[j] - bar for j in range(members) if j != i), torch.zeros_like(bar))
            loss = 0.5 * (f[i] - y_BK[row]).square() + method.lam * (f[i] - bar) * others
            (liu,) = torch.autograd.grad(loss.sum(), f[i])
            torch.testing.assert_close(grad[row, i], liu / len(f_BMK), rtol=1e-10, atol=1e-12)
    mean = NCL(members=members, gamma=gamma, reduction="mean")
    by_mean = torch.func.grad(lambda f: loss_of(mean, f, y_BK))(f_BMK)
    torch.testing.assert_close(by_mean, grad / members)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_reported_loss_is_the_errors_and_half_of_lambda_times_the_penalties(gamma: float) -> None:
    f_BMK, y_BK = outputs(4, rows=3)
    method = NCL(members=4, gamma=gamma)
    total = 0.0
    for f, y in zip(f_BMK.tolist(), y_BK.tolist(), strict=True):
        for k in range(2):
            bar = sum(one[k] for one in f) / 4
            for i in range(4):
                penalty = (f[i][k] - bar) * sum(f[j][k] - bar for j in range(4) if j != i)
                assert penalty == pytest.approx(-((f[i][k] - bar) ** 2))
                total += (f[i][k] - y[k]) ** 2 / 2 + method.lam / 2 * penalty
    constant = 4 * 2 * math.log(2 * math.pi) / 2
    assert float(loss_of(method, f_BMK, y_BK)) == pytest.approx(total / 3 + constant, rel=1e-12)


def test_it_is_a_modular_network_under_the_gaussian() -> None:
    x, y = torch.randn(6, 4), torch.randn(6, 1)
    net = motet.models.mlp(input_shape=(4,), num_classes=1, hidden=(5,))
    losses = []
    for method in (NCL(members=3, gamma=0.6), ModularNetwork(members=3, lam=0.8, reduction="sum")):
        torch.manual_seed(0)
        ensemble = method.wrap(net, example=x[:1], likelihood=motet.Gaussian())
        losses.append(ensemble.loss(x, y))
        assert ensemble.combination == "geometric"
    assert losses[0] == losses[1]


@pytest.mark.usefixtures("unchecked")
def test_the_two_conventions() -> None:
    assert NCL(members=2, gamma=1.0).lam == 1
    assert NCL(members=5, gamma=0.5).lam == pytest.approx(0.8)
    for members in (2, 3, 16, 1000):
        assert NCL(members=members).lam <= 1
        for lam in (0.0, 0.3, 1.0):
            assert NCL.from_lambda(lam, members=members).lam == pytest.approx(lam)
        with pytest.raises(InputError, match=r"must lie in \[0, M / \(2 \(M - 1\)\)\].*Pass gamma=0.5"):
            NCL(members=members, gamma=members / (2 * (members - 1)) + 1e-6)
    for gamma in (-0.1, math.nan, math.inf, "much", None):
        with pytest.raises(InputError, match="gamma"):
            NCL(gamma=gamma)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"lam=1.5"):
        NCL.from_lambda(1.5, members=3)
    with pytest.raises(InputError, match="members=0"):
        NCL(members=0)


def test_one_member_has_no_penalty() -> None:
    assert NCL(members=1, gamma=7.0).lam == 0
    assert NCL.from_lambda(0.0, members=1).lam == 0
    with pytest.raises(InputError, match="one member has no penalty"):
        NCL.from_lambda(0.5, members=1)
    with pytest.raises(InputError, match="finite number of at least 0"):
        NCL(members=1, gamma=-1.0)
    x, y = torch.randn(5, 4).double(), torch.randn(5).double()
    net = nn.Linear(4, 1).double()
    loss = NCL(members=1).wrap(net, example=x[:1]).loss(x, y)
    torch.testing.assert_close(loss, motet.Single().wrap(net, example=x[:1], likelihood=motet.Gaussian()).loss(x, y))


@pytest.mark.parametrize("likelihood", [motet.Categorical(), motet.Bernoulli(), Poisson()], ids=str)
def test_other_targets_are_refused(likelihood: motet.Likelihood) -> None:
    with pytest.raises(InputError, match=r"is for regression.*Use modular-network, which has the same loss"):
        NCL().wrap(nn.Linear(4, 3), example=torch.zeros(1, 4), likelihood=likelihood)
    with pytest.raises(InputError, match=r"HeteroscedasticGaussian.*--likelihood gaussian"):
        NCL().wrap(nn.Linear(4, 2), example=torch.zeros(1, 4), likelihood=HeteroscedasticGaussian())


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_it_keeps_the_laws_on_another_model() -> None:
    net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))
    check_method(NCL(members=3, gamma=0.7), net, torch.randn(2, 5))


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table for regression, in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i % 7},{i % 11},{i % 7 + 0.1 * (i % 11)}\n" for i in range(60))
    Path("rates.csv").write_text("a,b,y\n" + rows)
    return Path("rates.csv")


@pytest.mark.parametrize("methods", [["ncl"], ["single", "modular-network"], ["ncl", "deep-ensemble"]], ids=str)
def test_a_table_is_compared_under_one_likelihood(
    methods: list[str], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", str(table), "--target", "y", "--methods", *methods, "--epochs", "1", "--members", "2"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "likelihood: gaussian for all methods instead of heteroscedastic, which " in said.err
    assert "RMSE" in said.out
    runs = [motet.experiments.load_run(Path("runs/compare-rates") / f"{name}-seed0") for name in methods]
    assert [run.record.likelihood for run in runs if run is not None] == ["gaussian"] * len(methods)
    assert main(command) == 0  # finds its folder again
    assert "already finished" in capsys.readouterr().err
    assert main(["evaluate", "runs/compare-rates"]) == 0


def test_one_member_on_a_table(table: Path) -> None:
    command = ["compare", str(table), "--target", "y", "--methods", "ncl", "--epochs", "1", "--members", "1"]
    assert main(command) == 0


def test_without_such_methods_a_table_has_its_default(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", str(table), "--target", "y", "--epochs", "1", "--methods", "all"]
    assert main([*command, "--model", "mlp", "--members", "2"]) == 0
    said = capsys.readouterr().err
    assert "NCL is left out" in said
    assert "Modular network is left out: a modular loss with lambda > 0 needs" in said
    run = motet.experiments.load_run(Path("runs/compare-rates/single-seed0"))
    assert run is not None
    assert run.record.likelihood == "heteroscedastic"


def test_digits_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "digits", "--methods", "ncl", "--epochs", "1"]) != 0
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "Use modular-network" in line

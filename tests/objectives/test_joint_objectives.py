"""The modular loss against the paper's equations (Joint Training of Neural Network Ensembles)."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import motet
from motet.errors import InputError
from motet.grouping import Permuted, Shared, Split
from motet.likelihoods import Categorical, Gaussian, HeteroscedasticGaussian, NaturalExponentialFamily
from motet.likelihoods import Likelihood as AnyLikelihood
from motet.methods import (
    DUN,
    MIMMO,
    MIMO,
    BatchEnsemble,
    DeepEnsemble,
    EarlyExit,
    MCDropout,
    MixtureEnsembles,
    ModularNetwork,
    Multihead,
    TreeNet,
)
from motet.objectives import Independent
from motet.objectives.modular import Joint, Modular, ModularExits
from motet.types import Progress

LAMBDAS = [0.0, 0.3, 0.95, 1.0]


def family() -> list[NaturalExponentialFamily]:
    return [kind() for kind in NaturalExponentialFamily.__subclasses__()]


def targets_for(likelihood: AnyLikelihood, rows: int, outputs: int) -> Tensor:
    """Targets that the likelihood can have made."""
    if isinstance(likelihood, Categorical):
        return torch.randint(outputs, (rows,))
    if isinstance(likelihood, Gaussian):
        return torch.randn(rows, outputs).double()
    high = 2 if type(likelihood).__name__ == "Bernoulli" else 6
    return torch.randint(high, (rows, outputs)).double()


def statistic(likelihood: AnyLikelihood, y: Tensor, outputs: int) -> Tensor:
    """What stands beside eta in the density: the target, one-hot for classes."""
    return nn.functional.one_hot(y, outputs).double() if isinstance(likelihood, Categorical) else y


def case(likelihood: AnyLikelihood, rows: int = 5, members: int = 4, outputs: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    eta_BMC = torch.randn(rows, members, outputs).double().requires_grad_()
    y = targets_for(likelihood, rows, outputs)
    return eta_BMC, y, y.unsqueeze(1).expand(-1, members, *y.shape[1:])


every_family = pytest.mark.parametrize("likelihood", family(), ids=lambda kind: type(kind).__name__)
every_lambda = pytest.mark.parametrize("lam", LAMBDAS)


@every_family
@every_lambda
@pytest.mark.parametrize(("rows", "members"), [(5, 4), (1, 2), (3, 1)])
def test_the_gradient_is_equation_8(likelihood: NaturalExponentialFamily, lam: float, rows: int, members: int) -> None:
    eta_BMC, y, targets_BM = case(likelihood, rows=rows, members=members)
    (grad,) = torch.autograd.grad(Modular(lam=lam)(eta_BMC, targets_BM, likelihood), eta_BMC)
    mean_BMC = likelihood.mean(eta_BMC.detach())
    ybar_B1C = likelihood.mean(eta_BMC.detach().mean(dim=1, keepdim=True))
    y_B1C = statistic(likelihood, y, eta_BMC.shape[2]).unsqueeze(1)
    expected = (mean_BMC - y_B1C - lam * (mean_BMC - ybar_B1C)) / members / rows
    torch.testing.assert_close(grad, expected, rtol=1e-11, atol=1e-13)


@every_family
@every_lambda
def test_equations_4_to_7_agree(likelihood: NaturalExponentialFamily, lam: float) -> None:
    eta_BMC, y, targets_BM = case(likelihood)
    members = eta_BMC.shape[1]
    eta_BMC = eta_BMC.detach()
    loss = Modular(lam=lam)(eta_BMC, targets_BM, likelihood)
    own_BM = likelihood.nll(eta_BMC, targets_BM)
    bar_BC = eta_BMC.mean(dim=1)
    joint_B = likelihood.nll(bar_BC, y)
    # Equations 4 and 7: KL divergences from the data are NLLs up to one constant, the same in all terms.
    torch.testing.assert_close(loss, (lam * joint_B + (1 - lam) * own_BM.mean(dim=1)).mean())
    if lam > 0:  # equation 5, divided by lambda
        gamma = (1 - lam) / lam
        torch.testing.assert_close(loss / lam, (joint_B + gamma / members * own_BM.sum(dim=1)).mean())
    # Equation 6: D(qbar || q_j) from the family's Bregman form, A(eta_j) - A(etabar) - ybar (eta_j - etabar).
    ybar_B1C = likelihood.mean(bar_BC).unsqueeze(1)
    divergence_BM = (
        likelihood.log_normaliser(eta_BMC)
        - likelihood.log_normaliser(bar_BC).unsqueeze(1)
        - (ybar_B1C * (eta_BMC - bar_BC.unsqueeze(1))).sum(dim=-1)
    )
    assert bool((divergence_BM >= -1e-12).all())
    torch.testing.assert_close(loss, (own_BM.mean(dim=1) - lam * divergence_BM.mean(dim=1)).mean())
    # The ambiguity decomposition, row by row: the ensemble's NLL is the members' mean less their ambiguity.
    torch.testing.assert_close(joint_B, own_BM.mean(dim=1) - divergence_BM.mean(dim=1), rtol=1e-12, atol=1e-12)


def test_ambiguity_of_classes_is_the_kl_divergence_written_out() -> None:
    eta_BMC, y, targets_BM = case(Categorical())
    eta_BMC = eta_BMC.detach()
    total = 0.0
    for row in range(len(eta_BMC)):
        bar = eta_BMC[row].mean(dim=0).softmax(dim=0)
        kls = [float((bar * (bar.log() - eta.log_softmax(dim=0))).sum()) for eta in eta_BMC[row]]
        own = [float(-eta.log_softmax(dim=0)[y[row]]) for eta in eta_BMC[row]]
        total += sum(own) / len(own) - 0.6 * sum(kls) / len(kls)
    assert float(Modular(lam=0.6)(eta_BMC, targets_BM, Categorical())) == pytest.approx(total / len(eta_BMC), rel=1e-12)


def test_under_the_gaussian_it_is_negative_correlation_learning() -> None:
    eta_BMC, y, targets_BM = case(Gaussian())
    (grad,) = torch.autograd.grad(Modular(lam=0.7)(eta_BMC, targets_BM, Gaussian()), eta_BMC)
    f, bar = eta_BMC.detach(), eta_BMC.detach().mean(dim=1, keepdim=True)
    # Liu and Yao 1999, equation 10: member j learns from (f_j - y) - lambda (f_j - fbar).
    torch.testing.assert_close(grad, ((f - y.unsqueeze(1)) - 0.7 * (f - bar)) / 4 / 5)


@every_family
def test_its_ends_are_independent_and_joint_training(likelihood: NaturalExponentialFamily) -> None:
    eta_BMC, y, targets_BM = case(likelihood)
    members = eta_BMC.shape[1]
    (grad,) = torch.autograd.grad(Modular(lam=0.0)(eta_BMC, targets_BM, likelihood), eta_BMC)
    for member in range(members):
        alone = eta_BMC.detach()[:, [member]].requires_grad_()
        loss = Independent()(alone, targets_BM[:, [member]], likelihood)
        torch.testing.assert_close(grad[:, [member]], torch.autograd.grad(loss, alone)[0] / members)
    joint = likelihood.nll(eta_BMC.mean(dim=1), y).mean()
    torch.testing.assert_close(Modular(lam=1.0)(eta_BMC, targets_BM, likelihood), joint)
    torch.testing.assert_close(Joint()(eta_BMC, targets_BM, likelihood), joint)
    torch.testing.assert_close(Joint(reduction="sum")(eta_BMC, targets_BM, likelihood), members * joint)
    summed = Modular(lam=0.0, reduction="sum")(eta_BMC, targets_BM, likelihood)
    torch.testing.assert_close(summed, Independent()(eta_BMC, targets_BM, likelihood))


def test_coupled_ensembles_are_its_ends() -> None:
    """Dutt et al. 2018: parameter gradients under LL and SM have one ratio, under FC none (S3, appendix)."""
    torch.manual_seed(0)
    members, x, y = 4, torch.randn(20, 6).double(), torch.randint(3, (20,))
    nets = [nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double() for _ in range(members)]
    parameters = [parameter for net in nets for parameter in net.parameters()]

    def gradients(loss: Callable[[Tensor], Tensor]) -> Tensor:
        logits_BMC = torch.stack([net(x) for net in nets], dim=1)
        return torch.cat([grad.flatten() for grad in torch.autograd.grad(loss(logits_BMC), parameters)])

    def ours(lam: float) -> Tensor:
        return gradients(lambda logits: Modular(lam=lam)(logits, y.unsqueeze(1).expand(-1, members), Categorical()))

    separate = gradients(lambda logits: sum((nn.functional.cross_entropy(logits[:, m], y) for m in range(members)),
                                            torch.zeros(())))  # fmt: skip
    ll = gradients(lambda logits: torch.stack([nn.functional.cross_entropy(logits[:, m], y) for m in range(4)]).mean())
    sm = gradients(lambda logits: nn.functional.nll_loss(logits.log_softmax(dim=-1).mean(dim=1), y))
    fc = gradients(lambda logits: nn.functional.cross_entropy(logits.mean(dim=1), y))
    torch.testing.assert_close(ll / sm, torch.ones_like(sm))
    torch.testing.assert_close(separate / sm, torch.full_like(sm, float(members)))
    assert float((fc / sm).std()) > 0.1
    torch.testing.assert_close(ours(0.0), sm)
    torch.testing.assert_close(ours(1.0), fc)


def unbounded(lam: float, likelihood: AnyLikelihood, sequence: list[tuple[Tensor, Tensor]], y: Tensor) -> list[float]:
    """Equation 10 with any lambda, for modules u, M v - u, 0, ... as in the proof of theorem 1."""
    losses = []
    for u, v in sequence:
        eta_BMC = torch.stack([u, 3 * v - u, torch.zeros_like(u)]).unsqueeze(0)
        joint = likelihood.nll(eta_BMC.mean(dim=1), y)
        own = likelihood.nll(eta_BMC, y.unsqueeze(1).expand(-1, 3, *y.shape[1:]))
        losses.append(float(lam * joint.mean() + (1 - lam) * own.mean()))
    return losses


@pytest.mark.parametrize("likelihood", [Gaussian(), Categorical()], ids=["Gaussian", "Categorical"])
def test_above_one_the_loss_falls_without_bound(likelihood: AnyLikelihood) -> None:
    """Theorem 1: A(v_l) - v_l mu grows without bound, and with u_l faster still."""
    y = torch.zeros(1, 2).double() if isinstance(likelihood, Gaussian) else torch.zeros(1, dtype=torch.long)
    direction = torch.tensor([-1.0, 1.0]).double()
    sequence = [(direction * 4.0**step, direction * 2.0**step) for step in range(6, 14)]
    losses = unbounded(1.2, likelihood, sequence, y)
    assert all(after < before for before, after in itertools.pairwise(losses))
    assert losses[-1] < -1e4
    joint = [float(likelihood.nll(v.unsqueeze(0), y)) for _, v in sequence]
    assert joint[-1] > 1e3  # the ensemble itself gets worse all the while
    assert min(unbounded(1.0, likelihood, sequence, y)) >= 0
    assert min(unbounded(0.5, likelihood, sequence, y)) >= 0


def test_a_schedule_moves_lambda_over_the_epochs() -> None:
    eta_BMC, _, targets_BM = case(Categorical())
    moving = Modular(lam=0.9, schedule="linear", start=0.1)
    for epoch, lam in [(0.0, 0.1), (5.0, 0.5), (10.0, 0.9), (12.0, 0.9)]:
        assert moving.lambda_at(Progress(epoch=epoch, epochs=10)) == pytest.approx(lam)
        still = Modular(lam=lam)(eta_BMC, targets_BM, Categorical())
        torch.testing.assert_close(
            moving(eta_BMC, targets_BM, Categorical(), progress=Progress(epoch=epoch, epochs=10)), still
        )
    assert moving.lambda_at(None) == 0.9
    assert Modular(lam=0.9).lambda_at(Progress(epoch=1.0, epochs=10)) == 0.9


def test_class_probabilities_are_targets_too() -> None:
    eta_BMC, _, _ = case(Categorical())
    probs = torch.rand(5, 3).double().softmax(dim=-1)
    loss = Modular(lam=0.5)(eta_BMC, probs.unsqueeze(1).expand(-1, 4, -1), Categorical())
    own = -(probs.unsqueeze(1) * eta_BMC.log_softmax(dim=-1)).sum(dim=-1).mean()
    joint = -(probs * eta_BMC.mean(dim=1).log_softmax(dim=-1)).sum(dim=-1).mean()
    torch.testing.assert_close(loss, 0.5 * own + 0.5 * joint)


@pytest.mark.parametrize(
    "method",
    [
        DeepEnsemble(members=3), Multihead(members=3), TreeNet(members=3), BatchEnsemble(members=3),
        MixtureEnsembles(members=3), ModularNetwork(members=3),
    ],
    ids=lambda method: method.name,
)  # fmt: skip
def test_every_method_whose_members_share_examples_takes_it(method: motet.Method) -> None:
    torch.manual_seed(0)
    net = motet.models.mlp(input_shape=(4,), num_classes=3, hidden=(8, 8)).double()
    x, y = torch.randn(9, 4).double(), torch.randint(3, (9,))
    ensemble = method.wrap(net, example=x[:1], objective=Modular(lam=0.8))
    assert ensemble.combination == "geometric"
    logits_BMC = ensemble(x)
    own = torch.stack([nn.functional.cross_entropy(logits_BMC[:, m], y) for m in range(3)]).mean()
    joint = nn.functional.cross_entropy(logits_BMC.mean(dim=1), y)
    loss = ensemble.loss(x, y)
    torch.testing.assert_close(loss, 0.8 * joint + 0.2 * own)
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in ensemble.parameters() if p.grad is not None)
    mean = ensemble.predict(x).probs
    torch.testing.assert_close(mean, ensemble.eval()(x).mean(dim=1).softmax(dim=-1))


def test_modular_network_is_a_deep_ensemble_under_the_modular_loss() -> None:
    net = motet.models.mlp(input_shape=(4,), num_classes=3, hidden=(8,))
    x, y = torch.randn(9, 4), torch.randint(3, (9,))
    torch.manual_seed(1)
    ours = ModularNetwork(members=5, lam=0.7, reduction="sum").wrap(net, example=x[:1])
    torch.manual_seed(1)
    theirs = DeepEnsemble(members=5).wrap(net, example=x[:1], objective=Modular(lam=0.7, reduction="sum"))
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.loss(x, y), theirs.loss(x, y))
    assert ours.combination == theirs.combination == "geometric"


def test_the_combination_can_be_chosen() -> None:
    net = motet.models.mlp(input_shape=(4,), num_classes=3, hidden=(8,))
    wrap, x = DeepEnsemble(members=2).wrap, torch.randn(1, 4)
    assert wrap(net, example=x).combination == "mixture"
    assert wrap(net, example=x, combination="geometric").combination == "geometric"
    assert wrap(net, example=x, objective=Modular(), combination="mixture").combination == "mixture"


@pytest.mark.parametrize("lam", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("method", [EarlyExit(), DUN(), MIMMO(members=2)], ids=lambda method: method.name)
def test_the_exits_of_a_member_can_be_its_modules(method: motet.Method, lam: float) -> None:
    torch.manual_seed(0)
    net = motet.models.mlp(input_shape=(4,), num_classes=3, hidden=(8, 8)).double()
    x, y = torch.randn(9, 4).double(), torch.randint(3, (9,))
    ensemble = method.wrap(net, example=x[:1], objective=ModularExits(lam=lam))
    generator = torch.Generator().manual_seed(3)
    batch = ensemble.grouping.deal(x, y, members=ensemble.members, generator=generator)
    exits = ensemble._run_batch(batch, ensemble.readout.outputs).detach()
    log_weights_MD = ensemble.network.weights().detach()  # type: ignore[operator,union-attr]
    total = 0.0
    for row in range(len(exits)):
        for member in range(ensemble.members):
            label, weights = int(batch.targets_BM[row, member]), log_weights_MD[member].exp()
            mean = sum((w * eta for w, eta in zip(weights, exits[row, member], strict=True)), torch.zeros(3).double())
            own = sum(float(w) * -float(eta.log_softmax(dim=0)[label])
                      for w, eta in zip(weights, exits[row, member], strict=True))  # fmt: skip
            total += lam * -float(mean.log_softmax(dim=0)[label]) + (1 - lam) * own
    loss = ensemble.loss(x, y, generator=torch.Generator().manual_seed(3))
    assert float(loss.detach()) == pytest.approx(total / len(exits), rel=1e-10)


@pytest.mark.parametrize("lam", [-0.1, 1.2, math.nan, math.inf])
@pytest.mark.parametrize("make", [
    lambda lam: Modular(lam=lam), lambda lam: Modular(start=lam), lambda lam: ModularNetwork(lam=lam),
    lambda lam: ModularExits(lam=lam),
])  # fmt: skip
def test_lambda_must_lie_between_0_and_1(make: Callable[[float], object], lam: float) -> None:
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        make(lam)
    if lam == 1.2:
        with pytest.raises(InputError, match="no lower bound"):
            make(lam)


@pytest.mark.parametrize(
    "objective", [Modular(lam=0.1), Modular(lam=0.0, schedule="linear", start=0.5), Joint()], ids=str
)
def test_members_that_see_different_examples_are_refused(objective: motet.Modular | motet.Joint) -> None:
    net = motet.models.mlp(input_shape=(4,), num_classes=3, hidden=(8,))
    with pytest.raises(InputError, match=r"lambda.*the grouping Permuted\(batch_repetition=4"):
        MIMO(members=2).wrap(net, example=torch.zeros(1, 4), objective=objective)
    with pytest.raises(InputError, match="members that see the same examples"):
        objective.check(Categorical(), Split())
    objective.check(Categorical(), Shared())
    objective.check(Categorical(), Permuted(input_repetition=1.0))


def test_what_needs_no_coupling_is_not_refused() -> None:
    net = motet.models.mlp(input_shape=(4,), num_classes=3, hidden=(8,))
    MIMO(members=2).wrap(net, example=torch.zeros(1, 4), objective=Modular(lam=0.0))
    MIMO(members=1).wrap(net, example=torch.zeros(1, 4), objective=Modular(lam=0.9))
    MCDropout(members=4).wrap(net, example=torch.zeros(1, 4), objective=Modular(lam=0.9))


def test_a_likelihood_outside_the_family_is_refused() -> None:
    class Laplace(AnyLikelihood):  # never observed here
        nll = mean = check_targets = geometric = mixture = average = None  # type: ignore[assignment]

    Laplace.__abstractmethods__ = frozenset()
    for objective in (Modular(lam=0.5), Joint()):
        with pytest.raises(InputError, match=r"natural exponential family.*the likelihood Laplace"):
            objective.check(Laplace(), Shared())
    with pytest.raises(InputError, match="natural exponential family"):
        ModularExits(lam=0.5).check(Laplace())
    net = motet.models.mlp(input_shape=(4,), num_classes=2, hidden=(8,))
    own_variance = HeteroscedasticGaussian()
    with pytest.raises(InputError, match=r"lambda=0.95 with the likelihood HeteroscedasticGaussian"):
        ModularNetwork(members=3).wrap(net, example=torch.zeros(1, 4), likelihood=own_variance)
    independent = ModularNetwork(members=3, lam=0.0).wrap(net, example=torch.zeros(1, 4), likelihood=own_variance)
    assert independent.loss(torch.randn(5, 4), torch.randn(5)).isfinite()
    Modular(lam=0.0).check(Laplace(), Permuted())
    ModularExits(lam=0.0).check(Laplace())


def test_other_bad_settings_are_refused(unchecked: None) -> None:
    with pytest.raises(InputError, match="schedule must be 'constant' or 'linear', but got 'cosine'"):
        Modular(schedule="cosine")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="reduction must be 'mean' or 'sum'"):
        Joint(reduction="none")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="members must be at least 1"):
        ModularNetwork(members=0)
    for members in (2.5, "3", None):
        with pytest.raises(InputError, match="members must be an integer"):
            ModularNetwork(members=members)  # type: ignore[arg-type]
    for lam in ("0.5", None, [0.5]):
        with pytest.raises(InputError, match="lam must be a number, but got lam="):
            ModularNetwork(lam=lam)  # type: ignore[arg-type]
    eta_BMC, _, targets_BM = case(Categorical())
    with pytest.raises(InputError, match="cannot weight members differently in each row"):
        Modular(lam=0.5)(eta_BMC, targets_BM, Categorical(), weights_BM=torch.ones(5, 4).double())
    weighted = Modular(lam=0.0)(eta_BMC, targets_BM, Categorical(), weights_BM=torch.full((5, 4), 2.0).double())
    torch.testing.assert_close(weighted, 2 * Modular(lam=0.0)(eta_BMC, targets_BM, Categorical()))

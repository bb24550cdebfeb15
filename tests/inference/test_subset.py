"""Some members of an ensemble as a smaller one, and prediction with some of them."""

import copy
import pickle

import pytest
import torch
from test_contract import ACROSS_MODELS, EVERY_METHOD
from torch import Tensor, nn

import motet
from motet.distributed import Grid
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.inference.subset import surviving_members
from motet.layers import Exits, SeparateNetworks, Stack, StackedLayer
from motet.methods import (
    MIMO,
    NCL,
    BatchEnsemble,
    DeepEnsemble,
    MCDropout,
    Method,
    MixtureEnsembles,
    ModularNetwork,
    Multihead,
    Single,
    TreeNet,
)
from motet.metrics import flops
from motet.testing import MODELS, Case, Subject

TRAINABLE = (Single, DeepEnsemble, ModularNetwork, NCL, Multihead, BatchEnsemble, TreeNet, MCDropout)
across_models = pytest.mark.parametrize("method", ACROSS_MODELS, ids=str)
every_method = pytest.mark.parametrize("method", EVERY_METHOD, ids=str)
every_model = pytest.mark.parametrize("case", MODELS.values(), ids=MODELS.keys())


def wrap(method: Method, case: Case) -> Ensemble:
    return method.wrap(case.model(), example=case.inputs(1))


def data(case: Case, rows: int = 6, method: Method | None = None) -> tuple[Tensor, Tensor]:
    return Subject(method=method or Single(), case=case).data(rows)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def trained(method: Method, case: Case) -> Ensemble:
    """With running statistics and coefficients other than the initial ones."""
    ensemble = wrap(method, case).train()
    with torch.no_grad():
        ensemble(data(case, 16)[0])
        for value in ensemble.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return ensemble


@pytest.mark.slow
@across_models
@every_model
def test_a_subset_predicts_what_its_members_predict_in_the_whole(method: Method, case: Case) -> None:
    ensemble, (x, _) = trained(method, case), data(case)
    before, modes = state(ensemble), [part.training for part in ensemble.modules()]
    whole = ensemble.predict(x).outputs_BMC
    indices = list(range(method.members))[::-2]
    expected = whole[:, indices]
    smaller = ensemble.subset(indices)
    assert smaller.members == len(indices)
    folded = ensemble.fold().subset(indices)
    assert folded.is_folded
    for outputs in (smaller.predict(x).outputs_BMC, ensemble.predict(x, members=indices).outputs_BMC, folded(x)):
        torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(smaller.fold()(x), expected, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in ensemble.state_dict().items())
    assert [part.training for part in ensemble.modules()] == modes
    assert all(value.requires_grad for value in ensemble.parameters())


@across_models
def test_a_members_network_is_that_member(method: Method) -> None:
    case = MODELS["conv2d"]
    ensemble, (x, _) = trained(method, case).eval(), data(case)
    for member in (0, -1):
        network, expected = ensemble.member(member), ensemble(x)[:, member]
        assert not isinstance(network, Ensemble)
        # One member's average over exits, whose weights add up to 1, is its log-probabilities.
        torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-12)
        with torch.no_grad():
            for value in network.parameters():
                value.zero_()
        torch.testing.assert_close(ensemble(x)[:, member], expected)


@pytest.mark.slow
@every_method
def test_a_subset_is_an_ensemble_like_any_other(method: Method) -> None:
    case = MODELS["mlp"]
    ensemble, (x, y) = trained(method, case), data(case, method=method)
    smaller = ensemble.subset([method.members - 1])
    outputs = smaller.predict(x).outputs_BMC
    for twin in (copy.deepcopy(smaller), pickle.loads(pickle.dumps(smaller)), smaller.subset(1), smaller.subset([-1])):
        torch.testing.assert_close(twin.predict(x).outputs_BMC, outputs, rtol=0, atol=0)
    other = trained(method, case).subset([method.members - 1])
    other.load_state_dict(smaller.state_dict())
    torch.testing.assert_close(other.predict(x).outputs_BMC, outputs, rtol=0, atol=0)
    assert f"members [{method.members - 1}]" in repr(smaller)
    assert smaller.summary().members == 1
    scores = motet.metrics.score(smaller.predict(x, targets=y))
    of_member = motet.metrics.score(ensemble.predict(x, targets=y, members=[method.members - 1]))
    if "accuracy" in scores:
        assert scores["accuracy"] == of_member["accuracy"]
    else:
        assert scores["rmse"] == pytest.approx(of_member["rmse"])
    # Nothing is shared with the ensemble that it was taken from.
    with torch.no_grad():
        for value in ensemble.parameters():
            value.zero_()
    torch.testing.assert_close(smaller.predict(x).outputs_BMC, outputs, rtol=0, atol=0)
    smaller.double().float().eval()(x.float())


@every_method
def test_a_subset_is_trained_on_where_members_allow_it(method: Method) -> None:
    ensemble, (x, y) = trained(method, MODELS["conv2d"]), data(MODELS["conv2d"], 16, method)
    smaller = ensemble.subset([0])
    if isinstance(smaller.network, Exits) and method.members == 1 and not smaller.is_folded:
        pass  # the whole of it
    elif not isinstance(method, TRAINABLE):
        assert smaller.is_folded
        assert not any(value.requires_grad for value in smaller.parameters())
        with pytest.raises(InputError, match="folded"):
            smaller.loss(x, y)
        return
    smaller.loss(x, y).backward()
    assert all(value.grad is not None for value in smaller.parameters())
    assert smaller.training


@pytest.mark.parametrize("execution", ["loop", "stacked"])
def test_a_deep_ensembles_subset_has_the_members_gradients(execution: str) -> None:
    case = MODELS["conv2d"]
    ensemble, (x, y) = trained(DeepEnsemble(members=3, execution=execution), case), data(case, 8)
    smaller = ensemble.subset([2, 0])
    ensemble.loss(x, y).backward()
    smaller.loss(x, y).backward()
    assert isinstance(smaller.network, SeparateNetworks if execution == "loop" else Stack)
    for place, member in enumerate((2, 0)):
        if execution == "loop":
            own, theirs = smaller.network.networks[place], ensemble.network.networks[member]
            pairs = [(one.grad, two.grad) for one, two in zip(own.parameters(), theirs.parameters(), strict=True)]
        else:
            pairs = []
            for (_, one), (_, two) in zip(smaller.named_parameters(), ensemble.named_parameters(), strict=True):
                pairs.append((one.grad.unflatten(0, (2, -1))[place], two.grad.unflatten(0, (3, -1))[member]))
        for one, two in pairs:
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_frozen_parameters_stay_frozen_and_modes_are_kept() -> None:
    for method in (DeepEnsemble(members=3, execution="stacked"), BatchEnsemble(members=3), Multihead(), TreeNet()):
        model = MODELS["conv2d"].model(torch.float32)
        ensemble = method.wrap(model, example=torch.randn(1, 2, 6, 6))
        ensemble.requires_grad_(False)
        next(iter(ensemble.network.children())).eval()
        smaller = ensemble.subset([0, 2])
        assert not any(value.requires_grad for value in smaller.parameters())
        assert {part.training for part in smaller.modules()} == {True, False}


@pytest.mark.slow
def test_a_subset_costs_what_its_members_cost() -> None:
    model = motet.models.mlp(input_shape=(8,), num_classes=10, hidden=(16, 16))
    x = torch.zeros(1, 8)
    one, body = flops(model, x), 2 * (8 * 16 + 16 * 16)
    sizes = sum(value.numel() for value in model.parameters())
    separate = DeepEnsemble(members=5), DeepEnsemble(members=5, execution="loop"), BatchEnsemble(members=5)
    for method in (*separate, MixtureEnsembles(members=5)):
        smaller = method.wrap(model, example=x).subset([4, 1])
        assert flops(smaller.fold(), x) == 2 * one
        if isinstance(method, DeepEnsemble):
            assert sum(value.numel() for value in smaller.parameters()) == 2 * sizes
    for method in (MIMO(members=5), Multihead(members=5)):
        assert flops(method.wrap(model, example=x).subset([4, 1]).fold(), x) == body + 2 * (2 * 16 * 10)
    tree = TreeNet(members=5, branch="layers.0") if "layers.0" in dict(model.named_modules()) else TreeNet(members=5)
    whole = tree.wrap(model, example=x)
    two, three = (flops(whole.subset(number), x) for number in (2, 3))
    assert two < three < flops(whole, x) < 5 * one


@every_method
def test_members_and_losses_in_prediction(method: Method) -> None:
    case, size = MODELS["mlp"], method.members
    ensemble, (x, y) = trained(method, case), data(case, method=method)
    whole = ensemble.predict(x).outputs_BMC
    for count in range(1, size + 1):
        first = ensemble.predict(x, members=count, targets=y, batch_size=4)
        torch.testing.assert_close(first.outputs_BMC, whole[:, :count], rtol=1e-10, atol=1e-12)
        assert first.targets is y
    for member in range(size if size > 1 else 0):
        left = [other for other in range(size) if other != member]
        damaged = ensemble.predict(x, lost=[member])
        torch.testing.assert_close(damaged.outputs_BMC, whole[:, left], rtol=1e-10, atol=1e-12)
        if damaged.likelihood.target_kind != "class":
            torch.testing.assert_close(damaged.mean.double(), whole[:, left].mean(dim=1))
        elif damaged.combination == "mixture":
            torch.testing.assert_close(damaged.probs, whole[:, left].softmax(dim=-1).mean(dim=1))
        else:
            torch.testing.assert_close(damaged.probs, whole[:, left].mean(dim=1).softmax(dim=-1))
    torch.testing.assert_close(ensemble.predict(x, lost=[]).outputs_BMC, whole, rtol=1e-10, atol=1e-12)
    seeded = [ensemble.predict(x, lost=0.5, generator=torch.Generator().manual_seed(1)).outputs_BMC for _ in range(2)]
    assert torch.equal(*seeded)
    assert ensemble.predict(x, lost=0.999999).members == 1


def test_losses_are_independent_and_spare_one() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = [surviving_members(0.3, range(4), 4, generator=generator) for _ in range(2000)]
    assert all(draws)
    for member in range(4):
        assert sum(member in draw for draw in draws) / 2000 == pytest.approx(0.7, abs=0.05)
    both = sum({0, 1} <= set(draw) for draw in draws) / 2000
    assert both == pytest.approx(0.49, abs=0.05)
    assert {surviving_members(0.99999, range(4), 4, generator=generator) for _ in range(100)} == {
        (0,),
        (1,),
        (2,),
        (3,),
    }
    assert surviving_members(0.0, (2, 1), 4) == (2, 1)
    assert surviving_members([1, -4], (2, 1, 0), 4) == (2,)


def test_bad_members_are_named(unchecked: None) -> None:
    ensemble = wrap(DeepEnsemble(members=3), MODELS["mlp"])
    x, _ = data(MODELS["mlp"])
    cases = [
        ([3], "indices of 3 members must lie in 0..2, but got index 3"),
        ([-4], "index -4"),
        ([0, 0], "once"),
        ([0, -3], "once"),
        ([], "at least one member"),
        ([0.5], "integers.*0.5"),
        ([True], "integers.*True"),
        (["0"], "integers"),
        ("01", "a number or a list of indices"),
        (0, r"1\.\.3.*members=0"),
        (4, r"1\.\.3"),
        (1.0, "a number or a list of indices"),
        (None, "a number or a list of indices"),
    ]
    for bad, message in cases:
        with pytest.raises(InputError, match=message):
            ensemble.subset(bad)
        if bad is not None:
            with pytest.raises(InputError, match=message):
                ensemble.predict(x, members=bad)
    with pytest.raises(InputError, match="index 3"):
        ensemble.member(3)
    for bad, message in [
        (1.0, r"\[0, 1\)"),
        (-0.1, r"\[0, 1\)"),
        (float("nan"), r"\[0, 1\)"),
        ([0, 1, 2], "at least one member must remain"),
        ([5], "index 5"),
        ([1, 1], "once"),
    ]:
        with pytest.raises(InputError, match=message):
            ensemble.predict(x, lost=bad)
    with pytest.raises(InputError, match="must remain"):
        ensemble.predict(x, members=[1], lost=[1])
    for good in (torch.tensor([2, 0]), torch.tensor([2, 0]).numpy(), (2, 0)):
        assert ensemble.subset(good).members == 2


def test_stacks_within_hold_the_chosen_members_only() -> None:
    ensemble = DeepEnsemble(members=4, execution="stacked").wrap(nn.Linear(3, 2), example=torch.zeros(1, 3))
    smaller = ensemble.subset([3])
    layers = [layer for layer in smaller.modules() if isinstance(layer, StackedLayer)]
    assert [layer.members for layer in layers] == [1]
    assert smaller.network.layout is smaller.layout is layers[0].layout
    assert smaller.layout is not ensemble.layout


def test_an_ensemble_over_several_processes_has_all_members_nowhere() -> None:
    grid = Grid(rank=0, member_ranks=2)
    ensemble = ModularNetwork(members=6).wrap(lambda: nn.Linear(4, 3), example=torch.zeros(1, 4), grid=grid)
    for part in (lambda: ensemble.subset(2), lambda: ensemble.predict(torch.zeros(1, 4), lost=0.5)):
        with pytest.raises(
            InputError, match=r"an ensemble of 6 members over several processes, where this process has 3.*load_run"
        ):
            part()
    assert ensemble.predict(torch.zeros(1, 4)).members == 3

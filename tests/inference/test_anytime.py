"""Predictions step after step."""

import copy
import gc
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from test_contract import ACROSS_MODELS
from test_subset import data, trained, wrap
from torch import Tensor, nn

import motet
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.layers import Exits, MultiHead, Stack
from motet.methods import DUN, MIMMO, BatchEnsemble, DeepEnsemble, EarlyExit, Method, MixtureEnsembles, TreeNet
from motet.testing import MODELS, Case

ONE_PASS = ("mimo", "mixmo", "datamux", "multihead", "single")
EXITS = (EarlyExit(), DUN(), MIMMO(members=2))


def steps_by_hand(ensemble: Ensemble, method: Method, x: Tensor) -> list[Tensor]:
    """The outputs after each step, from whole passes."""
    if isinstance(ensemble.network, Exits):
        outputs_BMDC = ensemble.forward_exits(x)
        weights_MD = ensemble.network.weights().exp()
        kept = [d for d in range(weights_MD.shape[1]) if weights_MD[:, d].max() >= ensemble.network.skip_below]
        found = []
        for last in range(1, len(kept) + 1):
            probs_BMC = torch.zeros_like(outputs_BMDC[:, :, 0])
            for depth in kept[:last]:
                share_M = weights_MD[:, depth] / weights_MD[:, kept[:last]].sum(dim=1)
                probs_BMC += share_M[:, None] * outputs_BMDC[:, :, depth].softmax(dim=-1)
            found.append(probs_BMC.log())
        return found
    outputs = ensemble(x)
    return [outputs] if method.name in ONE_PASS else [outputs[:, :m] for m in range(1, ensemble.members + 1)]


@pytest.mark.parametrize("method", ACROSS_MODELS, ids=str)
@pytest.mark.parametrize(
    "case", [MODELS[name] for name in ("mlp", "conv2d", "tokens")], ids=["mlp", "conv2d", "tokens"]
)
def test_steps_are_those_of_whole_passes(method: Method, case: Case) -> None:
    ensemble, (x, _) = trained(method, case), data(case)
    next(iter(ensemble.network.children())).eval()  # a mode of the user's own must survive
    modes = [part.training for part in ensemble.modules()]
    twin = copy.deepcopy(ensemble).eval()
    with torch.no_grad():
        expected = steps_by_hand(twin, method, x)
    found = []
    for prediction in ensemble.anytime(x):
        assert [part.training for part in ensemble.modules()] == modes
        assert torch.is_grad_enabled()
        assert not any(part._forward_hooks for part in ensemble.modules())
        assert not prediction.outputs_BMC.requires_grad
        found.append(prediction)
    assert len(found) == len(expected) == ensemble.steps
    for prediction, outputs in zip(found, expected, strict=True):
        got, wanted = prediction.outputs_BMC, outputs
        if isinstance(ensemble.network, Exits):  # the first exit alone has logits, not log-probabilities
            got = got.log_softmax(dim=-1)
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)
    last = ensemble.predict(x)
    torch.testing.assert_close(found[-1].outputs_BMC, last.outputs_BMC, rtol=1e-10, atol=1e-12)
    assert (found[-1].likelihood, found[-1].combination) == (last.likelihood, last.combination)
    folded = list(ensemble.fold().anytime(x))
    for one, two in zip(folded, found, strict=True):
        torch.testing.assert_close(one.outputs_BMC, two.outputs_BMC, rtol=1e-10, atol=1e-12)


def count_calls(ensemble: Ensemble, kinds: tuple[type[nn.Module], ...]) -> tuple[list[int], Callable[[], None]]:
    calls: list[int] = []
    handles = [
        part.register_forward_hook(lambda *_: calls.append(1)) for part in ensemble.modules() if type(part) in kinds
    ]
    return calls, lambda: [handle.remove() for handle in handles]  # type: ignore[return-value]


@pytest.mark.parametrize("method", EXITS, ids=str)
def test_no_layer_runs_before_it_is_needed_and_none_twice(method: Method) -> None:
    ensemble, (x, _) = trained(method, MODELS["wrn"]).eval(), data(MODELS["wrn"])
    ran: list[str] = []
    inner = ensemble.network.network
    for name, part in inner.named_modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda *_, name=name: ran.append(name))
    ensemble.predict(x)
    whole, ran[:] = list(ran), []
    steps = ensemble.anytime(x)
    assert ran == []
    lengths = []
    for _ in steps:
        lengths.append(len(ran))
    assert ran == whole
    assert lengths == sorted(set(lengths))  # each exit needs more of the network
    assert lengths[0] < lengths[-1]


def test_stacked_members_run_in_turn() -> None:
    ensemble = DeepEnsemble(members=3, execution="stacked").wrap(
        lambda: MODELS["conv2d"].model(torch.float32), example=torch.zeros(1, 2, 6, 6)
    )
    assert isinstance(ensemble.network, Stack)
    widths = []
    for layer in ensemble.network.network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            raise AssertionError("the model is to have none")
    ensemble.network.network.register_forward_hook(lambda _, args, out: widths.append(tuple(out.shape)))
    steps = ensemble.anytime(torch.zeros(5, 2, 6, 6))
    next(steps)
    assert widths == [(5, 3)]
    assert ensemble.network.active.member is None
    assert len(list(steps)) == 2
    assert widths == [(5, 3)] * 3


@pytest.mark.parametrize("method", EXITS, ids=str)
@pytest.mark.slow
def test_an_abandoned_pass_leaves_nothing_behind(method: Method) -> None:
    ensemble, (x, _) = wrap(method, MODELS["mlp"]).eval(), data(MODELS["mlp"])
    before = threading.active_count()
    ensemble.anytime(x)  # never begun
    steps = ensemble.anytime(x)
    next(steps)
    assert threading.active_count() == before + 1
    # In between the ensemble is free for whatever else.
    other = copy.deepcopy(ensemble)
    torch.testing.assert_close(other.predict(x).outputs_BMC, ensemble.predict(x).outputs_BMC)
    inside = [prediction.outputs_BMC for prediction in ensemble.anytime(x)]
    torch.testing.assert_close(next(steps).outputs_BMC, inside[1])
    steps.close()
    assert threading.active_count() == before
    steps = ensemble.anytime(x)
    next(steps)
    del steps
    gc.collect()
    assert threading.active_count() == before
    for prediction in ensemble.anytime(x):
        assert prediction.members == method.members
        break
    gc.collect()
    assert threading.active_count() == before
    assert not any(part._forward_hooks for part in ensemble.modules())


def test_an_error_inside_the_network_comes_out() -> None:
    class Fails(nn.Module):
        fail = False

        def forward(self, x: Tensor) -> Tensor:
            if self.fail:
                raise ZeroDivisionError("inside")
            return x

    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), Fails(), nn.Linear(6, 3))
    ensemble = EarlyExit(exits=("1",)).wrap(model, example=torch.zeros(1, 4))
    ensemble.network.network[4].fail = True
    before = threading.active_count()
    steps = ensemble.anytime(torch.zeros(2, 4))
    next(steps)
    with pytest.raises(ZeroDivisionError, match="inside"):
        next(steps)
    assert threading.active_count() == before


def test_a_point_that_does_not_run_is_named() -> None:
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out, self.skip = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3), False

        def forward(self, x: Tensor) -> Tensor:
            h = self.one(x)
            return self.out(h if self.skip else self.two(h))

    ensemble = EarlyExit(exits=("two",)).wrap(Skips(), example=torch.zeros(1, 4))
    ensemble.network.network.skip = True
    with pytest.raises(InputError, match="'two', which did not"):
        list(ensemble.anytime(torch.zeros(2, 4)))


@pytest.mark.slow
def test_rows_can_leave_between_steps() -> None:
    for method in (*EXITS, DeepEnsemble(members=3), BatchEnsemble(members=3), TreeNet(), MixtureEnsembles(members=3)):
        ensemble, (x, _) = trained(method, MODELS["conv2d"]).eval(), data(MODELS["conv2d"], 9)
        whole = [outputs.clone() for outputs in ensemble.in_steps(x)]
        kept, left = ensemble.in_steps(x), torch.arange(9)
        for outputs, wanted in zip(kept, whole, strict=True):
            torch.testing.assert_close(outputs, wanted[left], rtol=1e-10, atol=1e-12)
            chosen = torch.tensor([0, 2, 1])[: len(left) - 1 or 1]
            if wanted is not whole[-1]:
                kept.send(chosen)
                left = left[chosen]


def test_exits_keep_the_surroundings_of_the_caller() -> None:
    ensemble = EarlyExit(exits=("1",)).wrap(
        nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 3)), example=torch.zeros(1, 4)
    )
    x = torch.randn(5, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = ensemble.predict(x).outputs_BMC
        *_, last = ensemble.anytime(x)
    torch.testing.assert_close(last.outputs_BMC, expected, rtol=0, atol=0)
    assert not torch.equal(expected, ensemble.predict(x).outputs_BMC)


def test_regression_members_and_exits_are_averaged() -> None:
    model = motet.models.mlp(input_shape=(4,), num_classes=2, hidden=(5, 5)).double()
    x = torch.randn(6, 4).double()
    for method in (DeepEnsemble(members=2), EarlyExit()):
        ensemble = method.wrap(model, example=x[:1], likelihood=motet.Gaussian())
        *_, last = ensemble.anytime(x)
        torch.testing.assert_close(last.mean, ensemble.predict(x).mean)


def test_bad_inputs_are_refused_at_once() -> None:
    ensemble = wrap(DeepEnsemble(members=2), MODELS["mlp"])
    with pytest.raises(InputError, match="an empty batch"):
        ensemble.anytime(torch.zeros(0, 4))
    with pytest.raises(InputError, match="2 axes"):
        ensemble.anytime(torch.zeros(3, 2, 4))
    assert not any(isinstance(part, MultiHead) for part in ensemble.modules())
    assert replace(EarlyExit(), exits=()).wrap(nn.Linear(4, 3), example=torch.zeros(1, 4)).steps == 1


@pytest.mark.parametrize("method", [DeepEnsemble(members=3), *EXITS], ids=str)
def test_inference_mode_may_end_between_two_steps(method: Method) -> None:
    ensemble, (x, _) = trained(method, MODELS["mlp"]), data(MODELS["mlp"])
    steps = ensemble.anytime(x)
    with torch.inference_mode():
        next(steps)
    torch.testing.assert_close(list(steps)[-1].mean, ensemble.predict(x).mean)

"""What the ensemble does beside the laws of the contract: exits, members' own inputs, wrong shapes, its parameters."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.grouping import Shared
from motet.layers import DepthWeights, Exits, Layout, MultiHead, ParameterRoles
from motet.layers.parameter_roles import parameter_groups
from motet.likelihoods import Categorical, Gaussian
from motet.methods import MIMO, DataMUX, DeepEnsemble, Method, MixMo, Multihead, Single
from motet.objectives import ExitObjective, Independent
from motet.types import Batch, Progress


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)).double()


EXAMPLE = torch.zeros(1, 4, dtype=torch.float64)


class Weighted(ExitObjective):
    """Sum over members and depths of weight times NLL, averaged over rows; notes what it was given."""

    seen: ClassVar[list[Progress | None]] = []

    def __call__(self, exits_BMDC, targets_BM, likelihood, *, log_weights_MD, progress=None) -> Tensor:
        self.seen.append(progress)
        depths = exits_BMDC.shape[2]
        nll = likelihood.nll(exits_BMDC, targets_BM.unsqueeze(2).expand(-1, -1, depths))
        return (nll * log_weights_MD.exp()).sum(dim=(1, 2)).mean()


def with_exits(members: int = 2, objective=None, likelihood=None) -> Ensemble:
    network = net()
    network[4] = MultiHead(network[4], torch.randn(members, 3, 6).double(), torch.randn(members, 3).double())
    head = nn.Sequential(nn.Linear(8, 6).double(), network[4])
    return Ensemble(
        Exits(network, ["1"], [head], DepthWeights(members, 2, learned=True).double()),
        members=members,
        description="exits",
        likelihood=likelihood or Categorical(),
        objective=objective or Weighted(),
        grouping=Shared(),
        layout=Layout(),
    )


def test_exits_are_those_of_the_parts() -> None:
    ensemble, x = with_exits(), torch.randn(5, 4).double()
    network, head = ensemble.network.network, ensemble.network.heads[0]
    exits_BMDC = ensemble.forward_exits(x)
    assert exits_BMDC.shape == (5, 2, 2, 3)
    features = network[1](network[0](x))
    for member in range(2):
        torch.testing.assert_close(exits_BMDC[:, member, 0], head(features).chunk(2)[member])
        torch.testing.assert_close(exits_BMDC[:, member, 1], network(x).chunk(2)[member])
    assert not any(part._forward_hooks for part in ensemble.modules())


def test_forward_averages_over_depths_with_each_members_weights() -> None:
    ensemble, x = with_exits(), torch.randn(5, 4).double()
    with torch.no_grad():
        ensemble.network.weights.logits_MD.copy_(torch.tensor([[0.0, 2.0], [1.0, -1.0]]))
    weights_MD = ensemble.network.weights().exp()
    torch.testing.assert_close(weights_MD.sum(dim=1), torch.ones(2).double())
    exits_BMDC = ensemble.forward_exits(x)
    expected = torch.stack(
        [sum(weights_MD[m, d] * exits_BMDC[:, m, d].softmax(-1) for d in range(2)) for m in range(2)], dim=1
    )
    torch.testing.assert_close(ensemble(x).exp(), expected)
    torch.testing.assert_close(ensemble.predict(x).member_probs, expected)
    gaussian = with_exits(likelihood=Gaussian())
    exits_BMDC = gaussian.forward_exits(x)
    torch.testing.assert_close(gaussian(x), exits_BMDC.mean(dim=2))


def test_the_exits_objective_gets_weights_and_progress() -> None:
    ensemble, x, y = with_exits(), torch.randn(5, 4).double(), torch.randint(3, (5,))
    progress = Progress(epoch=1.5, epochs=3)
    loss = ensemble.loss(x, y, progress=progress)
    assert Weighted.seen[-1] is progress
    assert progress.fraction == 0.5
    assert Progress(epoch=4.0, epochs=3).fraction == 1
    logs = ensemble.forward_exits(x).log_softmax(-1)
    expected = -sum(logs[b, m, d, y[b]] / 2 for b in range(5) for m in range(2) for d in range(2)) / 5
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert ensemble.network.weights.logits_MD.grad.any()


def test_other_objectives_take_the_average_over_depths() -> None:
    ensemble, x, y = (
        with_exits(objective=Independent(reduction="mean")),
        torch.randn(5, 4).double(),
        torch.zeros(5).long(),
    )
    torch.testing.assert_close(ensemble.loss(x, y), -ensemble(x)[:, :, 0].mean())


def test_exits_are_asked_for_where_there_are_none() -> None:
    ensemble = Single().wrap(net(), example=EXAMPLE)
    with pytest.raises(InputError, match=r"outputs at several depths.*Single\(\).*EarlyExit"):
        ensemble.forward_exits(EXAMPLE)
    with pytest.raises(InputError, match="the objective Weighted needs outputs at several depths"):
        Single().wrap(net(), example=EXAMPLE, objective=Weighted())


def test_depth_logits_are_never_decayed_and_one_depth_has_none() -> None:
    groups = with_exits().parameter_groups(weight_decay=0.1)
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(8, 0.1), (1, 0.0)]
    assert list(DepthWeights(2, 1, learned=True).parameters()) == []
    assert list(DepthWeights(2, 3, learned=False).parameters()) == []
    assert DepthWeights(2, 4, learned=False)().exp().tolist() == [[0.25] * 4] * 2


@pytest.mark.parametrize(
    "method", [MIMO(members=3), MixMo(members=3), DataMUX(members=3), DeepEnsemble(members=3)], ids=str
)
def test_members_predict_different_inputs_in_one_pass(method: Method) -> None:
    ensemble = method.wrap(net(), example=EXAMPLE).eval()
    x_BM = torch.randn(5, 3, 4).double()
    outputs_BMC = ensemble.forward_distinct(x_BM)
    assert outputs_BMC.shape == (5, 3, 3)
    same = x_BM[:, :1].expand(-1, 3, -1)
    torch.testing.assert_close(ensemble.forward_distinct(same), ensemble(x_BM[:, 0]))
    if isinstance(method, DeepEnsemble):
        for member in range(3):
            torch.testing.assert_close(outputs_BMC[:, member], ensemble(x_BM[:, member])[:, member])


def test_throughput_use_needs_inputs_of_the_members_own(unchecked: None) -> None:
    x_BM = torch.randn(5, 3, 4).double()
    for method, message in [
        (
            Multihead(members=3),
            r"need a method with separate inputs, but got Multihead\(members=3\), whose.*MIMO, MixMo",
        ),
        (MIMO(members=2), r"shape \(batch, 2, ...\)"),
    ]:
        with pytest.raises(InputError, match=message):
            method.wrap(net(), example=EXAMPLE).forward_distinct(x_BM)
    with pytest.raises(InputError, match="folded"):
        MIMO(members=3).wrap(net(), example=EXAMPLE).fold().forward_distinct(x_BM)
    with pytest.raises(InputError, match="2 axes, like the example"):
        MIMO(members=3).wrap(net(), example=EXAMPLE).forward_distinct(x_BM.unsqueeze(-1))
    for wrong in (x_BM[:, :2], x_BM[:, 0, 0], x_BM[0, 0, 0]):
        with pytest.raises(InputError, match=r"must have shape \(batch, 3, ...\), but got shape .*unflatten"):
            MIMO(members=3).wrap(net(), example=EXAMPLE).forward_distinct(wrong)


@pytest.mark.parametrize(
    ("method", "can"),
    [
        (Single(), True),
        (Multihead(members=1), True),
        (Multihead(members=2), False),
        (DeepEnsemble(members=2), True),
        (MIMO(members=2), True),
        (MixMo(members=2), True),
        (DataMUX(members=2), True),
        (DataMUX(members=2, transform="identity"), True),
    ],
    ids=str,
)
def test_it_knows_whether_its_members_have_inputs_of_their_own(method: Method, can: bool) -> None:
    ensemble = method.wrap(net(), example=EXAMPLE)
    assert ensemble.has_distinct_inputs == can
    assert not ensemble.fold().has_distinct_inputs


@pytest.mark.parametrize("method", [Single(), MIMO(members=3), Multihead(members=3), DeepEnsemble(members=3)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_a_batch_of_the_wrong_shape_is_never_answered(method: Method, training: bool, unchecked: None) -> None:
    ensemble = method.wrap(net(), example=EXAMPLE).train(training)
    x, y = torch.randn(6, 3, 4).double(), torch.zeros(6).long()
    for call in (lambda: ensemble(x), lambda: ensemble.predict(x), lambda: ensemble.loss(x, y)):
        with pytest.raises(
            InputError, match=r"one batch with 2 axes, like the example passed to wrap, but got shape \("
        ):
            call()
    # A linear layer would take it as one row of features.
    with pytest.raises(InputError, match="one batch with 2 axes"):
        ensemble(x[0, 0])


def test_a_batch_for_other_members_is_refused() -> None:
    ensemble = MIMO(members=3).wrap(net(), example=EXAMPLE)
    x = torch.randn(6, 4).double()
    with pytest.raises(InputError, match=r"targets must have shape \(batch, 3, ...\), but got shape \(6, 2\)"):
        ensemble.forward_batch(Batch(inputs=x, targets_BM=torch.zeros(6, 2).long(), distinct=False))


def test_layers_say_what_is_special_about_their_parameters() -> None:
    class Fast(ParameterRoles):
        undecayed_parameters = frozenset({"fast"})
        parameter_lr_scales: ClassVar = {"fast": 0.5, "bias": 0.5}

        def __init__(self) -> None:
            super().__init__()
            self.fast, self.bias, self.slow = (nn.Parameter(torch.zeros(2)) for _ in range(3))

    class OwnNorm(ParameterRoles):
        is_norm = True

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(2))

    module = nn.Sequential(Fast(), OwnNorm())
    fast, norm = module
    groups = parameter_groups(module, weight_decay=0.1, decay_norm_and_bias=True, learning_rate=2.0)
    assert [
        ([id(value) for value in group["params"]], group["weight_decay"], group.get("lr_scale"), group.get("lr"))
        for group in groups
    ] == [
        ([id(fast.slow), id(norm.scale)], 0.1, None, None),
        ([id(fast.bias)], 0.1, 0.5, 1.0),
        ([id(fast.fast)], 0.0, 0.5, 1.0),
    ]
    spared = parameter_groups(module, weight_decay=0.1, decay_norm_and_bias=False)
    assert [id(value) for group in spared if group["weight_decay"] for value in group["params"]] == [id(fast.slow)]
    assert all("lr" not in group for group in spared)
    torch.optim.SGD(groups, lr=2.0)


def test_a_members_loss_may_weigh_differently_from_row_to_row() -> None:
    outputs, targets = torch.randn(4, 2, 3).double(), torch.randint(3, (4, 2))
    weights = torch.rand(4, 2).double()
    loss = Independent(reduction="sum")(outputs, targets, Categorical(), weights_BM=weights)
    logs = outputs.log_softmax(-1)
    expected = -sum(weights[b, m] * logs[b, m, targets[b, m]] for b in range(4) for m in range(2)) / 4
    torch.testing.assert_close(loss, expected)

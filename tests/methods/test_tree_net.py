"""TreeNet against a loop over whole plain networks that share their trunk, with the same weights."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet.errors import InputError
from motet.layers import Branches, Tile
from motet.methods import DeepEnsemble, Multihead, TreeNet
from motet.surgery import member_network

K = 3


class Attention(nn.Module):
    """A bare parameter before the point; attention, and a block with a bare parameter, behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.positions, self.norm = nn.Linear(4, 6), nn.Parameter(torch.randn(3, 6)), nn.LayerNorm(6)
        self.attention, self.block = nn.MultiheadAttention(6, 2, batch_first=True), Scale()
        self.out = nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.embed(x) + self.positions)
        return self.out(self.block(self.attention(query=h, key=h, value=h, need_weights=False)[0]).mean(dim=1))


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(6))

    def forward(self, h: Tensor) -> Tensor:
        return (h * self.scale).tanh()


CASES = {
    "mlp": (lambda: motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(5, 6)), (4,), "2"),
    "mlp default": (lambda: motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(5, 6)), (4,), None),
    "cnn": (lambda: motet.models.small_cnn(num_classes=K, in_channels=1), (1, 4, 4), "5"),
    "wrn": (lambda: motet.models.wide_resnet(depth=10, width=1, num_classes=K, in_channels=1), (1, 4, 4), None),
    "wrn inside": (
        lambda: motet.models.wide_resnet(depth=10, width=1, num_classes=K, in_channels=1),
        (1, 4, 4),
        "group2.0",
    ),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(16, K)), (2, 6), "0"),
    "tokens": (Attention, (3, 4), "norm"),
    "input": (lambda: motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(5,)), (4,), "input"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("given", ["module", "function"])
@pytest.mark.parametrize("distinct", [True, False])
def test_a_step_equals_a_loop_over_networks_that_share_the_trunk(name: str, given: str, distinct: bool) -> None:
    make, shape, branch = CASES[name]
    model = make().double()
    ensemble = TreeNet(members=3, branch=branch).wrap(
        model if given == "module" else lambda: make().double(), example=torch.randn(1, *shape).double()
    )
    networks = [member_network(ensemble.network, member) for member in range(3)]
    for network in networks:
        assert [type(part) for part in network.modules() if not isinstance(part, nn.Identity | nn.Sequential)] == [
            type(part) for part in model.modules() if not isinstance(part, nn.Identity | nn.Sequential)
        ]
    x_BM, y = torch.randn(5, 3, *shape).double(), torch.randint(K, (5,))
    # In evaluation where rows are the members' own: a shared norm would see all of them at once.
    for module in (ensemble, *networks):
        module.train(not distinct)
    outputs = ensemble.forward_distinct(x_BM) if distinct else ensemble(x_BM[:, 0])
    expected = [network(x_BM[:, m if distinct else 0]) for m, network in enumerate(networks)]
    torch.testing.assert_close(outputs, torch.stack(expected, dim=1), rtol=1e-10, atol=1e-11)
    (F.cross_entropy(outputs.transpose(1, 2), y.unsqueeze(1).expand(-1, 3)) * 3).backward()
    torch.stack([F.cross_entropy(logits, y) for logits in expected]).sum().backward()
    if branch == "input":
        return
    shared = 0
    for key, parameter in ensemble.network.named_parameters():
        # Members' copies lie beside each other; the trunk's gradient is the sum over members.
        if ".branches." in key:
            before, after = key.split(".branches.")
            member, rest = after.split(".", 1)
            one = networks[int(member)].get_parameter(f"{before}.{rest}").grad
        else:
            own = key.replace("inner.", "")  # the tile stands around the point's module
            one, shared = sum(network.get_parameter(own).grad for network in networks), shared + 1
        torch.testing.assert_close(parameter.grad, one, rtol=1e-8, atol=1e-10, msg=key)
    assert shared


def test_wide_resnets_branch_behind_their_second_group() -> None:
    for depth in (10, 16):
        model = motet.models.wide_resnet(depth=depth, width=1, num_classes=K)
        network = TreeNet(members=2).wrap(model, example=torch.zeros(1, 3, 8, 8)).network
        assert isinstance(network.group2.post, Tile)
        assert [key for key, part in network.named_modules() if isinstance(part, Branches)] == [
            "group3",
            "norm",
            "head",
        ]


def test_branched_before_the_last_layer_it_is_multihead() -> None:
    model = motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(5, 6)).double()
    x, y = torch.randn(6, 4).double(), torch.randint(K, (6,))
    tree = TreeNet(members=3, branch="4").wrap(model, example=x[:1])
    heads = Multihead(members=3).wrap(model, example=x[:1])
    with torch.no_grad():
        branches = tree.network[5].branches
        heads.network[5].layer.weight.copy_(torch.cat([branch.weight for branch in branches]))
        heads.network[5].layer.bias.copy_(torch.cat([branch.bias for branch in branches]))
    torch.testing.assert_close(tree(x), heads(x), rtol=1e-12, atol=1e-12)
    losses = [each.loss(x, y) for each in (tree, heads)]
    torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(tree.network[1].weight.grad, heads.network[1].weight.grad, rtol=1e-10, atol=1e-12)
    stacked = torch.cat([branch.weight.grad for branch in branches])
    torch.testing.assert_close(stacked, heads.network[5].layer.weight.grad, rtol=1e-10, atol=1e-12)


def test_branched_at_the_input_it_is_a_deep_ensemble() -> None:
    model, x = motet.models.small_cnn(num_classes=K, in_channels=1), torch.randn(3, 1, 4, 4)
    made = []
    for method in (TreeNet(members=2, branch="input"), DeepEnsemble(members=2)):
        torch.manual_seed(5)
        made.append(method.wrap(model, example=x[:1]))
    assert torch.equal(made[0](x), made[1](x))
    assert list(made[0].state_dict()) == list(made[1].state_dict())


def test_initial_weights_of_branches() -> None:
    model, x = motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(5, 6)), torch.randn(3, 4)
    fresh = TreeNet(members=3, branch="2").wrap(model, example=x[:1])
    torch.testing.assert_close(fresh(x)[:, 0], model(x))
    first, second, _ = fresh.network[3].branches
    assert not torch.equal(first.weight, second.weight)
    kept = TreeNet(members=3, branch="2").wrap(model, example=x[:1], init="keep")
    torch.testing.assert_close(kept(x).mean(dim=1), model(x), rtol=1e-4, atol=1e-5)
    assert (kept(x)[:, 0] - kept(x)[:, 1]).abs().max() > 1e-3
    model[3].weight.requires_grad_(False)
    frozen = TreeNet(members=2, branch="2").wrap(model, example=x[:1])
    assert [key for key, value in frozen.named_parameters() if not value.requires_grad] == [
        "network.3.branches.0.weight",
        "network.3.branches.1.weight",
    ]


def test_branches_may_write_on_what_they_are_given() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.Dropout(0.5, inplace=True), nn.Linear(6, K)))
    ensemble = TreeNet(members=3, branch="0").wrap(model, example=torch.zeros(1, 4)).train()
    ensemble.loss(torch.randn(5, 4), torch.randint(K, (5,))).backward()
    assert all(value.grad is not None for value in ensemble.parameters())


class Straddling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.body, self.out = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, K)
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(self.fc(x)) * self.scale)


def test_points_that_do_not_divide_the_model_are_refused() -> None:
    model, example = Straddling(), torch.zeros(2, 4)
    with pytest.raises(InputError, match="modules that run only there, but got branch='fc', where 'scale' is used"):
        TreeNet(branch="fc").wrap(model, example=example)
    with pytest.raises(InputError, match="after the branching point, but got branch='out'"):
        TreeNet(branch="out").wrap(model, example=example)
    with pytest.raises(InputError, match=r"name submodules of the model, but got 'bodi'.*Did you mean 'body'"):
        TreeNet(branch="bodi").wrap(model, example=example)
    twice = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, K))
    twice[2].weight = twice[0].weight
    with pytest.raises(InputError, match=r"weight' (is|are) used on both sides"):
        TreeNet(branch="1").wrap(twice, example=example)
    # By default such points are passed over: everything behind 'fc' but the head would need the bare parameter.
    ensemble = TreeNet(members=2).wrap(model, example=example)
    assert not any(isinstance(part, Branches) for part in ensemble.modules())
    assert copy.deepcopy(ensemble)(example).shape == (2, 2, K)


def test_the_summary_tells_trunk_from_branches() -> None:
    model = motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(5, 6))
    summary = TreeNet(members=3, branch="2").wrap(model, example=torch.zeros(1, 4)).summary()
    assert summary.shared == 4 * 5 + 5
    assert summary.own == 3 * (5 * 6 + 6 + 6 * K + K)


def test_a_transformer_may_branch_inside_one_of_torchs_encoder_layers() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Linear(3, 8), nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Flatten())
    model.append(nn.Linear(40, 2))
    x = torch.randn(4, 5, 3)
    ensemble = TreeNet(members=2, branch="1.layers.0.norm1").wrap(model, example=x[:1]).eval()
    with torch.no_grad():
        fused = ensemble(x)
        torch.testing.assert_close(member_network(ensemble.network, 1)(x), fused[:, 1])
    torch.testing.assert_close(fused, ensemble(x))

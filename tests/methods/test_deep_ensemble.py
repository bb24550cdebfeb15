import copy
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.methods import DeepEnsemble

K = 3


class Tokens(nn.Module):
    """Bare parameters, norm statistics and a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 8))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 6, 8))
        self.norm, self.out = nn.BatchNorm1d(8), nn.Linear(8, K)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        h = torch.cat([self.cls_token.expand(len(x), -1, -1), self.embed(x)], dim=1) + self.positions
        return self.out(self.norm(h.tanh().mean(dim=1)))


def tensors(networks: Iterable[nn.Module]) -> list[Tensor]:
    return [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]


def share_memory(networks: Iterable[nn.Module]) -> bool:
    places = [tensor.data_ptr() for tensor in tensors(networks)]
    return len(set(places)) < len(places)


@pytest.mark.parametrize("init", ["fresh", "keep"])
@pytest.mark.parametrize("given", ["module", "function"])
def test_members_share_neither_parameters_nor_buffers(init: str, given: str) -> None:
    model = Tokens()
    networks = (
        DeepEnsemble(members=3, execution="loop")
        .wrap(model if given == "module" else Tokens, example=torch.zeros(1, 5, 4), init=init)
        .network.networks
    )
    assert not share_memory([model, *networks])


@pytest.mark.parametrize("given", ["module", "function"])
def test_fresh_members_begin_elsewhere_bare_parameters_included(given: str) -> None:
    model = Tokens()
    example = torch.randn(2, 5, 4)
    ensemble = DeepEnsemble(members=3, execution="loop").wrap(model if given == "module" else Tokens, example=example)
    networks = ensemble.network.networks
    for one in range(3):
        for other in range(one):
            for name in ("embed.weight", "embed.bias", "cls_token", "positions", "out.weight", "out.bias"):
                assert not torch.equal(networks[one].get_parameter(name), networks[other].get_parameter(name)), name
    for network in networks:
        assert torch.equal(network.norm.weight, torch.ones(8))
        assert network.positions.std().item() == pytest.approx(0.02, rel=0.3)
    if given == "module":
        torch.testing.assert_close(ensemble.eval()(example)[:, 0], copy.deepcopy(model).eval()(example))


def test_a_functions_members_have_the_initialisation_it_gives_them() -> None:
    made = []

    def build() -> nn.Module:
        layer = nn.Linear(4, K)
        nn.init.constant_(layer.weight, len(made))
        made.append(layer)
        return layer

    networks = DeepEnsemble(members=3, execution="loop").wrap(build, example=torch.zeros(1, 4)).network.networks
    assert [network.weight[0, 0].item() for network in networks] == [0.0, 1.0, 2.0]


def test_kept_members_begin_around_the_model_and_not_all_in_one_place() -> None:
    model, example = Tokens(), torch.randn(4, 5, 4)
    before = copy.deepcopy(model).eval()(example)
    for given in (model, lambda: model):
        ensemble = DeepEnsemble(members=3).wrap(given, example=example, init="keep").eval()
        outputs = ensemble(example)
        # Only the linear output layers are nudged, by draws that add up to zero.
        torch.testing.assert_close(outputs.mean(dim=1), before)
        spread = (outputs - before.unsqueeze(1)).std() / before.std()
        assert 0.01 < spread < 0.3


def test_a_function_that_gives_one_module_again_and_again_is_refused() -> None:
    model, body = nn.Linear(4, K), nn.Linear(4, 4)
    for build in (lambda: model, lambda: nn.Sequential(body, nn.Linear(4, K))):
        with pytest.raises(InputError, match="new module at each call, but got modules that share parameters"):
            DeepEnsemble(members=2).wrap(build, example=torch.zeros(1, 4))


def test_weights_tied_within_a_member_stay_tied() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    networks = DeepEnsemble(members=2, execution="loop").wrap(model, example=torch.zeros(1, 4)).network.networks
    assert all(network[2].weight is network[0].weight for network in networks)
    assert networks[0][0].weight is not networks[1][0].weight


def test_gradients_and_statistics_are_those_of_training_each_member_alone() -> None:
    ensemble = (
        DeepEnsemble(members=3, execution="loop").wrap(Tokens().double(), example=torch.zeros(1, 5, 4).double()).train()
    )
    alone = [copy.deepcopy(network) for network in ensemble.network.networks]
    x, y = torch.randn(8, 5, 4).double(), torch.randint(K, (8,))
    loss = ensemble.loss(x, y)
    loss.backward()
    total = 0.0
    for network, single in zip(ensemble.network.networks, alone, strict=True):
        own = F.cross_entropy(single(x), y)
        own.backward()
        total += own.item()
        for one, other in zip(network.parameters(), single.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12)
        for one, other in zip(network.buffers(), single.buffers(), strict=True):
            torch.testing.assert_close(one, other)
    assert loss.item() == pytest.approx(total, rel=1e-12)


def test_steps_leave_members_as_if_trained_alone() -> None:
    ensemble = DeepEnsemble(members=2, execution="loop").wrap(
        nn.Linear(4, K).double(), example=torch.zeros(1, 4).double()
    )
    alone = [copy.deepcopy(network) for network in ensemble.network.networks]
    optimizers = [
        torch.optim.SGD(parameters, lr=0.5, momentum=0.9, weight_decay=0.1)
        for parameters in (ensemble.parameters(), alone[0].parameters(), alone[1].parameters())
    ]
    for _ in range(5):
        x, y = torch.randn(8, 4).double(), torch.randint(K, (8,))
        for optimizer in optimizers:
            optimizer.zero_grad()
        ensemble.loss(x, y).backward()
        for network in alone:
            F.cross_entropy(network(x), y).backward()
        for optimizer in optimizers:
            optimizer.step()
    for network, single in zip(ensemble.network.networks, alone, strict=True):
        torch.testing.assert_close(network.weight, single.weight)


def test_indices_are_inputs_too() -> None:
    model = nn.Sequential(nn.Embedding(7, 4, padding_idx=0), nn.Flatten(), nn.Linear(12, K))
    x = torch.randint(7, (5, 3))
    ensemble = DeepEnsemble(members=2, execution="loop").wrap(model, example=x[:1])
    ensemble.loss(x, torch.randint(K, (5,))).backward()
    assert ensemble.predict(x).probs.shape == (5, K)
    assert not any(network[0].weight[0].any() for network in ensemble.network.networks)


def test_members_must_not_write_on_the_input_that_they_share() -> None:
    class Centred(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.sub_(1))

    with pytest.raises(
        InputError, match="must not change it in place, but got a model that changes its input in place"
    ):
        DeepEnsemble(members=2).wrap(Centred(4, K), example=torch.zeros(1, 4))
    assert DeepEnsemble(members=1).wrap(Centred(4, K), example=torch.zeros(1, 4)).members == 1


def test_the_models_own_state_is_not_drawn_anew() -> None:
    model = Tokens()
    model.seen.fill_(5)
    model.embed.weight.requires_grad_(False)
    ensemble = DeepEnsemble(members=2, execution="loop").wrap(model, example=torch.zeros(1, 5, 4))
    for network in ensemble.network.networks:
        assert network.seen.item() == 5
        assert torch.equal(network.embed.weight, model.embed.weight)
        assert not network.embed.weight.requires_grad


def test_the_defaults_and_their_limits(unchecked: None) -> None:
    assert DeepEnsemble().members == 4
    with pytest.raises(InputError, match="init must be 'fresh' or 'keep', but got 'warm'"):
        DeepEnsemble().wrap(nn.Linear(4, 3), example=torch.zeros(1, 4), init="warm")

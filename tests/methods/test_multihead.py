import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet.errors import InputError
from motet.layers import MultiHead
from motet.methods import Multihead

K = 3


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, K)).double()


@pytest.mark.parametrize("members", [1, 2, 4])
def test_outputs_and_gradients_equal_a_loop_over_heads(members: int) -> None:
    model = net()
    ensemble = Multihead(members=members).wrap(model, example=torch.zeros(1, 5).double())
    layer = ensemble.network[2].layer
    body, heads = copy.deepcopy(model[:2]), []
    for m in range(members):
        head = copy.deepcopy(model[2])
        with torch.no_grad():
            head.weight.copy_(layer.weight[m * K : (m + 1) * K])
            head.bias.copy_(layer.bias[m * K : (m + 1) * K])
        heads.append(head)
    x, y = torch.randn(7, 5).double(), torch.randint(K, (7,))
    expected = [head(body(x)) for head in heads]
    torch.testing.assert_close(ensemble(x), torch.stack(expected, dim=1), rtol=1e-10, atol=1e-12)
    loss = ensemble.loss(x, y)
    slow = sum(F.cross_entropy(logits, y) for logits in expected)
    torch.testing.assert_close(loss, slow, rtol=1e-10, atol=1e-12)
    loss.backward()
    slow.backward()
    torch.testing.assert_close(layer.weight.grad, torch.cat([head.weight.grad for head in heads]))
    torch.testing.assert_close(layer.bias.grad, torch.cat([head.bias.grad for head in heads]))
    torch.testing.assert_close(ensemble.network[0].weight.grad, body[0].weight.grad, rtol=1e-10, atol=1e-12)


def test_heads_are_drawn_alike_and_differ() -> None:
    model = net()
    ensemble = Multihead(members=3).wrap(model, example=torch.zeros(1, 5).double())
    weights = ensemble.network[2].layer.weight.unflatten(0, (3, K))
    assert torch.equal(weights[0], model[2].weight)
    assert len({tuple(weight.flatten().tolist()) for weight in weights}) == 3
    biases = ensemble.network[2].layer.bias.unflatten(0, (3, K))
    assert torch.equal(biases[0], model[2].bias)
    assert len({tuple(bias.tolist()) for bias in biases}) > 1
    assert torch.equal(ensemble.network[0].weight, model[0].weight)


def test_zero_biases_stay_zero() -> None:
    model = motet.models.small_cnn(num_classes=K, in_channels=1)
    ensemble = Multihead(members=3).wrap(model, example=torch.zeros(1, 1, 8, 8))
    assert not ensemble.network[-1].layer.bias.any()


def test_a_model_that_is_one_layer_becomes_its_heads() -> None:
    ensemble = Multihead(members=3).wrap(nn.Linear(4, K), example=torch.zeros(1, 4))
    assert isinstance(ensemble.network, MultiHead)
    assert ensemble(torch.zeros(2, 4)).shape == (2, 3, K)
    assert ensemble.fold()(torch.zeros(2, 4)).shape == (2, 3, K)


def test_inputs_may_be_indices() -> None:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, K))
    x = torch.randint(7, (5, 3))
    ensemble = Multihead(members=2).wrap(model, example=x[:1])
    assert ensemble.predict(x).member_probs.shape == (5, 2, K)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.a, self.b = nn.Linear(5, 8), nn.Linear(8, K), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x).relu()
        return self.a(h) + self.b(h)


def test_two_output_layers_are_replaced_when_both_are_named() -> None:
    model, x = TwoHeads(), torch.randn(4, 5)
    with pytest.raises(InputError, match=r"2 candidates: 'a', 'b'.*last=\('a', 'b'\)"):
        Multihead(members=2).wrap(model, example=x)
    ensemble = Multihead(members=2).wrap(model, example=x, last=("a", "b"))
    h = model.body(x).relu()
    torch.testing.assert_close(ensemble(x)[:, 0], model(x))
    layers = [ensemble.network.get_submodule(name).layer for name in ("a", "b")]
    second = sum(h @ layer.weight[K:].T + layer.bias[K:] for layer in layers)
    torch.testing.assert_close(ensemble(x)[:, 1], second)


@pytest.mark.parametrize("rows", [1, 3])
def test_one_of_two_output_layers_is_not_enough(rows: int) -> None:
    with pytest.raises(InputError, match="must work row by row"):
        Multihead(members=2).wrap(TwoHeads(), example=torch.zeros(rows, 5), last="a")


def test_the_default_is_three_heads() -> None:
    assert Multihead().members == 3

"""MC dropout against a loop over plain networks with the masks multiplied in by hand."""

import copy
import pickle

import pytest
import torch
from small_models import FusedEncoder
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet.errors import InputError
from motet.layers import SampleDropout, Tile
from motet.methods import MCDropout
from motet.surgery import SharedNetwork, member_network

K = 3


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.out = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        return self.out((h + self.mix(h.relu())).mean(dim=1))


MODELS = {
    "mlp": (lambda: motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(5,)), (4,)),
    "cnn": (lambda: motet.models.small_cnn(num_classes=K, in_channels=1), (1, 4, 4)),
    "wrn": (lambda: motet.models.wide_resnet(depth=10, width=1, num_classes=K, in_channels=1), (1, 4, 4)),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(16, K)), (2, 6)),
    "tokens": (Tokens, (3, 4)),
}


def dropouts(module: nn.Module) -> list[SampleDropout]:
    return sorted((part for part in module.modules() if isinstance(part, SampleDropout)), key=lambda part: part.index)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("where", [None, "last"])
def test_outputs_and_gradients_equal_a_loop_over_masked_networks(name: str, where: str | None) -> None:
    make, shape = MODELS[name]
    model, x = make().double().eval(), torch.randn(4, *shape).double()
    last = [key for key, part in model.named_modules() if isinstance(part, nn.Linear)][-1]
    names = (last,) if where else None
    ensemble = MCDropout(rate=0.4, members=3, where=names).wrap(model, example=x[:1]).eval()
    layers = [part for key, part in model.named_modules() if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d)
              and (where is None or key == last)]  # fmt: skip
    assert len(dropouts(ensemble)) == len(layers)
    ensemble(x)
    expected = []
    for sample in range(3):
        handles = [
            layer.register_forward_pre_hook(lambda _, args, mask=dropout._drawn[sample]: (args[0] * mask,))
            for layer, dropout in zip(layers, dropouts(ensemble), strict=True)
        ]
        expected.append(model(x))
        for handle in handles:
            handle.remove()
        torch.testing.assert_close(member_network(ensemble.network, sample).eval()(x), expected[-1])
    torch.testing.assert_close(ensemble(x), torch.stack(expected, dim=1), rtol=1e-10, atol=1e-11)
    y = torch.randint(K, (4,))
    slow = torch.stack([F.cross_entropy(logits, y) for logits in expected]).sum()
    slow.backward()
    fast = F.cross_entropy(ensemble(x).transpose(1, 2), y.unsqueeze(1).expand(-1, 3)) * 3
    fast.backward()
    for one, other in zip(ensemble.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-11)
    own = torch.randn(4, 3, *shape).double()
    distinct = ensemble.forward_distinct(own)
    for sample in range(3):
        alone = ensemble(own[:, sample])[:, sample]
        torch.testing.assert_close(distinct[:, sample], alone, rtol=1e-10, atol=1e-11)


def test_fixed_masks_do_not_depend_on_batch_call_ensemble_or_number_of_samples() -> None:
    model, x = MODELS["cnn"][0](), torch.randn(5, 1, 4, 4)
    one = MCDropout(rate=0.5, members=2).wrap(model, example=x[:1])
    more = MCDropout(rate=0.5, members=5).wrap(model, example=x[:1])
    other = MCDropout(rate=0.5, members=2, seed=1).wrap(model, example=x[:1])
    outputs = one.predict(x).outputs_BMC
    torch.testing.assert_close(one.predict(x[3:4]).outputs_BMC, outputs[3:4])
    torch.testing.assert_close(more.predict(x).outputs_BMC[:, :2], outputs)
    assert not torch.allclose(other.predict(x).outputs_BMC, outputs)
    assert not torch.allclose(outputs[:, 0], outputs[:, 1])
    torch.testing.assert_close(pickle.loads(pickle.dumps(copy.deepcopy(one))).predict(x).outputs_BMC, outputs)
    single = MCDropout(rate=0.5, members=1).wrap(model, example=x[:1])
    torch.testing.assert_close(single.predict(x).outputs_BMC, outputs[:, :1])
    masks = [dropout.fixed(torch.Size((4, 4)), x) for dropout in dropouts(one)]
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == len(masks)
    assert set(masks[0].unique().tolist()) == {0.0, 2.0}


def test_fresh_masks_are_drawn_at_every_call_and_for_every_row() -> None:
    model, x = nn.Linear(64, K), torch.ones(4, 64)
    ensemble = MCDropout(rate=0.5, members=2, masks="fresh").wrap(model, example=x[:1])
    outputs = ensemble.predict(x).outputs_BMC
    assert len({tuple(row.tolist()) for row in outputs.flatten(0, 1)}) == 8
    assert not torch.equal(ensemble.predict(x).outputs_BMC, outputs)
    many = MCDropout(rate=0.5, members=2000, masks="fresh").wrap(model, example=x[:1]).predict(x[:1])
    torch.testing.assert_close(many.outputs_BMC.mean(dim=1), model(x[:1]), rtol=0.0, atol=0.1)


def test_a_training_step_is_one_of_ordinary_dropout() -> None:
    model, x, y = nn.Linear(8, K), torch.randn(6, 8), torch.randint(K, (6,))
    ensemble = MCDropout(rate=0.3, members=4).wrap(model, example=x[:1])
    torch.manual_seed(3)
    loss = ensemble.loss(x, y)
    torch.manual_seed(3)
    torch.testing.assert_close(loss, F.cross_entropy(model(F.dropout(x, 0.3)), y))
    assert ensemble.train()(x).shape == (6, 4, K)


def test_rows_are_tiled_as_late_as_can_be() -> None:
    seen: list[int] = []
    model = MODELS["wrn"][0]()
    ensemble = MCDropout(members=3, where=("group3", "head")).wrap(model, example=torch.zeros(1, 1, 4, 4))
    network = ensemble.network
    assert isinstance(network.group2.post, Tile)
    for part in (network.group1, network.group3):
        part.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    ensemble(torch.zeros(2, 1, 4, 4))
    assert seen == [2, 6]
    whole = MCDropout(members=3).wrap(model, example=torch.zeros(1, 1, 4, 4)).network
    assert isinstance(whole, SharedNetwork)
    assert whole.tiles


def test_the_models_own_dropout_is_off_at_test() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.9), nn.Linear(6, K))
    ensemble = MCDropout(rate=0.0, members=2).wrap(model, example=torch.zeros(1, 4))
    x = torch.randn(3, 4)
    torch.testing.assert_close(ensemble.predict(x).outputs_BMC[:, 0], model.eval()(x))


def test_settings_and_models_that_do_not_fit(unchecked: None) -> None:
    for settings, message in [
        ({"rate": 1.0}, r"\[0, 1\), but got rate=1.0"),
        ({"rate": -0.1}, "rate=-0.1"),
        ({"members": 0}, "members=0"),
        ({"masks": "new"}, "fixed, fresh, but got 'new'"),
        ({"where": "fc"}, "must be a tuple"),
        ({"where": ()}, "must be a tuple"),
    ]:
        with pytest.raises(InputError, match=message):
            MCDropout(**settings)
    model, example = MODELS["wrn"][0](), torch.zeros(1, 1, 4, 4)
    with pytest.raises(InputError, match=r"names? modules of the model, but got 'group4'.*Did you mean 'group"):
        MCDropout(where=("group4",)).wrap(model, example=example)
    with pytest.raises(InputError, match=r"must contain a Linear.*'norm', a BatchNorm2d"):
        MCDropout(where=("norm",)).wrap(model, example=example)
    with pytest.raises(InputError, match="needs a Linear"):
        MCDropout().wrap(nn.Flatten(), example=torch.zeros(1, 2, 2))


def test_torchs_fused_encoder_layers_do_not_go_past_the_masks() -> None:
    method = MCDropout(rate=0.3, members=2, where=("body.layers.0.linear1",))
    ensemble = method.wrap(FusedEncoder(K), example=torch.zeros(1, 5, 3)).eval()
    x = torch.randn(4, 5, 3)
    with torch.no_grad():
        fused = ensemble(x)
        torch.testing.assert_close(member_network(ensemble.network, 1)(x), fused[:, 1])
    torch.testing.assert_close(fused, ensemble(x))  # with gradients torch does not fuse
    assert not torch.allclose(fused[:, 0], fused[:, 1])


def test_masks_drawn_in_inference_mode_serve_passes_with_gradients() -> None:
    ensemble = MCDropout(rate=0.3, members=2).wrap(nn.Linear(3, 2), example=torch.zeros(1, 5, 3)[:, 0]).eval()
    tokens = MCDropout(rate=0.3, members=2).wrap(FusedEncoder(K), example=torch.zeros(1, 5, 3)).eval()
    for each, x in ((ensemble, torch.randn(4, 3)), (tokens, torch.randn(4, 6, 3))):
        with torch.inference_mode():
            before = each(x)
        x.requires_grad_(True)
        after = each(x)
        after.sum().backward()
        torch.testing.assert_close(after.detach(), before.clone())
        assert x.grad is not None

"""Every kind of layer under the methods that convert layers, against a loop over members."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from kinds_of_layers import CASES, SEQUENCES, Attends, Case, K, Packed, Recurrent, TwoInputs, floats, tokens
from torch import Tensor, nn
from torch.func import functional_call

from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.layers import Attention, FastRecurrent, FastTransposed, FastWeights, SampleDropout
from motet.methods import MIMO, BatchEnsemble, EarlyExit, MCDropout, MixtureEnsembles, Multihead
from motet.surgery import member_network
from motet.surgery.convertible_layers import split_attention

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
CLOSE = {"rtol": 1e-9, "atol": 1e-10}


def scales(alpha: Tensor, gamma: Tensor, groups: int) -> Tensor:
    """``(out, in / groups)``: sum_r gamma_r alpha_r^T, in which an output reads the inputs of its group."""
    outputs, inputs = gamma.shape[1], alpha.shape[1] // groups
    rows = []
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        rows.append(sum(g[o] * a[first : first + inputs] for a, g in zip(alpha, gamma, strict=True)))
    return torch.stack(rows)


def own_weights(network: nn.Module, leaves: dict[str, Tensor], m: int) -> dict[str, Tensor]:
    """The parameters of member m in a model whose attention is split."""
    own: dict[str, Tensor] = {}
    inside: list[str] = []
    for name, layer in network.named_modules():
        at = f"{name}." if name else ""
        if any(at.startswith(each) for each in inside):
            continue
        if isinstance(layer, FastRecurrent):
            for key in layer.weights:
                alpha, gamma = leaves[f"{at}fast_in_{key}"][m], leaves[f"{at}fast_out_{key}"][m]
                own[at + key] = leaves[f"{at}slow.{key}"] * scales(alpha, gamma, 1)
            own |= {at + key: leaves[f"{at}member_{key}"][m] for key in layer.biases}
        elif isinstance(layer, FastWeights | FastTransposed):
            weight, groups = leaves[f"{at}slow.weight"], getattr(layer.slow, "groups", 1)
            alpha, gamma = leaves[f"{at}fast_in"][m], leaves[f"{at}fast_out"][m]
            factor = scales(alpha, gamma, groups)
            if isinstance(layer, FastTransposed):  # (in, out / groups): the input reaches the outputs of its group
                factor = torch.cat([part.T for part in factor.chunk(groups)])
            own[f"{at}weight"] = weight * factor.view(*factor.shape, *[1] * (weight.ndim - 2))
            if layer.biases is not None:
                own[f"{at}bias"] = leaves[f"{at}biases"][m]
        else:
            own |= {at + key: leaves[at + key] for key, _ in layer.named_parameters(recurse=False)}
            continue
        inside.append(at)
    return own


def joined(own: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The same with torch's own parameters of attention."""
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            for kind in ("weight", "bias"):
                parts = [own.pop(f"{name}.{each}_proj.{kind}", None) for each in "qkv"]
                if kind == "weight" and module.in_proj_weight is None:
                    own |= {f"{name}.{each}_proj_weight": part for each, part in zip("qkv", parts, strict=True)}
                elif parts[0] is not None:
                    own[f"{name}.in_proj_{kind}"] = torch.cat(parts)
    return own


def check_same(model: nn.Module, ensemble: Ensemble, x: Tensor) -> None:
    """Outputs and gradients equal those of a loop over members."""
    network = ensemble.network.network
    leaves = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}
    members = [joined(own_weights(network, leaves, m), model) for m in range(ensemble.members)]
    assert members[0].keys() == dict(model.named_parameters()).keys()
    expected = torch.stack([functional_call(model, own, (x,)) for own in members], dim=1)
    found, pull = ensemble(x), torch.randn_like(expected)
    torch.testing.assert_close(found, expected, **CLOSE)
    network.zero_grad()
    (found * pull).sum().backward()
    (expected * pull).sum().backward()
    for name, value in network.named_parameters():
        torch.testing.assert_close(value.grad, leaves[name].grad, **CLOSE, msg=name)
    distinct = ensemble.forward_distinct(torch.stack([x, x.roll(1, 0), 2 * x], dim=1)[:, : ensemble.members])
    inputs = [x, x.roll(1, 0), 2 * x][: ensemble.members]
    separate = [functional_call(model, own, (each,)) for own, each in zip(members, inputs, strict=True)]
    torch.testing.assert_close(distinct, torch.stack(separate, dim=1), **CLOSE)
    with torch.no_grad():
        torch.testing.assert_close(ensemble.eval()(x), expected, **CLOSE)


def check_members(model: nn.Module, ensemble: Ensemble, x: Tensor) -> None:
    """Members, subsets and folds compute what the ensemble computes, and members have the model's own structure."""
    ensemble.eval()
    expected = ensemble(x)
    for m in range(ensemble.members):
        alone = member_network(ensemble.network, m).eval()
        torch.testing.assert_close(alone(x), expected[:, m], **CLOSE)
    torch.testing.assert_close(ensemble.subset([2, 0])(x), expected[:, [2, 0]], **CLOSE)
    torch.testing.assert_close(ensemble.fold()(x), expected, **CLOSE)


@every_case
@pytest.mark.parametrize("settings", [{}, {"rank": 2}], ids=str)
@pytest.mark.parametrize("init", ["fresh", "keep"])
def test_batch_ensemble_equals_a_loop_over_members(case: Case, settings: dict[str, int], init: str) -> None:
    make, inputs = case
    model, x = make().double(), inputs(5)
    ensemble = BatchEnsemble(members=3, **settings).wrap(model, example=x[:1], init=init)
    check_same(model, ensemble, x)
    check_members(model, ensemble, x)
    kinds = [type(part) for part in model.modules()]
    for network in ensemble.fold().network.networks:
        assert [type(part) for part in network.modules()] == kinds
        assert network.state_dict().keys() == model.state_dict().keys()
    if init == "keep":  # the members' mean is the model
        for name, value in ensemble.network.named_parameters():
            if "fast_" in name:
                mean = torch.full_like(value[0], settings.get("rank", 1) ** -0.5)
                torch.testing.assert_close(value.mean(dim=0), mean)
            elif "biases" in name or "member_bias" in name:
                torch.testing.assert_close(value, value[:1].expand_as(value), rtol=0, atol=0)


@every_case
def test_the_roles_of_batch_ensembles_parameters(case: Case) -> None:
    make, inputs = case
    model = make().double()
    ensemble = BatchEnsemble(members=3, fast_weight_lr_scale=0.5).wrap(model, example=inputs(1))
    groups = ensemble.parameter_groups(weight_decay=0.1, decay_norm_and_bias=False)
    found = {
        id(value): (group["weight_decay"], group.get("lr_scale", 1)) for group in groups for value in group["params"]
    }
    own = 0
    for name, value in ensemble.network.named_parameters():
        if "fast_" in name or "biases" in name or "member_bias" in name:
            assert found[id(value)] == (0.0, 0.5), name
            own += value.numel()
        elif ".slow." in name:
            assert found[id(value)] == (0.1, 1), name
        else:
            assert found[id(value)][1] == 1, name
    assert ensemble.summary().own == own
    assert ensemble.summary().shared + own == sum(value.numel() for value in ensemble.parameters())


def fixed_masks(ensemble: Ensemble, m: int) -> Iterator[tuple[str, Callable[[nn.Module, tuple[Tensor, ...]], object]]]:
    """The names of layers with dropout, and hooks that multiply their input by the member's mask."""
    for name, module in ensemble.network.named_modules():
        if isinstance(module, SampleDropout):

            def hook(_: nn.Module, args: tuple[Tensor, ...], dropout: SampleDropout = module) -> object:
                rows = args[0].transpose(0, dropout.axis)
                masked = rows * dropout.fixed(args[0].movedim(dropout.axis, 0).shape[1:], args[0])[m]
                return (masked.transpose(0, dropout.axis), *args[1:])

            yield name.removeprefix("network.").removesuffix(".pre"), hook


@every_case
def test_mc_dropout_equals_a_loop_over_masks(case: Case) -> None:
    make, inputs = case
    model, x = make().double(), inputs(5)
    ensemble = MCDropout(members=3, rate=0.3).wrap(model, example=x[:1]).eval()
    outputs = []
    for m in range(3):
        twin = split_attention(copy.deepcopy(model)).eval()
        hooks = list(fixed_masks(ensemble, m))
        layers = {name.replace(".inner", ""): hook for name, hook in hooks}
        assert len(layers) == len(hooks) > 1
        for name, hook in layers.items():
            twin.get_submodule(name).register_forward_pre_hook(hook)
        outputs.append(twin(x))
    torch.testing.assert_close(ensemble(x), torch.stack(outputs, dim=1), **CLOSE)
    check_members(model, ensemble, x)
    ensemble.train()(x).sum().backward()
    assert all(value.grad is not None for value in ensemble.network.parameters() if value.requires_grad)
    assert not torch.equal(ensemble(x), ensemble(x))


@pytest.mark.parametrize("name", [name for name in CASES if "Conv" in name or "tten" in name or name == "transformer"])
def test_mixture_ensembles_equals_a_loop_over_members(name: str) -> None:
    make, inputs = CASES[name]
    model, x = make().double(), inputs(5)
    ensemble = MixtureEnsembles(members=3, bank_single_layers=True).wrap(model, example=x[:1])
    banks = ensemble.network.banks
    split = split_attention(copy.deepcopy(model))
    read = sum(len(bank.shapes) for bank in banks)
    mixable = [part for part in split.modules() if isinstance(part, nn.Linear | nn.modules.conv._ConvNd)]
    assert read == len(mixable)
    found = ensemble(x)
    twins = []
    for m, network in enumerate(ensemble.network.members.networks):
        twin = copy.deepcopy(split)
        own = dict(network.named_parameters())
        with torch.no_grad():
            for key, value in twin.named_parameters():
                layer, _, kind = key.rpartition(".")
                made = network.get_submodule(layer)
                if hasattr(made, "source") and kind == "weight":
                    bank, coefficients = made.source[0], made.source[0].coefficients(made.layer_index)[m]
                    templates = bank.templates(made.layer_index, m)
                    value.copy_(sum(c * t for c, t in zip(coefficients, templates, strict=True)))
                else:
                    value.copy_(own[f"{layer}.layer.bias" if hasattr(made, "source") else key])
        twins.append(twin)
    expected = torch.stack([twin(x) for twin in twins], dim=1)
    torch.testing.assert_close(found, expected, **CLOSE)
    pull = torch.randn_like(expected)
    (found * pull).sum().backward()
    (expected * pull).sum().backward()
    for m, network in enumerate(ensemble.network.members.networks):
        for key, value in network.named_parameters():
            same = twins[m].get_parameter(key.replace(".layer.bias", ".bias"))
            torch.testing.assert_close(value.grad, same.grad, **CLOSE, msg=key)
    # The gradient of a coefficient is the product of its template with the gradient of the member's weight.
    for bank in banks:
        wanted = torch.zeros_like(bank.coefficients_MR)
        for m, network in enumerate(ensemble.network.members.networks):
            for key, part in network.named_modules():
                if hasattr(part, "source") and part.source[0] is bank:
                    grad = twins[m].get_parameter(f"{key}.weight").grad
                    first = sum(bank.counts[: part.layer_index])
                    for t, template in enumerate(bank.templates(part.layer_index, m)):
                        wanted[m, first + t] += (template * grad).sum()
        torch.testing.assert_close(bank.coefficients_MR.grad, wanted, **CLOSE)
    check_members(model, ensemble, x)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_mixture_ensembles_share_recurrent_layers(kind: type[nn.Module]) -> None:
    x = SEQUENCES(5)
    ensemble = MixtureEnsembles(members=3).wrap(Recurrent(kind).double(), example=x[:1])
    networks = ensemble.network.members.networks
    assert type(networks[0].rnn) is kind
    assert len({id(network.rnn) for network in networks}) == 1
    check_members(networks[0], ensemble, x)


@pytest.mark.parametrize("method", [BatchEnsemble(members=3), MCDropout(members=3), MixtureEnsembles(members=3)])
def test_embeddings_and_bilinear_layers_are_shared(method: BatchEnsemble) -> None:
    embedding = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(15, 8), nn.Linear(8, K)).double()
    bag = nn.Sequential(nn.EmbeddingBag(7, 6), nn.Linear(6, 8), nn.Linear(8, K)).double()
    for model, x in ((embedding, tokens(5)), (bag, tokens(5)), (TwoInputs().double(), floats(5)(5))):
        ensemble = method.wrap(model, example=x[:1])
        kind = next(
            type(part) for part in model.modules() if isinstance(part, nn.Embedding | nn.EmbeddingBag | nn.Bilinear)
        )
        assert len([part for part in ensemble.network.modules() if type(part) is kind]) == 1
        check_members(model, ensemble, x)


def test_attention_with_the_batch_on_axis_1_stays_as_it_is() -> None:
    x = floats(5, 6)(5)
    model = Attends(batch_first=False).double()
    for method in (BatchEnsemble(members=3), MCDropout(members=3), MixtureEnsembles(members=3)):
        ensemble = method.wrap(
            nn.Sequential(nn.Linear(6, 6).double(), *[model], nn.Linear(K, K).double()), example=x[:1]
        )
        assert not any(isinstance(part, Attention) for part in ensemble.network.modules())
        check_members(model, ensemble, x)


def test_recurrent_layers_that_read_packed_sequences_are_shared_with_the_reason() -> None:
    x = SEQUENCES(5)
    for method in (BatchEnsemble(members=3), MCDropout(members=3)):
        ensemble = method.wrap(Packed().double(), example=x[:1])
        assert [type(part) for part in ensemble.network.modules() if isinstance(part, nn.LSTM | FastRecurrent)] == [
            nn.LSTM
        ]
        check_members(Packed(), ensemble, x)
    fast = BatchEnsemble(members=2).wrap(Recurrent(nn.LSTM), example=torch.zeros(1, 5, 3)).network.network.rnn
    with pytest.raises(InputError, match="got a PackedSequence, whose rows are interleaved"):
        fast(nn.utils.rnn.pack_padded_sequence(torch.zeros(4, 5, 4), torch.full((4,), 5), batch_first=True))
    with pytest.raises(InputError, match="a sequence of shape"):
        fast(torch.zeros(5, 4))


def test_mimo_and_heads_and_exits_with_volumes() -> None:
    make, inputs = CASES["Conv3d"]
    x = inputs(5)
    model = make().double()
    ensemble = MIMO(members=3).wrap(model, example=x[:1])
    torch.testing.assert_close(ensemble.fold()(x), ensemble.eval()(x), **CLOSE)
    x_BM = torch.stack([x, x.roll(1, 0), x.flip(0)], dim=1)
    layer = ensemble.network.network[0] if hasattr(ensemble.network, "network") else ensemble.network[0]
    # The sum over members of their kernels on their inputs, by the definition.
    wide = layer.layer
    total = wide.bias.view(-1, 1, 1, 1)
    for m, kernel in enumerate(layer.kernels):
        total = total + nn.functional.conv3d(x_BM[:, m], kernel, groups=wide.groups)
    seen: list[Tensor] = []
    layer.register_forward_hook(lambda _, args, output: seen.append(output))
    ensemble.forward_distinct(x_BM)
    torch.testing.assert_close(seen[0], total, **CLOSE)
    heads = Multihead(members=3).wrap(
        nn.Sequential(nn.Conv3d(2, 4, 2), nn.Conv3d(4, K, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten()).double(),
        example=x[:1],
    )
    check_members(model, heads, x)
    body = nn.Sequential(nn.Conv3d(2, 4, 2), nn.Tanh(), nn.Conv3d(4, 6, 1), nn.Tanh(), nn.AdaptiveAvgPool3d(1))
    early = EarlyExit().wrap(nn.Sequential(*body, nn.Flatten(), nn.Linear(6, K)).double(), example=x[:1])
    assert early.eval()(x).shape[-1] == K
    with torch.no_grad():
        quick = early(x)
    torch.testing.assert_close(quick, early(x), **CLOSE)

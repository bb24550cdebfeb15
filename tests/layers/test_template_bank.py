"""Banks against templates written out entry by entry."""

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.layers import Bank, Layout, ParameterBlob, SeparateNetworks, TemplateBank, TemplateLayer, TemplateMembers
from motet.layers.templates.blob import permutations

SHAPES = [(3, 2), (3, 2), (3, 2)]
MIXED = [(3, 2), (2, 2, 3), (4, 1, 1, 2), (5, 2)]


def bank_of(n: int, *, members: int = 2, wanted: int = 2, disjoint: bool = False, shapes=SHAPES) -> TemplateBank:
    readers = members if disjoint else 1
    counts = TemplateBank.choose_counts(n, shapes, wanted=wanted, readers=readers)
    return TemplateBank(
        torch.randn(n).double(),
        torch.randn(members, sum(counts)).double(),
        shapes=shapes,
        counts=counts,
        disjoint=disjoint,
    )


def blob_of(
    n: int, *, members: int = 2, wanted: int = 2, disjoint: bool = False, filling: str = "tile", shapes=MIXED
) -> ParameterBlob:
    readers = members if disjoint else 1
    counts = ParameterBlob.choose_counts(n, shapes, wanted=wanted, readers=readers, filling=filling)
    coefficients = torch.randn(members, sum(counts)).double()
    return ParameterBlob(
        torch.randn(n).double(), coefficients, shapes=shapes, counts=counts, disjoint=disjoint, filling=filling
    )


def slow_weight(bank: Bank, entries: Tensor, coefficients_MR: Tensor, layer: int, member: int) -> Tensor:
    """The definition, entry by entry; blobs that are not enlarged, and whole templates only."""
    members, n, shape = len(coefficients_MR), len(entries), bank.shapes[layer]
    size, count = math.prod(shape), bank.counts[layer]
    first = sum(bank.counts[:layer])
    total = []
    for i in range(size):
        entry = 0
        for t in range(count):
            if isinstance(bank, TemplateBank):
                turn = layer * members + member if bank.disjoint else layer
                place = (turn * count + t) % math.ceil(n / size) * size + i
            else:
                before = sum(c * math.prod(s) for c, s in zip(bank.counts[:layer], bank.shapes[:layer], strict=True))
                place = (before * members + member * count * size) if bank.disjoint else before
                place += t * size + i
                if bank.filling == "permute" and size > n:
                    begin = before * members if bank.disjoint else before
                    turn, inside = divmod(place - begin, n)
                    place = begin + int(permutations(n, turn + 1)[turn, inside])
            entry = entry + coefficients_MR[member, first + t] * entries[place % n]
        total.append(entry)
    return torch.stack(total).view(shape)


EVERY = [
    *(lambda n=n, d=d, w=w: bank_of(n, disjoint=d, wanted=w) for n in (6, 7, 17, 18, 40) for d in (False, True)
      for w in (1, 2, 9)),
    *(lambda n=n, d=d, w=w: blob_of(n, disjoint=d, wanted=w) for n in (1, 5, 9, 13, 40, 100) for d in (False, True)
      for w in (1, 3)),
    *(lambda n=n, d=d: blob_of(n, disjoint=d, filling="permute") for n in (1, 5, 9, 13, 40, 100)
      for d in (False, True)),
]  # fmt: skip


@pytest.mark.parametrize("make", EVERY)
def test_composed_weights_and_their_gradients_are_the_definitions(make) -> None:
    bank = make()
    members, layers = len(bank.coefficients_MR), len(bank.shapes)
    entries, coefficients_MR = (value.detach().clone().requires_grad_() for value in bank.parameters())
    everywhere, alone, slow = [], [], []
    with bank.composed():
        for layer in range(layers):
            for member in range(members):
                everywhere.append(bank.weight(layer, member))
    for layer in range(layers):
        for member in range(members):
            alone.append(bank.weight(layer, member))
            slow.append(slow_weight(bank, entries, coefficients_MR, layer, member))
    direction = [torch.randn_like(weight) for weight in slow]
    expected = torch.autograd.grad(slow, (entries, coefficients_MR), direction)
    for weights in (everywhere, alone):
        for one, other in zip(weights, slow, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
        grads = torch.autograd.grad(weights, (bank.entries, bank.coefficients_MR), direction)
        for one, other in zip(grads, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert (expected[0] != 0).all(), "every entry is read"


def test_layers_take_templates_in_turn() -> None:
    bank = bank_of(5 * 6, shapes=SHAPES * 2, wanted=2)
    assert [bank.reads(layer, 0) for layer in range(6)] == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4], [0, 1]]
    assert all(bank.reads(layer, 0) == bank.reads(layer, 1) for layer in range(6))


def test_members_take_disjoint_templates_until_there_are_no_others() -> None:
    bank = bank_of(7 * 6, shapes=SHAPES[:2], wanted=2, members=3, disjoint=True)
    assert [[bank.reads(layer, member) for member in range(3)] for layer in range(2)] == [
        [[0, 1], [2, 3], [4, 5]],
        [[6, 0], [1, 2], [3, 4]],
    ]
    blob = blob_of(100, members=2, disjoint=True, wanted=2)
    assert [(blob.reads(1, m).start, blob.reads(1, m).stop) for m in range(2)] == [(24, 48), (48, 72)]


def test_a_last_template_that_is_not_whole_goes_on_at_the_start() -> None:
    bank = bank_of(16)
    assert bank.number == 3
    assert "3 templates of 3x2 (2.667 whole) for 3 layers, 2 each" in repr(bank)
    last = bank.templates(1, 0)[0]
    assert torch.equal(last.flatten(), torch.cat([bank.entries[12:16], bank.entries[:2]]))


def test_layers_mix_more_templates_where_some_would_be_left_over() -> None:
    assert TemplateBank.choose_counts(12 * 6, SHAPES, wanted=2, readers=1) == [4, 4, 4]
    assert TemplateBank.choose_counts(12 * 6, SHAPES, wanted=2, readers=4) == [2, 2, 2]
    assert TemplateBank.choose_counts(6, SHAPES, wanted=5, readers=1) == [1, 1, 1]
    for n in (1, 10, 55, 200, 1003):
        for filling in ("permute", "tile", "interpolate"):
            counts = ParameterBlob.choose_counts(n, MIXED, wanted=2, readers=1, filling=filling)
            blob = blob_of(n, filling=filling)
            assert list(blob.counts) == counts
            assert blob.reads(3, 0).stop >= n


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 12, 64, 97, 320])
def test_permutations(number: int) -> None:
    orders = permutations(number, 50)
    assert torch.equal(orders[0], torch.arange(number))
    assert torch.equal(orders.sort(dim=1).values, torch.arange(number).expand(50, number))
    assert torch.equal(permutations(number, 7), orders[:7])
    if number >= 64:
        assert len(orders.unique(dim=0)) == 50


@pytest.mark.parametrize("shape", [(64, 64), (64, 128), (24, 12, 3), (16, 16, 3, 3), (128, 64), (7, 640)])
def test_no_rows_and_no_columns_of_a_permuted_layer_are_equal(shape: tuple[int, ...]) -> None:
    """For each number of entries, whether or not it shares a factor with the shape."""
    size = math.prod(shape)
    for n in [*range(32, 70), 96, 128, 144, 192, 256, 288, 320, 512, 576, 640, 1024]:
        if n >= size:
            continue
        weight = blob_of(n, shapes=[shape], members=1, filling="permute", wanted=1).weight(0, 0).detach()
        assert len(weight.flatten(1).unique(dim=0)) == shape[0], n
        assert len(weight.transpose(0, 1).flatten(1).unique(dim=0)) == shape[1], n
        # Every entry is used, and about as often as any other.
        used = torch.unique(weight, return_counts=True)[1]
        assert len(used) == n
        assert int(used.max() - used.min()) <= 1


def test_tiled_rows_are_equal_where_the_budget_shares_a_factor_with_them() -> None:
    rows = {
        n: len(blob_of(n, shapes=[(64, 64)], filling="tile").weight(0, 0).detach().unique(dim=0)) for n in (320, 321)
    }
    assert rows == {320: 5, 321: 64}


def test_enlarged_layers_are_bilinear_and_keep_the_variance() -> None:
    blob = blob_of(20, shapes=[(8, 6, 3), (3, 2)], filling="interpolate", wanted=1)
    assert blob.read_shapes == ((2, 3, 3), (3, 2))
    small = blob.entries[:18].view(2, 3, 3)
    expected = F.interpolate(small.movedim(2, 0).unsqueeze(0), size=(8, 6), mode="bilinear")[0].movedim(0, 2)
    weight = blob.weight(0, 1)
    ratio = weight / (blob.coefficients_MR[1, 0] * expected)
    torch.testing.assert_close(ratio, ratio[0, 0, 0].expand_as(ratio))
    with blob.composed():
        torch.testing.assert_close(blob.weight(0, 1), weight)
    variances = []
    for _ in range(400):
        nn.init.normal_(blob.entries)
        variances.append((blob.weight(0, 1) / blob.coefficients_MR[1, 0]).square().mean())
    # 18 entries a draw: the mean of 400 is within a few hundredths.
    assert torch.stack(variances).mean().item() == pytest.approx(1.0, abs=0.08)
    # Not even one kernel fits: permuted.
    assert blob_of(2, shapes=[(8, 6, 3)], filling="interpolate").read_shapes == ((8, 6, 3),)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(4, 6), (5, 3, 4)),
        (nn.Linear(4, 6, bias=False), (5, 4)),
        (nn.Conv1d(4, 6, 3, stride=2, padding=1, padding_mode="circular"), (5, 4, 7)),
        (nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding=2, padding_mode="reflect"), (5, 4, 6, 6)),
        (nn.Conv2d(4, 4, 3, groups=4, padding="same", bias=False), (5, 4, 6, 6)),
    ],
)
def test_a_template_layer_computes_what_the_ordinary_layer_does(layer: nn.Module, shape: tuple[int, ...]) -> None:
    layer = layer.double()
    size = layer.weight.numel()
    bank = bank_of(3 * size - 1, shapes=[tuple(layer.weight.shape)] * 2, members=2)
    own = TemplateLayer(layer, bank, layer_index=1, member_index=1)
    assert layer.bias is None or own.bias is not layer.bias
    for name in ("in_features", "out_features") if isinstance(layer, nn.Linear) else ("in_channels", "stride"):
        assert getattr(own, name) == getattr(layer, name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = own.nothing
    x = torch.randn(shape).double().requires_grad_()
    ordinary = copy.deepcopy(layer)
    ordinary.weight = nn.Parameter(slow_weight(bank, *bank.parameters(), 1, 1).detach())
    out, expected = own(x), ordinary(x)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(out)
    grads, slow = (torch.autograd.grad(each, x, direction)[0] for each in (out, expected))
    torch.testing.assert_close(grads, slow, rtol=1e-10, atol=1e-12)
    for folded in (own.folded(), own.member(0)):
        assert type(folded) is type(layer)
        assert torch.equal(folded.weight, own.weight)
        torch.testing.assert_close(folded(x), expected, rtol=1e-12, atol=1e-12)
    assert list(dict(own.named_parameters())) == ([] if layer.bias is None else ["layer.bias"])


def test_copies_pickles_and_conversions_keep_the_tie() -> None:
    bank, layout = bank_of(14, members=2), Layout()
    members = SeparateNetworks(
        [
            nn.Sequential(*(TemplateLayer(nn.Linear(2, 3), bank, layer_index=i, member_index=m) for i in range(1)))
            for m in range(2)
        ],
        layout=layout,
    )
    network = TemplateMembers([bank], members.double())
    x = torch.randn(5, 2).double()
    for twin in (network, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert twin.members.networks[0][0].source[0] is twin.members.networks[1][0].source[0] is twin.banks[0]
        torch.testing.assert_close(twin(x), network(x), rtol=0, atol=0)
    assert copy.deepcopy(network).banks[0] is not bank
    assert network.float()(x.float()).dtype == torch.float32
    assert network.double()(x).dtype == torch.float64
    names = list(network.state_dict())
    assert [name for name in names if "entries" in name or "coefficients" in name] == [
        "banks.0.entries", "banks.0.coefficients_MR",
    ]  # fmt: skip
    with pytest.raises(RuntimeError):
        network(torch.zeros(5, 3).double())
    assert bank._composed is None

"""Methods with an input for each member, on models that use the batch size of their input, and on tokens."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import motet
from motet.errors import InputError
from motet.layers import HeadsInChannels, InputsInTurn, MultiEmbedding, MultiplexedEmbedding

METHODS = [
    motet.MIMO(members=3),
    motet.MixMo(members=3),
    motet.DataMUX(members=3),
    motet.DataMUX(members=3, transform="gaussian"),
    motet.MIMMO(members=3),
]
X = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
IDS = torch.randint(1, 20, (6, 7), generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 2, 1, 0])


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.i, self.m, self.o = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(16, 3)
        self.token = nn.Parameter(torch.ones(1, 1, 8))

    def rows(self, x: Tensor, hidden: Tensor) -> int:
        return len(hidden)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.i(x)
        rows = self.rows(x, hidden)
        tokens = torch.cat([self.token.expand(rows, -1, -1), hidden.view(rows, 1, 8)], dim=1)
        out: Tensor = self.o(torch.relu(self.m(tokens)).reshape(rows, -1))
        return out


class InputsBatchSize(Plain):
    def rows(self, x: Tensor, hidden: Tensor) -> int:
        return x.shape[0]


def wrapped(method: motet.Method, model: type[nn.Module], example: Any) -> motet.Ensemble:
    torch.manual_seed(0)
    net = model().double()
    torch.manual_seed(1)
    return method.wrap(net, example=example)


def gradients(ensemble: motet.Ensemble, x: Any) -> dict[str, Tensor]:
    torch.manual_seed(2)
    loss = ensemble.train().loss(x, Y, generator=torch.Generator().manual_seed(3))
    names = dict(ensemble.named_parameters())
    found = torch.autograd.grad(loss, list(names.values()), allow_unused=True, materialize_grads=True)
    return {"loss": loss, **dict(zip((name.replace("network.", "") for name in names), found, strict=True))}


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_the_input_s_batch_size_changes_nothing(method: motet.Method) -> None:
    plain, own = wrapped(method, Plain, X[:1]), wrapped(method, InputsBatchSize, X[:1])
    in_turn = [any(isinstance(part, InputsInTurn) for part in each.modules()) for each in (plain, own)]
    assert in_turn[0] is False
    assert in_turn[1] is (not isinstance(method, motet.DataMUX) or method.transform == "learned")
    expected, found = gradients(plain, X), gradients(own, X)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    torch.testing.assert_close(own.predict(X).outputs_BMC, plain.predict(X).outputs_BMC)
    torch.testing.assert_close(own.fold().predict(X).outputs_BMC, plain.predict(X).outputs_BMC)
    torch.testing.assert_close(own.eval().member(1)(X), plain.eval()(X)[:, 1])
    torch.testing.assert_close(own.subset([2]).predict(X).outputs_BMC, plain.predict(X).outputs_BMC[:, 2:])
    x_BM = X.view(2, 3, 5)
    torch.testing.assert_close(own.eval().forward_distinct(x_BM), plain.eval().forward_distinct(x_BM))


@pytest.mark.parametrize("method", [METHODS[0], METHODS[1], motet.MIMMO(members=2, exits=())], ids=str)
def test_an_input_that_also_goes_another_way_is_refused(method: motet.Method) -> None:
    class AddsItsInput(InputsBatchSize):
        def forward(self, x: Tensor) -> Tensor:
            hidden = self.i(x).view(x.shape[0], 8) + x[: x.shape[0], :1]
            out: Tensor = self.o(torch.cat([hidden, torch.relu(self.m(hidden))], dim=1))
            return out

    with pytest.raises(InputError, match="another way than 'i'"):
        method.wrap(AddsItsInput().double(), example=X[:1], first="i")


class Text(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word, self.place = nn.Embedding(20, 8, padding_idx=0), nn.Embedding(7, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.encoder, self.middle, self.o = nn.TransformerEncoder(layer, 1), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = self.word(ids) + self.place(torch.arange(ids.shape[1]))
        hidden = self.encoder(hidden, src_key_padding_mask=None if mask is None else mask == 0)
        kept = torch.ones_like(hidden[..., :1]) if mask is None else mask.unsqueeze(-1).to(hidden)
        out: Tensor = self.o(torch.relu(self.middle((hidden * kept).sum(1) / kept.sum(1))))
        return out


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("masked", [False, True], ids=["ids", "ids and mask"])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_tokens(method: motet.Method, masked: bool) -> None:
    mask = (torch.arange(7) < torch.tensor([7, 4, 7, 5, 7, 7]).unsqueeze(1)).long()
    x: Any = {"ids": IDS * mask, "mask": mask} if masked else IDS
    example: Any = {name: value[:1] for name, value in x.items()} if masked else x[:1]
    ensemble = wrapped(method, Text, example)
    kinds = [type(part) for part in ensemble.modules()]
    assert kinds.count(MultiEmbedding) + kinds.count(MultiplexedEmbedding) == 1
    place = [part for name, part in ensemble.named_modules() if name.endswith("place")]
    assert [type(part) for part in place] == [nn.Embedding]
    found = gradients(ensemble, x)
    assert all(bool(value.isfinite().all()) for value in found.values())
    prediction = ensemble.predict(x)
    assert prediction.outputs_BMC.shape == (6, 3, 3)
    torch.testing.assert_close(ensemble.fold().predict(x).outputs_BMC, prediction.outputs_BMC)
    torch.testing.assert_close(
        torch.cat([ensemble.eval()(_rows(x, slice(i, i + 1))) for i in range(6)]), prediction.outputs_BMC
    )
    if isinstance(method, motet.MIMMO):
        return  # its exits average over all positions, padded ones too
    if masked:  # what is in padded positions, and how many there are, makes no difference
        shorter = {"ids": x["ids"][1:2, :4], "mask": x["mask"][1:2, :4]}
        torch.testing.assert_close(ensemble.eval()(shorter), prediction.outputs_BMC[1:2])


def _rows(x: Any, rows: slice) -> Any:
    return {name: value[rows] for name, value in x.items()} if isinstance(x, dict) else x[rows]


def test_mimo_adds_what_the_members_tables_look_up() -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word, self.o = nn.Embedding(20, 8, padding_idx=0), nn.Linear(8, 3)

        def forward(self, ids: Tensor) -> Tensor:
            out: Tensor = self.o(self.word(ids).sum(1))
            return out

    torch.manual_seed(0)
    net = First().double()
    for method in (motet.MIMO(members=3), motet.MixMo(members=3, test_scale=2.0)):
        ensemble = method.wrap(net, example=IDS[:1]).eval()
        layer = ensemble.network.word
        assert isinstance(layer, MultiEmbedding)
        assert bool((layer.tables[:, 0] == 0).all())
        tables = [nn.Embedding.from_pretrained(table, padding_idx=0) for table in layer.tables.detach()]
        ids_BM = IDS[:, :6].reshape(6, 3, 2)
        added = torch.stack([table(ids_BM[:, m]) for m, table in enumerate(tables)]).sum(0)
        expected = ensemble.network.o.layer((layer.scale * added).sum(1)).view(6, 3, 3)
        torch.testing.assert_close(ensemble.forward_distinct(ids_BM), expected)
        if isinstance(method, motet.MIMO):
            torch.testing.assert_close(layer.folded().weight, net.word.weight)
            torch.testing.assert_close(layer.weight, net.word.weight)
        folded = ensemble.fold()
        assert type(folded.network.word) is nn.Embedding
        assert folded.network.word.padding_idx == 0
        torch.testing.assert_close(folded(IDS), ensemble(IDS))
        ensemble.train().loss(torch.zeros_like(IDS), Y).backward()
        assert layer.tables.grad is not None
        assert bool((layer.tables.grad[:, 0] == 0).all())


def test_trained_tables_add_up_to_the_model_s_own() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(56, 16), nn.ReLU(), nn.Linear(16, 3)).double()
    ensemble = motet.MixMo(members=2).wrap(net, example=IDS[:1], init="keep")
    torch.testing.assert_close(ensemble.network[0].folded().weight, net[0].weight)


def test_every_column_s_embedding_gets_tables() -> None:
    class Columns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList(nn.Embedding(20, 4) for _ in range(2))
            self.middle, self.o = nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            features = torch.cat([table(x[:, column]) for column, table in enumerate(self.tables)], dim=1)
            out: Tensor = self.o(torch.relu(self.middle(features)))
            return out

    ensemble = motet.MIMO(members=2).wrap(Columns(), example=IDS[:1, :2])
    assert sum(isinstance(part, MultiEmbedding) for part in ensemble.modules()) == 2
    ensemble.loss(IDS[:, :2], Y).backward()


def test_an_embedding_that_rescales_its_table_is_refused() -> None:
    net = nn.Sequential(nn.Embedding(20, 8, max_norm=1.0), nn.Flatten(), nn.Linear(56, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(InputError, match="max_norm"):
        motet.MIMO(members=2).wrap(net, example=IDS[:1])


class Recurrent(nn.Module):
    def __init__(self, *, linear_first: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5) if linear_first else nn.Identity()
        self.lstm, self.o = nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.o(self.lstm(self.first(x))[0][:, -1])
        return out


@pytest.mark.parametrize(
    "method", [motet.MIMO(members=2), motet.MixMo(members=2), motet.MIMMO(members=2, exits=())], ids=str
)
def test_the_advice_for_an_lstm_that_reads_the_input_works(method: motet.Method) -> None:
    x = torch.randn(6, 4, 5)
    with pytest.raises(InputError, match=r"'lstm', an? LSTM.*Put a Linear layer.*BatchEnsemble, Mix.*Multihead, Deep"):
        method.wrap(Recurrent(), example=x[:1])
    method.wrap(Recurrent(linear_first=True), example=x[:1]).loss(x, Y).backward()
    for other in (motet.MixtureEnsembles, motet.Multihead, motet.DeepEnsemble, motet.BatchEnsemble):
        other(members=2).wrap(Recurrent(), example=x[:1]).loss(x, Y).backward()


class LastToken(nn.Module):
    """Chooses the last token's logits by the batch size of its input, as causal language models do."""

    def __init__(self) -> None:
        super().__init__()
        self.word, self.middle, self.o = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def chosen(self, ids: Tensor, logits: Tensor) -> Tensor:
        return logits[torch.arange(ids.shape[0]), (ids != 0).sum(1) - 1]

    def forward(self, ids: Tensor) -> Tensor:
        return self.chosen(ids, self.o(torch.relu(self.middle(self.word(ids)))))


@pytest.mark.parametrize("method", [motet.Multihead(members=3), *METHODS[:4]], ids=str)
def test_heads_stay_in_the_channels_where_rows_are_chosen_after_them(method: motet.Method) -> None:
    ensemble = wrapped(method, LastToken, IDS[:1])
    assert any(isinstance(part, HeadsInChannels) for part in ensemble.modules())
    x = IDS * (torch.arange(7) < torch.tensor([7, 4, 7, 5, 1, 7]).unsqueeze(1)).long()
    outputs = ensemble.eval()(x)
    torch.testing.assert_close(ensemble.fold()(x), outputs)
    torch.testing.assert_close(torch.cat([ensemble(row.unsqueeze(0)) for row in x]), outputs)
    for member in range(3):
        torch.testing.assert_close(ensemble.member(member)(x), outputs[:, member])
        torch.testing.assert_close(ensemble.subset([member])(x)[:, 0], outputs[:, member])
    assert bool((outputs[:, 0] - outputs[:, 1]).abs().max() > 0)
    assert all(bool(value.isfinite().all()) for value in gradients(ensemble, x).values())


class MaskWhereNeeded(Text):
    """Uses its mask only if something is masked, as Hugging Face's models do."""

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        assert mask is not None
        return super().forward(ids, None if bool(mask.all()) else mask)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "method",
    [motet.MCDropout(members=3), motet.BatchEnsemble(members=3), motet.TreeNet(members=3), *METHODS[:4]],
    ids=str,
)
def test_padding_that_the_example_does_not_have(method: motet.Method) -> None:
    mask = (torch.arange(7) < torch.tensor([7, 4, 7, 5, 7, 7]).unsqueeze(1)).long()
    x = {"ids": IDS * mask, "mask": mask}
    ensemble = wrapped(method, MaskWhereNeeded, {name: value[:1] for name, value in x.items()})
    assert all(bool(value.isfinite().all()) for value in gradients(ensemble, x).values())
    outputs = ensemble.eval()(x)
    torch.testing.assert_close(torch.cat([ensemble(_rows(x, slice(i, i + 1))) for i in range(6)]), outputs)

"""Forward passes as people write them, under the methods whose members share a pass: members as separate networks are
the reference, for outputs and gradients.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import motet

METHODS = [
    motet.MCDropout(members=3, rate=0.3),
    motet.TreeNet(members=3),
    motet.BatchEnsemble(members=3),
    motet.BatchEnsemble(members=3, rank=2),
    motet.MixtureEnsembles(members=3),
    motet.DeepEnsemble(members=3),
    motet.Multihead(members=3),
]
X = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 2, 1, 0])


class ByName(nn.Module):
    """Calls its layers with their arguments' names."""

    def __init__(self) -> None:
        super().__init__()
        self.i, self.norm, self.conv, self.o = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Conv1d(1, 2, 3), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(input=torch.relu(self.i(input=x)))
        features = self.conv(input=hidden.unsqueeze(1)).flatten(1)
        out: Tensor = self.o(input=torch.relu(features))
        return out


class Buffer(nn.Module):
    """A layer reads a constant of its own number of rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.i, self.p, self.m, self.o = nn.Linear(5, 8), nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.register_buffer("position", torch.randn(rows, 3, generator=torch.Generator().manual_seed(1)))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.i(x) + self.p(self.position).sum(0, keepdim=True))
        out: Tensor = self.o(torch.relu(self.m(hidden)))
        return out


class Experts(nn.Module):
    """A mixture of experts: each reads the rows that are routed to it."""

    def __init__(self) -> None:
        super().__init__()
        self.i, self.gate, self.o = nn.Linear(5, 8), nn.Linear(8, 2), nn.Linear(8, 3)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.i(x))
        chosen, mixed = self.gate(hidden).argmax(1), torch.zeros_like(hidden)
        for index, expert in enumerate(self.experts):
            rows = (chosen == index).nonzero().squeeze(1)
            mixed = mixed.index_add(0, rows, expert(hidden[rows]))
        out: Tensor = self.o(torch.relu(mixed))
        return out


class InputsBatchSize(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.i, self.m, self.o = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(16, 3)
        self.token = nn.Parameter(torch.ones(1, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), self.i(x).view(x.shape[0], 1, 8)], dim=1)
        out: Tensor = self.o(torch.relu(self.m(tokens)).reshape(x.shape[0], -1))
        return out


class Wrapped(nn.Module):
    """A block that is called by name, with an argument that belongs to the rows."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, *, mask: Tensor, hidden: Tensor) -> Tensor:
            out: Tensor = torch.relu(self.linear(hidden)) * mask
            return out

    def __init__(self) -> None:
        super().__init__()
        self.i, self.block, self.o = nn.Linear(5, 8), self.Block(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.o(self.block(hidden=torch.relu(self.i(x)), mask=(x[:, :1] > 0).double()))
        return out


class StepsFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.o = nn.Linear(1, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.a(x.T.reshape(-1, 1)))
        out: Tensor = self.o(torch.relu(self.b(hidden)).view(5, -1, 8).mean(0))
        return out


MODELS: dict[str, Callable[[], nn.Module]] = {
    "layers called by name": ByName,
    "a buffer of one row": lambda: Buffer(1),
    "a buffer of seven rows": lambda: Buffer(7),
    "routed rows": Experts,
    "the input's batch size": InputsBatchSize,
    "a block called by name": Wrapped,
    "another axis first": StepsFirst,
}


def check_members(ensemble: motet.Ensemble, x: Any, y: Tensor) -> None:
    """Compare outputs, and the gradients of the weights that members share, with those of separate networks."""
    ensemble.eval()
    outputs = ensemble(x)
    members = [ensemble.member(m) for m in range(ensemble.members)]
    alone = [member.eval()(x) for member in members]
    torch.testing.assert_close(outputs, torch.stack(alone, dim=1))
    torch.testing.assert_close(ensemble.fold()(x), outputs)
    torch.testing.assert_close(ensemble.subset([2, 0])(x), outputs[:, [2, 0]])
    *_, last = ensemble.anytime(x)
    torch.testing.assert_close(last.outputs_BMC, outputs.detach())
    weights = torch.randn(outputs.shape, dtype=outputs.dtype, generator=torch.Generator().manual_seed(2))
    given = x.clone().requires_grad_() if x.is_floating_point() else None
    if given is not None:
        (own,) = torch.autograd.grad((ensemble(given) * weights).sum(), given)
        total = torch.zeros_like(own)
        for m, member in enumerate(members):
            total += torch.autograd.grad((member(given) * weights[:, m]).sum(), given)[0]
        torch.testing.assert_close(own, total)
    ensemble.train().loss(x, y).backward()
    assert all(each.grad is None or bool(each.grad.isfinite().all()) for each in ensemble.parameters())


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_members_compute_what_separate_networks_compute(method: motet.Method, make: Callable[[], nn.Module]) -> None:
    check_members(method.wrap(make().double(), example=X[:1]), X, Y)


class PaddedText(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.encoder, self.o = nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        padded = ids == 0
        hidden = self.encoder(self.table(ids), src_key_padding_mask=padded)
        kept = (~padded).unsqueeze(-1)
        out: Tensor = self.o((hidden * kept).sum(1) / kept.sum(1))
        return out


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # of torch's own fused kernel
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_padding_never_influences_a_member(method: motet.Method) -> None:
    torch.manual_seed(0)
    ids = torch.randint(1, 20, (6, 7))
    ids[:3, 4:] = 0
    ensemble = method.wrap(PaddedText().double(), example=ids[:1])
    check_members(ensemble, ids, Y)
    ensemble.eval()
    torch.testing.assert_close(ensemble(ids)[:3], ensemble(ids[:3]))
    if isinstance(method, motet.MCDropout):
        return  # its fixed masks belong to the shape of a row
    torch.testing.assert_close(ensemble(ids)[:3], ensemble(ids[:3, :4]))
    alone = torch.cat([ensemble(row[row > 0].unsqueeze(0)) for row in ids])
    torch.testing.assert_close(ensemble(ids), alone)


def test_a_shared_batch_norm_sees_one_member_at_a_time_in_turn() -> None:
    class Normed(Buffer):
        def __init__(self) -> None:
            super().__init__(1)
            self.norm = nn.BatchNorm1d(8)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.norm(self.i(x) + self.p(self.position))
            out: Tensor = self.o(torch.relu(hidden))
            return out

    for norm in ("shared", "per-member"):
        method = motet.BatchEnsemble(members=2, norm=norm)  # type: ignore[arg-type]
        ensemble = method.wrap(Normed().double(), example=X[:1])
        reference = [ensemble.member(m).train() for m in range(2)]
        outputs = ensemble.train()(X)
        expected = torch.stack([member(X) for member in reference], dim=1)
        torch.testing.assert_close(outputs, expected)
    counts = [value for name, value in ensemble.named_buffers() if name.endswith("num_batches_tracked")]
    assert [int(count) for count in counts] == [1]

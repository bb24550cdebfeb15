"""Small models with every kind of layer, for the tests and for the table in docs/layers.md."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

K = 4  # classes
Case = tuple[Callable[[], nn.Module], Callable[[int], Tensor]]


def floats(*shape: int) -> Callable[[int], Tensor]:
    return lambda rows: torch.randn(rows, *shape, dtype=torch.float64)


def tokens(rows: int) -> Tensor:
    return torch.randint(7, (rows, 5))


def flat(*layers: nn.Module, width: int) -> Callable[[], nn.Module]:
    """A function that makes the layers, in copies with new weights, and a Linear layer after them."""

    def make() -> nn.Module:
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, K))
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
        return model

    return make


class Recurrent(nn.Module):
    """A recurrent layer that reads the input, or features made from it. Its outputs and its last states are used."""

    def __init__(self, kind: type[nn.Module], *, embed: bool = True, states: bool = False, **settings: Any) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 4) if embed else nn.Identity()
        settings = {"batch_first": True} | settings
        self.rnn = kind(4 if embed else 3, 6, **settings)
        width = (settings.get("proj_size") or 6) * (2 if settings.get("bidirectional") else 1)
        self.is_lstm, self.start = kind is nn.LSTM, None
        if states:
            many = settings.get("num_layers", 1) * (2 if settings.get("bidirectional") else 1)
            self.start = nn.Parameter(torch.randn(many, 1, settings.get("proj_size") or 6))
            if self.is_lstm:
                self.cell = nn.Parameter(torch.randn(many, 1, 6))
        self.out = nn.Linear(width + 6 * (kind is nn.LSTM) + (settings.get("proj_size") or 6), K)

    def forward(self, x: Tensor) -> Tensor:
        h, first = self.embed(x), self.rnn.batch_first
        h = h if first else h.transpose(0, 1)
        start = None
        if self.start is not None:
            rows = h.shape[0 if first else 1]
            start = self.start.expand(-1, rows, -1).contiguous()
            if self.is_lstm:
                start = start, self.cell.expand(-1, rows, -1).contiguous()
        self.rnn.flatten_parameters()
        out, last = self.rnn(h, start)
        out = out if first else out.transpose(0, 1)
        ends = [each[-1] for each in (last if isinstance(last, tuple) else (last,))]
        return self.out(torch.cat([out.tanh().mean(dim=1), *ends], dim=-1))


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn, self.out = nn.Linear(3, 4), nn.LSTM(4, 6, batch_first=True), nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        packed = pack_padded_sequence(h, torch.full((len(h),), h.shape[1]), batch_first=True)
        return self.out(pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0][:, -1])


class EncoderDecoder(nn.Module):
    """The states of one recurrent layer start another, which runs step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.GRU(3, 6, batch_first=True), nn.GRU(6, 6)
        self.out = nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        out, state = self.encoder(x)
        step = out[:, -1:].transpose(0, 1)
        for _ in range(3):
            step, state = self.decoder(step, state)
        return self.out(step[0])


class Attends(nn.Module):
    """Attention that reads the input, with masks; steps whose first number is large are padding."""

    def __init__(self, *, need_weights: bool = False, batch_first: bool = True, **settings: Any) -> None:
        super().__init__()
        self.need_weights = need_weights
        self.attention = nn.MultiheadAttention(6, 2, batch_first=batch_first, **settings)
        self.cross = nn.MultiheadAttention(6, 3, kdim=6, vdim=2, batch_first=batch_first)
        self.out = nn.Linear(6, K)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5)

    def forward(self, x: Tensor) -> Tensor:
        padding = x[:, :, 0] > 1
        padding = torch.cat([torch.zeros_like(padding[:, :1]), padding[:, 1:]], dim=1)
        mask = torch.triu(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device), 1)
        x = x if self.attention.batch_first else x.transpose(0, 1)
        h, weights = self.attention(x, x, x, key_padding_mask=padding, attn_mask=mask, need_weights=self.need_weights)
        h = h if weights is None else h * weights.sum(dim=-1, keepdim=True).pow(2)
        h = h + self.cross(h, h, h[:, :, :2], average_attn_weights=False)[0]
        return self.out(h.mean(dim=1 if self.attention.batch_first else 0))


class Translator(nn.Module):
    """torch's encoder and decoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.decoder = nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0, batch_first=True, norm_first=True)
        self.out = nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        causal = nn.Transformer.generate_square_subsequent_mask(h.shape[1], dtype=h.dtype, device=h.device)
        memory = self.encoder(h, mask=causal, is_causal=True)
        return self.out(self.decoder(h[:, :3], memory).mean(dim=1))


class ResizedUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(2, 4, 3, stride=2)
        self.up = nn.ConvTranspose2d(4, 6, 3, stride=2)
        self.out = nn.Linear(6 * 36, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.up(self.down(x).tanh(), output_size=x.shape[2:]).flatten(1))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 4), nn.Linear(5, 3)
        self.both, self.out = nn.Bilinear(4, 3, 6), nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.both(self.left(x), self.right(x)).tanh())


VOLUMES = flat(
    nn.Conv3d(2, 4, 2, groups=2), nn.Tanh(), nn.Conv3d(4, 6, 2, padding=1, padding_mode="circular", bias=False),
    nn.Tanh(), nn.Conv3d(6, 6, 2, dilation=2, stride=2), width=6,
)  # fmt: skip
UP_1D = flat(nn.ConvTranspose1d(2, 4, 3, stride=2, output_padding=1), nn.Tanh(),
             nn.ConvTranspose1d(4, 4, 2, groups=2, dilation=2, bias=False), width=4 * 10)  # fmt: skip
UP_2D = flat(nn.ConvTranspose2d(2, 4, 3, padding=1), nn.Tanh(), nn.ConvTranspose2d(4, 6, (3, 2), groups=2), width=150)
UP_3D = flat(nn.Conv3d(1, 4, 2), nn.Tanh(), nn.ConvTranspose3d(4, 4, 2, groups=4, dilation=(1, 2, 1)), width=144)

SEQUENCES = floats(5, 3)
CASES: dict[str, Case] = {
    "Conv3d": (VOLUMES, floats(2, 3, 3, 3)),
    "ConvTranspose1d": (UP_1D, floats(2, 3)),
    "ConvTranspose2d": (UP_2D, floats(2, 3, 4)),
    "ConvTranspose2d with output_size": (ResizedUp, floats(2, 6, 6)),
    "ConvTranspose3d": (UP_3D, floats(1, 3, 3, 3)),
    "LSTM": (lambda: Recurrent(nn.LSTM), SEQUENCES),
    "LSTM bidirectional": (lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True), SEQUENCES),
    "LSTM bidirectional, steps first": (
        lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True, batch_first=False), SEQUENCES,
    ),
    "LSTM with projections, that reads the input": (
        lambda: Recurrent(nn.LSTM, embed=False, proj_size=2, bidirectional=True), SEQUENCES,
    ),
    "LSTM with given states": (lambda: Recurrent(nn.LSTM, states=True, num_layers=2), SEQUENCES),
    "GRU": (lambda: Recurrent(nn.GRU, bias=False), SEQUENCES),
    "GRU bidirectional": (lambda: Recurrent(nn.GRU, num_layers=2, bidirectional=True), SEQUENCES),
    "GRU bidirectional, steps first, that reads the input": (
        lambda: Recurrent(nn.GRU, embed=False, num_layers=2, bidirectional=True, batch_first=False), SEQUENCES,
    ),
    "GRU with given states": (
        lambda: Recurrent(nn.GRU, embed=False, states=True, batch_first=False), SEQUENCES,
    ),
    "GRU whose states start another": (EncoderDecoder, SEQUENCES),
    "RNN": (lambda: Recurrent(nn.RNN, nonlinearity="relu", num_layers=2), SEQUENCES),
    "RNN, steps first": (lambda: Recurrent(nn.RNN, batch_first=False, bidirectional=True), SEQUENCES),
    "attention with masks": (Attends, floats(5, 6)),
    "attention with weights and more keys": (
        lambda: Attends(need_weights=True, add_bias_kv=True, add_zero_attn=True, bias=False), floats(5, 6),
    ),
    "transformer": (Translator, SEQUENCES),
}  # fmt: skip

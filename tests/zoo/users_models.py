"""Small models of the kinds that people write by hand, with the habits they write them with."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from zoo_case import CLASSES, Case

from motet.likelihoods import Categorical

WORDS, LENGTH, WIDTH = 20, 6, 16


def _vectors(*shape: int) -> Callable[[int], Tensor]:
    return lambda rows: torch.randn(rows, *shape)


def _tokens(rows: int) -> Tensor:
    return torch.randint(1, WORDS, (rows, LENGTH))


def _padded(rows: int) -> tuple[Tensor, Tensor]:
    """Token ids, and which of them are padding."""
    ids, lengths = _tokens(rows), 3 + torch.arange(rows) % (LENGTH - 2)
    padding = torch.arange(LENGTH) >= lengths[:, None]
    return ids.masked_fill(padding, 0), padding


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Tabular(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList([nn.Embedding(5, 4) for _ in range(3)])
        self.norm = nn.BatchNorm1d(6)
        self.body = nn.Sequential(nn.Linear(18, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 16), nn.ReLU())
        self.out = nn.Linear(16, CLASSES)

    def forward(self, numbers: Tensor, kinds: Tensor) -> Tensor:
        embedded = [layer(kinds[:, i]) for i, layer in enumerate(self.embeddings)]
        return self.out(self.body(torch.cat([self.norm(numbers), *embedded], 1)))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 16), nn.Linear(3, 16)
        self.hidden, self.out = nn.Linear(32, 16), nn.Linear(16, CLASSES)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        h = torch.cat([self.left(a), self.right(b)], dim=1).relu()
        return self.out(self.hidden(h).relu())


class DictionaryInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image, self.text = nn.Conv2d(3, 8, 3, padding=1), nn.Embedding(WORDS, 8)
        self.body, self.out = nn.Linear(16, 16), nn.Linear(16, CLASSES)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        seen = self.image(image).relu().mean((2, 3))
        return self.out(self.body(torch.cat([seen, self.text(text).mean(1)], 1)).relu())


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], both: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 8)
        self.rnn = kind(8, WIDTH, num_layers=2, batch_first=True, bidirectional=both)
        self.out = nn.Linear(2 * WIDTH if both else WIDTH, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        h, _ = self.rnn(self.embed(ids))
        return self.out(h[:, -1])


class SensorLstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        start = torch.zeros(1, x.size(0), WIDTH, device=x.device)
        _, (h, _) = self.rnn(x, (start, start))
        return self.out(h[-1])


class PackedLstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 8, padding_idx=0)
        self.rnn = nn.LSTM(8, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embed(ids), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (h, _) = self.rnn(packed)
        return self.out(h[-1])


class TextCnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 8)
        self.convs = nn.ModuleList([nn.Conv1d(8, 8, width) for width in (2, 3, 4)])
        self.dropout, self.out = nn.Dropout(0.2), nn.Linear(24, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.embed(ids).transpose(1, 2)
        return self.out(self.dropout(torch.cat([conv(h).relu().amax(2) for conv in self.convs], 1)))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(WORDS, WIDTH), nn.Parameter(0.02 * torch.randn(1, LENGTH, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 32, batch_first=True, norm_first=True)
        self.layers, self.out = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor, padding: Tensor) -> Tensor:
        h = self.layers(self.embed(ids) + self.place, src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1).to(h.dtype)
        return self.out((h * kept).sum(1) / kept.sum(1))


class Cnn1d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv1d(2, 8, 5, stride=2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2)),
            *(nn.Conv1d(8, 16, 3), nn.BatchNorm1d(16), nn.ReLU(), nn.AdaptiveAvgPool1d(1)),
        )
        self.out = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.features(x).squeeze(-1))


class Video(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv3d(3, 8, 3, padding=1), nn.Conv3d(8, 16, 3, stride=2, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm3d(8), nn.BatchNorm3d(16)
        self.out = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu())).relu()
        return self.out(F.adaptive_avg_pool3d(h, 1).flatten(1))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = self._block(3, 8), self._block(8, 16)
        self.up, self.join = nn.ConvTranspose2d(16, 8, 2, stride=2), self._block(16, 8)
        self.out = nn.Conv2d(8, CLASSES, 1)

    def _block(self, before: int, after: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        high = self.down1(x)
        low = self.down2(F.max_pool2d(high, 2))
        return self.out(self.join(torch.cat([high, self.up(low)], 1)))


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 8)
        self.rnn = nn.LSTM(8, WIDTH, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.rnn(self.embed(ids))[0])


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.layers = nn.ModuleList(
            [nn.TransformerEncoderLayer(WIDTH, 2, 32, dropout=0.0, batch_first=True) for _ in range(2)]
        )
        self.norm, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        h = self.embed(ids) + self.place(torch.arange(length, device=ids.device))
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=ids.device)
        for layer in self.layers:
            h = layer(h, src_mask=mask, is_causal=True)
        return self.out(self.norm(h))


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16))
        self.out = nn.Linear(32, CLASSES)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        u, v = self.tower(a), self.tower(b)
        return self.out(torch.cat([(u - v).abs(), u * v], 1))


class RoutedExperts(nn.Module):
    """A mixture of experts in which each token goes to one expert."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gate = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, 3)
        self.experts = nn.ModuleList(
            [nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, WIDTH)) for _ in "abc"]
        )
        self.out = nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        h = self.embed(ids)
        flat = h.view(-1, WIDTH)
        weight, chosen = self.gate(flat).softmax(-1).max(-1)
        result = torch.zeros_like(flat)
        for i, expert in enumerate(self.experts):
            rows = (chosen == i).nonzero(as_tuple=True)[0]
            result = result.index_add(0, rows, weight[rows, None] * expert(flat[rows]))
        return self.out((h + result.view_as(h)).mean(1))


class SoftExperts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 3)
        self.experts = nn.ModuleList([nn.Linear(8, 16) for _ in range(3)])
        self.out = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gate(x).softmax(1)
        mixed = torch.stack([expert(x) for expert in self.experts], 1)
        return self.out((weights.unsqueeze(-1) * mixed).sum(1).relu())


class ClassToken(nn.Module):
    """A vision transformer whose class token is expanded to the input's batch size."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 8, stride=8)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, WIDTH))
        self.place = nn.Parameter(0.02 * torch.randn(1, 5, WIDTH))
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(WIDTH, 2, 32, 0.0, batch_first=True) for _ in range(2)])
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        h = self.patches(x).reshape(n, WIDTH, -1).permute(0, 2, 1)
        h = torch.cat([self.token.expand(n, -1, -1), h], dim=1) + self.place
        for block in self.blocks:
            h = block(h)
        return self.head(h[:, 0])


class Keywords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1, self.layer2, self.out = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.layer1(input=x))
        return self.out(input=F.relu(self.layer2(input=h)))


class SqueezeExcitation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.squeeze, self.excite = nn.Linear(16, 4), nn.Linear(4, 16)
        self.conv2, self.out = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        b = x.size(0)
        h = self.norm(self.conv(x)).relu()
        scale = self.excite(self.squeeze(h.mean((2, 3))).relu()).sigmoid().view(b, 16, 1, 1)
        return self.out(self.conv2(h * scale).relu().mean((2, 3)))


class AttentionPooling(nn.Module):
    """Multiple-instance learning: a bag of instances, weighted by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.score = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1))
        self.out = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        return self.out((self.score(h).softmax(1) * h).sum(1))


class Film(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.film = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(5, 16)
        self.conv2, self.out = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, CLASSES)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        h = (self.conv(image) * (1 + scale) + shift).relu()
        return self.out(self.conv2(h).relu().mean((2, 3)))


class ResidualMlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 16)
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)) for _ in range(3)]
        )
        self.out = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h)
        return self.out(h)


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.over_tokens, self.over_channels = nn.Linear(16, 16), nn.Linear(WIDTH, WIDTH)
        self.norm1, self.norm2, self.out = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patches(x).flatten(2).transpose(1, 2)
        h = h + self.over_tokens(self.norm1(h).transpose(1, 2)).transpose(1, 2)
        return self.out((h + self.over_channels(self.norm2(h)).relu()).mean(1))


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.depth, self.point = (
            nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
            nn.Conv2d(16, 32, 1, bias=False),
        )
        self.norm1, self.norm2 = nn.BatchNorm2d(16), nn.BatchNorm2d(32)
        self.out = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = F.hardswish(self.norm1(self.depth(self.stem(x))))
        return self.out(F.adaptive_avg_pool2d(F.relu6(self.norm2(self.point(h))), 1).flatten(1))


class Decoder(nn.Module):
    """A coarse map of classes, by transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU())
        self.decode = nn.Sequential(
            nn.ConvTranspose2d(8, 8, 2, stride=2), nn.ReLU(), nn.ConvTranspose2d(8, CLASSES, 2, stride=2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class _StandardisedConv(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(input, weight, self.bias, self.stride, self.padding)


class NormFree(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = _StandardisedConv(3, 8, 3, padding=1), _StandardisedConv(8, 8, 3, padding=1)
        self.gain, self.out = nn.Parameter(torch.tensor(0.2)), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        h = h + self.gain * self.conv(F.silu(h))
        return self.out(h.mean((-2, -1)))


class GroupNormCnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.out = nn.Linear(128, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        return self.out(h.view(x.size(0), -1))


class SharedLayers(nn.Module):
    """The same block several times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.out = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for _ in range(3):
            h = torch.tanh(self.block(h)) + h
        return self.out(h)


class TiedLanguageModel(nn.Module):
    """Its output layer has the embedding's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(WORDS, WIDTH), nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, WORDS, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.rnn(self.embed(ids))[0])


class EinsumHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.hidden = nn.Linear(8, 16), nn.Linear(16, 16)
        self.heads = nn.Parameter(0.1 * torch.randn(3, 16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        h = self.hidden(self.stem(x).relu()).relu()
        return torch.einsum("bi,hic->bhc", h, self.heads).mean(1)


class FunctionalWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w1, self.b1 = nn.Parameter(0.3 * torch.randn(16, 8)), nn.Parameter(torch.zeros(16))
        self.w2, self.b2 = nn.Parameter(0.3 * torch.randn(CLASSES, 16)), nn.Parameter(torch.zeros(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.relu(F.linear(x, self.w1, self.b1)), self.w2, self.b2)


class NamedHeads(nn.Module):
    """Two tasks, one of which is used."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
        self.heads = nn.ModuleDict({"kind": nn.Linear(16, CLASSES), "size": nn.Linear(16, 1)})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.body(x)
        return {name: head(h) for name, head in self.heads.items()}


class WithFeatures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.out = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.conv2(self.conv1(x).relu()).relu()
        pooled = h.mean((2, 3))
        return {"features": pooled, "logits": self.out(pooled)}


class SpectralNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.conv1, self.conv2 = norm(nn.Conv2d(3, 8, 3, padding=1)), norm(nn.Conv2d(8, 16, 3, stride=2, padding=1))
        self.out = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x), 0.2)), 0.2)
        return self.out(h.mean((2, 3)))


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(5, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.norm, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        attended, _ = self.attention(h, h, h, need_weights=False)
        return self.out(self.norm(h + attended).mean(1))


class CrossAttention(nn.Module):
    """Learned queries look at the input."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.queries = nn.Linear(5, WIDTH), nn.Parameter(torch.randn(2, WIDTH))
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.out = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        queries = self.queries.unsqueeze(0).repeat(len(x), 1, 1)
        return self.out(self.attention(queries, h, h)[0].flatten(1))


class BilinearPair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bilinear, self.hidden, self.out = nn.Bilinear(6, 4, 16), nn.Linear(16, 16), nn.Linear(16, CLASSES)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.out(self.hidden(self.bilinear(a, b).relu()).relu())


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag, self.hidden, self.out = nn.EmbeddingBag(WORDS, 16), nn.Linear(16, 16), nn.Linear(16, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.hidden(self.bag(ids)).relu())


class GraphConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1, self.layer2, self.out = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, CLASSES)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        h = torch.bmm(adjacency, self.layer1(nodes)).relu()
        return self.out(torch.bmm(adjacency, self.layer2(h)).relu().mean(1))


class DeepSets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 16))
        self.rho = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.rho(self.phi(x).sum(dim=1))


class PointNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(3, 16, 1), nn.Conv1d(16, 32, 1)
        self.norm1, self.norm2, self.out = nn.BatchNorm1d(16), nn.BatchNorm1d(32), nn.Linear(32, CLASSES)

    def forward(self, points: Tensor) -> Tensor:
        h = self.norm1(self.conv1(points.transpose(1, 2))).relu()
        return self.out(torch.max(self.norm2(self.conv2(h)).relu(), dim=2)[0])


class FourierFeatures(nn.Module):
    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, 8))
        self.net = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        angles = 6.28 * x @ self.frequencies
        return self.net(torch.cat([angles.sin(), angles.cos()], -1))


class HyperNetwork(nn.Module):
    """One network makes the weights with which the other input is read, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.embed = nn.Linear(3, 16 * 8), nn.Linear(6, 8)
        self.out = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        weights = self.make(context).view(-1, 16, 8)
        return self.out(torch.bmm(weights, self.embed(x).unsqueeze(-1)).squeeze(-1).relu())


class AutoencoderClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        self.decoder = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8))
        self.classifier = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encoder(x)
        return self.decoder(code), self.classifier(code)


class EarlyFusion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.net(torch.cat([a, b], dim=-1))


class LateFusion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, CLASSES))
        self.b = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (self.a(a) + self.b(b)) / 2


class ResidualCnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8) for _ in range(3)])
        self.convs = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(3)])
        self.out = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            h = h + conv(norm(h).relu())
        return self.out(F.avg_pool2d(h, h.shape[-1]).flatten(1))


class Spectrogram(nn.Module):
    """Audio: a short-time Fourier transform, then convolutions."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(32))
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.out = nn.Linear(16, CLASSES)

    def forward(self, wave: Tensor) -> Tensor:
        bands = torch.stft(wave, 32, 16, window=self.window, return_complex=True).abs().add(1e-3).log()
        h = self.conv2(self.conv1(bands.unsqueeze(1)).relu()).relu()
        return self.out(h.mean((2, 3)))


class FrameWise(nn.Module):
    """Video as images: frames are folded into the batch, and averaged at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.out = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c, h, w = x.shape
        frames = self.conv2(self.conv(x.reshape(b * t, c, h, w)).relu()).relu().mean((2, 3))
        return self.out(frames.view(b, t, -1).mean(1))


class Highway(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.change, self.gate = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.out = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        gate = self.gate(h).sigmoid()
        return self.out(gate * self.change(h).relu() + (1 - gate) * h)


class WideAndDeep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(8, CLASSES)
        self.deep = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(x) + self.deep(x)


def _normalised(rows: int) -> Tensor:
    edges = torch.rand(rows, 5, 5) + torch.eye(5)
    return edges / edges.sum(-1, keepdim=True)


def _own(
    name: str,
    build: Callable[[], nn.Module],
    inputs: Callable[[int], Any],
    *,
    classes: int = CLASSES,
    positions: tuple[int, ...] = (),
    unused: bool = False,
    quick: bool = False,
    **wrap: Any,
) -> Case:
    return Case("own", name, build, inputs, wrap, classes, positions, unused, quick)


_EACH_TOKEN: dict[str, Any] = {"positions": (LENGTH,), "likelihood": Categorical(class_axis=-1)}
_EACH_PIXEL: dict[str, Any] = {"positions": (16, 16), "likelihood": Categorical(class_axis=1)}
_IMAGE = _vectors(3, 16, 16)

CASES = [
    _own("mlp", Mlp, _vectors(8), quick=True),
    _own(
        "tabular", Tabular, lambda rows: (torch.randn(rows, 6), torch.randint(5, (rows, 3))), first="body.0", quick=True
    ),
    _own("two-inputs", TwoInputs, lambda rows: (torch.randn(rows, 5), torch.randn(rows, 3))),
    _own("dictionary-input", DictionaryInput, lambda rows: {"image": _IMAGE(rows), "text": _tokens(rows)}, quick=True),
    _own("lstm", lambda: Recurrent(nn.LSTM), _tokens),
    _own("gru-both-ways", lambda: Recurrent(nn.GRU, both=True), _tokens),
    _own("sensor-lstm", SensorLstm, _vectors(10, 3)),
    _own("packed-lstm", PackedLstm, lambda rows: (_padded(rows)[0], 3 + torch.arange(rows) % (LENGTH - 2))),
    _own("text-cnn", TextCnn, _tokens),
    _own("encoder", Encoder, lambda rows: dict(zip(("ids", "padding"), _padded(rows), strict=True)), quick=True),
    _own("cnn-1d", Cnn1d, _vectors(2, 32)),
    _own("video", Video, _vectors(3, 4, 8, 8)),
    _own("unet", UNet, _IMAGE, quick=True, **_EACH_PIXEL),
    _own("tagger", Tagger, _tokens, **_EACH_TOKEN),
    _own("language-model", LanguageModel, _tokens, quick=True, **_EACH_TOKEN),
    _own("siamese", Siamese, lambda rows: (torch.randn(rows, 8), torch.randn(rows, 8))),
    _own("routed-experts", RoutedExperts, _tokens, unused=True),
    _own("soft-experts", SoftExperts, _vectors(8), first=("gate", "experts.0", "experts.1", "experts.2")),
    _own("class-token", ClassToken, _IMAGE, quick=True),
    _own("keywords", Keywords, _vectors(8)),
    _own("squeeze-excitation", SqueezeExcitation, _IMAGE),
    _own("attention-pooling", AttentionPooling, _vectors(7, 8)),
    _own("film", Film, lambda rows: (_IMAGE(rows), torch.randn(rows, 5))),
    _own("residual-mlp", ResidualMlp, _vectors(8)),
    _own("mlp-mixer", Mixer, _IMAGE),
    _own("depthwise", Depthwise, _IMAGE),
    _own("decoder", Decoder, _IMAGE, **_EACH_PIXEL),
    _own("norm-free", NormFree, _IMAGE),
    _own("group-norm", GroupNormCnn, _IMAGE),
    _own("shared-layers", SharedLayers, _vectors(8)),
    _own("tied-language-model", TiedLanguageModel, _tokens, classes=WORDS, **_EACH_TOKEN),
    _own("einsum-heads", EinsumHeads, _vectors(8)),
    _own("functional-weights", FunctionalWeights, _vectors(8)),
    _own("named-heads", NamedHeads, _vectors(8), output="kind", unused=True),
    _own("with-features", WithFeatures, _IMAGE, output="logits"),
    _own("spectral-norm", SpectralNorm, _IMAGE),
    _own("self-attention", SelfAttention, _vectors(7, 5)),
    _own("cross-attention", CrossAttention, _vectors(7, 5)),
    _own("bilinear", BilinearPair, lambda rows: (torch.randn(rows, 6), torch.randn(rows, 4))),
    _own("embedding-bag", Bag, _tokens),
    _own("graph-conv", GraphConv, lambda rows: (torch.randn(rows, 5, 4), _normalised(rows)), first="layer1"),
    _own("deep-sets", DeepSets, _vectors(7, 3)),
    _own("point-net", PointNet, _vectors(12, 3)),
    _own("fourier-features", FourierFeatures, _vectors(2)),
    _own("hypernetwork", HyperNetwork, lambda rows: (torch.randn(rows, 6), torch.randn(rows, 3))),
    _own("autoencoder", AutoencoderClassifier, _vectors(8), output=1, unused=True),
    _own("early-fusion", EarlyFusion, lambda rows: (torch.randn(rows, 5), torch.randn(rows, 3))),
    _own("late-fusion", LateFusion, lambda rows: (torch.randn(rows, 5), torch.randn(rows, 3)), last=("a.2", "b.2")),
    _own("residual-cnn", ResidualCnn, _IMAGE),
    _own("spectrogram", Spectrogram, _vectors(256)),
    _own("frame-wise", FrameWise, _vectors(3, 3, 8, 8)),
    _own("highway", Highway, _vectors(8)),
    _own("wide-and-deep", WideAndDeep, _vectors(8), first=("wide", "deep.0"), last=("wide", "deep.4")),
]

"""Small models that several tests convert. All have random weights; `classes` is the number of outputs."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class ConvNet(nn.Module):
    """(B, 2, H, W): two convolutions with a batch norm, an in-place activation and global pooling."""

    def __init__(self, classes: int = 4, **settings: object) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, **settings)
        self.norm, self.act = nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.body = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.act(self.norm(self.stem(x)))).relu().mean(dim=(2, 3)))


class GroupedConvNet(nn.Module):
    """(B, 2, H, W): circular padding, a depthwise and a grouped convolution, and a skip connection from the input."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 6, 3, padding=1, padding_mode="circular", bias=False), nn.BatchNorm2d(6)
        self.deep, self.wide = nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 8, 1, groups=2)
        self.norm2, self.skip = nn.BatchNorm2d(8), nn.Conv2d(2, 8, 3, bias=False)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.wide(self.deep(F.relu(self.norm(self.stem(x)), inplace=True)))
        return self.head((self.norm2(h) + self.skip(x)).relu().mean(dim=(2, 3)))


class EqualConvNet(nn.Module):
    """(B, 2, H, W): two convolutions of the same shape, and layers whose shapes occur once."""

    def __init__(self, classes: int = 4, **settings: object) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1, **settings), nn.Conv2d(4, 4, 3, stride=2, **settings)
        self.norm_a, self.norm_b = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm_a(self.a(self.stem(x).relu())).relu()
        return self.head(self.norm_b(self.b(h)).relu().mean(dim=(2, 3)))


class AddsItsInput(nn.Module):
    """(B, features) to (B, features): predicts a correction to its input."""

    def __init__(self, features: int = 3) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(features, 8), nn.Linear(8, features)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.a(x).relu()) + x


class StepsFirst(nn.Module):
    """(B, T, 3): moves the steps to the first axis; no shape shows that members' rows are then elsewhere."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(3, 8), nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x.transpose(0, 1).reshape(-1, 3)).relu()
        return self.out(h.view(x.shape[1], -1, 8).mean(dim=0))


class FusedEncoder(nn.Module):
    """(B, T, 3): torch's transformer encoder, which has a fused path in evaluation mode."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.embed, self.body = nn.Linear(3, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(self.embed(x))[:, 0])


class TinyUNet(nn.Module):
    """(B, 2, H, W) to (B, classes, H, W): one step down and up again, with a skip connection."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.down, self.up = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.merge, self.head = nn.Conv2d(12, 6, 3, padding=1), nn.Conv2d(6, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.stem(x)).relu()
        return self.head(self.merge(torch.cat([h, self.up(self.down(h).relu())], dim=1)).relu())


class TokenTagger(nn.Module):
    """(B, T, 3) to (B, T, classes): attention between the tokens, and a class for each."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.embed, self.attend = nn.Linear(3, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        h = h + self.attend(h, h, h, need_weights=False)[0]
        return self.head(self.body(h).relu())


class SignalTagger(nn.Module):
    """(B, 2, L) to (B, classes, L): a class for each point of a signal."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv1d(2, 6, 3, padding=1), nn.Conv1d(6, 6, 3, padding=1)
        self.head = nn.Conv1d(6, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x).relu()).relu())

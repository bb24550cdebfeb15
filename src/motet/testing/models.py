"""Small models of several kinds on which the laws are checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.method import Model, instance_of
from motet.models import mlp, small_cnn, wide_resnet

CLASSES = 3


@final
@dataclass(frozen=True)
class Case:
    """A model with the shape of its inputs.

    Attributes:
        make: makes a new model with this many outputs at each call.
        shape: the shape of one input.
        classes: the number of outputs, unless a law needs another.
        example: inputs whose distribution random inputs follow; None for standard normal numbers.
        other_outputs: whether `make` can make other numbers of outputs.
    """

    make: Callable[[int], nn.Module]
    shape: tuple[int, ...]
    classes: int = CLASSES
    example: Tensor | None = None
    other_outputs: bool = True

    def model(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """Return a new model in this precision."""
        return self.make(self.classes).to(dtype)

    def inputs(self, rows: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return random inputs with the example's mean and deviation; for integer examples, values drawn from it."""
        if self.example is None:
            return torch.randn(rows, *self.shape, dtype=dtype)
        if self.example.is_floating_point():
            mean, spread = self.example.double().mean(), self.example.double().std(correction=0)
            std = torch.where(spread > 0, spread, 1.0)  # an example of zeros has no deviation
            return (mean + std * torch.randn(rows, *self.shape, dtype=torch.float64)).to(dtype)
        values = self.example.flatten()
        return values[torch.randint(len(values), (rows, *self.shape))]

    def labels(self, rows: int) -> Tensor:
        """Return random classes."""
        return torch.randint(self.classes, (rows,))


def case_of(model: Model, example: Tensor) -> Case:
    """Return the case of a user's model and example."""

    def make(outputs: int) -> nn.Module:
        return instance_of(model)

    with torch.no_grad():
        outputs = instance_of(model).eval()(example.clone())
    return Case(make, tuple(example.shape[1:]), int(outputs.shape[1]), example, other_outputs=False)


@final
class Conv1dNet(nn.Module):
    """A network that flattens with a function, not a module."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 6, 3, stride=2, padding=1)
        self.fc = nn.Linear(6 * 4, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """From signals ``(B, 2, 8)`` to rows."""
        h = torch.tanh(self.conv(x))
        out: Tensor = self.fc(h.reshape(h.shape[0], -1))
        return out


@final
class LogSoftmaxNet(nn.Module):
    """A network that ends in a function, and has dropout."""

    def __init__(self, outputs: int = CLASSES) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5))
        self.out = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """From vectors ``(B, 4)`` to rows."""
        return F.log_softmax(self.out(self.body(x)), dim=1)


@final
class ConvHeadNet(nn.Module):
    """A network whose output layer is a 1x1 convolution, followed by pooling."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular", bias=False)
        self.act = nn.ReLU(inplace=True)
        self.out = nn.Conv2d(4, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """From images ``(B, 1, 5, 5)`` to rows."""
        return F.adaptive_avg_pool2d(self.out(self.act(self.stem(x))), 1).flatten(1)


@final
class NormFirstNet(nn.Module):
    """A network whose first layer is a norm."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.hidden = nn.Linear(4, 8)
        self.norm2 = nn.LayerNorm(8)
        self.out = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """From vectors ``(B, 4)`` to rows."""
        out: Tensor = self.out(F.gelu(self.norm2(self.hidden(self.norm(x)))))
        return out


@final
class TokensNet(nn.Module):
    """A network with a linear layer on every step of a sequence, attention, and a bare parameter."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.cls = nn.Parameter(torch.randn(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """From sequences ``(B, 5, 3)`` to rows."""
        h = self.embed(x)
        h = torch.cat([self.cls.expand(len(h), -1, -1), h], dim=1)
        out: Tensor = self.out((h + self.attention(h, h, h, need_weights=False)[0])[:, 0])
        return out


MODELS: Mapping[str, Case] = {
    "mlp": Case(lambda outputs: mlp(input_shape=(4,), num_classes=outputs, hidden=(8, 8)), (4,)),
    "conv1d": Case(Conv1dNet, (2, 8)),
    "conv2d": Case(lambda outputs: small_cnn(num_classes=outputs, in_channels=2), (2, 6, 6)),
    "log_softmax": Case(LogSoftmaxNet, (4,)),
    "conv head": Case(ConvHeadNet, (1, 5, 5)),
    "norm first": Case(NormFirstNet, (4,)),
    "tokens": Case(TokensNet, (5, 3)),
    "wrn": Case(lambda outputs: wide_resnet(depth=10, width=1, num_classes=outputs), (3, 8, 8)),
}
"""Perceptrons, convolutions over signals and images, attention, norms, functional code, a residual network."""

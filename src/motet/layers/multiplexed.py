"""Transforms that make the inputs of several members different, before one network reads all of them."""

import math
from collections.abc import Sequence
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet._internal.nested import Inputs
from motet.layers.base import MemberLayer
from motet.layers.layout import Layout
from motet.layers.ordinary import Convolution

Kind = Literal["convolve", "scale", "rotate"]
_CONVOLVE = {1: F.conv1d, 2: F.conv2d}


@final
class SummedTransforms(MemberLayer):
    """A fixed linear transform of each member's input, and their sum: ``sum_m phi_m(x_m)`` (DataMUX).

    Args:
        kind: ``"convolve"``: convolution with kernels of size 3 or 3x3, padded to keep the size; ``"scale"``: the
            features on the last axis are multiplied; ``"rotate"``: a matrix is applied to all pixels of each channel,
            or to the features on the last axis.
        weights: kernels ``(M, C, C, 3)`` or ``(M, C, C, 3, 3)``; scales ``(M, F)``, or ``(M, 1)`` for one number;
            matrices ``(M, N, N)``. Kept as a buffer.
        axes: how many of the input's last axes are spatial: 0 for features, 1 for signals, 2 for images.
        layout: says whether the rows are ``(M B)``, one input for each member, or ``B``, the same for all.
    """

    weights: Tensor
    layout: Layout

    def __init__(self, kind: Kind, weights: Tensor, *, axes: int, layout: Layout) -> None:
        super().__init__()
        self.kind, self.axes, self.layout = kind, axes, layout
        self.register_buffer("weights", weights)

    def forward(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "batch ..."]:
        """Rows ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(B, ...)`` out."""
        if not self.layout.distinct:  # the transforms are linear, so on one input they can be added
            return self._transformed(x, self.weights.sum(dim=0))
        parts = x.chunk(len(self.weights))
        return torch.stack([self._transformed(*each) for each in zip(parts, self.weights, strict=True)]).sum(dim=0)

    def _transformed(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.kind == "convolve":
            return _CONVOLVE[self.axes](x, weight, padding=1)
        if self.kind == "scale":
            return x * weight
        flat = x.flatten(-self.axes) if self.axes else x
        return (flat @ weight.T).view(x.shape)

    def member(self, member: int) -> "SummedTransforms":
        """The whole layer: the network after it reads the sum over all members."""
        return self

    def subset(self, indices: Sequence[int]) -> None:
        """None: the network after it reads the sum over all members."""

    def folded(self) -> "SummedTransforms":
        """Return the one transform that computes the same for one shared input."""
        return SummedTransforms(self.kind, self.weights.sum(dim=0, keepdim=True), axes=self.axes, layout=self.layout)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"{self.kind}, members={len(self.weights)}"


@final
class LearnedTransforms(MemberLayer):
    """A learned transform of each member's input: a convolution that keeps the number of channels, or a linear layer,
    and a ReLU.

    Args:
        features: channels C of signals and images, or features F of the last axis.
        members: M.
        axes: how many of the input's last axes are spatial: 0 for features, 1 for signals, 2 for images.
        norm: whether there is a batch norm between the convolution, which then has no bias, and the ReLU.
        layout: says whether the rows are ``(M B)``, one input for each member, or ``B``, the same for all.
        like: a tensor with the device and dtype to use.
    """

    member_parameters = frozenset({"layer.weight", "layer.bias", "norm.weight", "norm.bias"})
    layout: Layout

    layer: nn.Linear | Convolution
    norm: nn.Module | None

    def __init__(self, features: int, members: int, *, axes: int, norm: bool, layout: Layout, like: Tensor) -> None:
        super().__init__()
        self.members, self.axes, self.layout = members, axes, layout
        # Member m's transform is block m of one layer's outputs. Each block is initialised like a separate layer,
        # because its fan-in is the same. A shared input passes the whole layer, separate inputs pass it in M groups.
        outputs, norm = members * features, norm and axes > 0
        if axes == 0:
            self.layer = nn.Linear(features, outputs)
        else:
            convolution = nn.Conv1d if axes == 1 else nn.Conv2d
            self.layer = convolution(features, outputs, 3, padding=1, bias=not norm)
        self.norm = None if not norm else nn.BatchNorm1d(outputs) if axes == 1 else nn.BatchNorm2d(outputs)
        self.to(device=like.device, dtype=like.dtype)

    def forward(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "out_rows ..."]:
        """Rows ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(M B, ...)`` out."""
        if self.axes == 0 and self.layout.distinct:
            weights = self.layer.weight.unflatten(0, (self.members, -1))
            assert self.layer.bias is not None
            biases = self.layer.bias.view(self.members, 1, -1)
            flat = x.reshape(self.members, -1, x.shape[-1])
            return torch.baddbmm(biases, flat, weights.mT).view(x.shape).relu()
        if self.layout.distinct:
            interleaved = x.unflatten(0, (self.members, -1)).transpose(0, 1).flatten(1, 2)
            out = _CONVOLVE[self.axes](interleaved, self.layer.weight, self.layer.bias, padding=1, groups=self.members)
        else:
            out = self.layer(x)
        if self.norm is not None:
            out = self.norm(out)
        axis = 1 if self.axes else x.ndim - 1
        rows: Tensor = out.unflatten(axis, (self.members, -1)).movedim(axis, 0).flatten(0, 1)
        return rows.relu()

    def member(self, member: int) -> "LearnedTransforms":
        """The whole layer: the network after it reads all members' rows at once."""
        return self

    def subset(self, indices: Sequence[int]) -> None:
        """None: the network after it reads all members' rows at once."""

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}"


@final
class Multiplexed(MemberLayer):
    """A network after the transforms of its members' inputs (DataMUX).

    Args:
        transforms: read the model's input and determine the network's rows: ``B``, the sum of the members' transformed
            inputs, or ``(M B)``, member-major, for a network that concatenates them.
        network: maps these rows to rows ``(M B, C)``.
        layout: the layout that the transforms and the network's layers hold.
    """

    layout: Layout

    def __init__(self, transforms: SummedTransforms | LearnedTransforms, network: nn.Module, *, layout: Layout) -> None:
        super().__init__()
        self.transforms = transforms
        self.network = network
        self.layout = layout

    def forward(self, x: Inputs) -> Float[Tensor, "out_rows ..."]:
        """Rows ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(M B, C)`` out, member-major."""
        x = self.transforms(x) if isinstance(x, Tensor) else x.map(self.transforms)
        distinct = isinstance(self.transforms, LearnedTransforms)
        with self.layout.rows(distinct=distinct, members=self.layout.members, mixing=None):
            out: Tensor = self.network(x)
        return out

    def member(self, member: int) -> "Multiplexed":
        """Itself: its layers are replaced by those of the member."""
        return self

    def subset(self, indices: Sequence[int]) -> "Multiplexed":
        """Itself: its layers are replaced by those of the members."""
        return self


def random_rotations(members: int, size: int, *, like: Tensor) -> Tensor:
    """Return M random rotations, ``(M, size, size)``, uniformly distributed.

    Args:
        members: M.
        size: the number of dimensions.
        like: a tensor with the device and dtype to use.
    """
    # The Q factor of a Gaussian matrix is uniform if R's diagonal is made positive (Mezzadri 2007).
    q, r = torch.linalg.qr(torch.randn(members, size, size, dtype=torch.float64))
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    q[:, :, 0] *= torch.linalg.det(q).sign().unsqueeze(-1)  # a rotation, not a reflection
    rotations: Tensor = q.to(device=like.device, dtype=like.dtype)
    return rotations


def pixels(example: Tensor, axes: int) -> int:
    """Return how many numbers `SummedTransforms` rotates: the pixels of a channel, or the features."""
    return math.prod(example.shape[-axes:]) if axes else example.shape[-1]

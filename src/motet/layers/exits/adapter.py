"""The adapter from the features at an exit to the input of the output layer."""

from typing import Any, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.modules.batchnorm import _BatchNorm

from motet.layers.ordinary import Convolution, Ordinary
from motet.layers.parameter_roles import ParameterRoles

_KINDS: dict[int, tuple[type[Convolution], type[_BatchNorm]]] = {
    3: (nn.Conv1d, nn.BatchNorm1d),
    4: (nn.Conv2d, nn.BatchNorm2d),
    5: (nn.Conv3d, nn.BatchNorm3d),
}
# The number of values that stay in a processor's cache between two operations: 0.5 MB in single precision.
_CACHED = 2**17


@final
class Adapter(ParameterRoles):
    """Projects features to another width, normalises, applies a ReLU, and averages over positions.

    Channels first, ``(B, C, L)``, ``(B, C, H, W)`` and ``(B, C, D, H, W)``: 1x1 convolution with bias, batch norm,
    ReLU, global average pool, as in the exits of MIMMO and DUN [yamle, models/resnet.py]. Features last, ``(B, T, F)``,
    ``(B, H, W, F)`` and ``(B, F)``: linear, layer norm, ReLU, mean over positions. The layer norm normalises each row
    separately, like the norms of networks with such features, so that one row is enough for training.

    In a model that predicts at positions, `pools` is False: the positions are kept, with the features on their axis.

    Args:
        axes: the number of axes of the features, including the batch axis.
        axis: the axis that holds the features: 1 or -1.
        inputs: the features' width.
        outputs: the width that the output layer reads.
        device, dtype: device and dtype of the parameters.
    """

    def __init__(
        self,
        *,
        axes: int,
        axis: Literal[1, -1],
        inputs: int,
        outputs: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.pools = True
        self.project: Ordinary
        self.norm: nn.Module
        if axis == 1 and axes > 2:
            convolution, norm = _KINDS[axes]
            self.project = convolution(inputs, outputs, 1, **place)
            self.norm = norm(outputs, **place)
        else:
            self.project = nn.Linear(inputs, outputs, **place)
            # A layer norm over one number would always return its bias.
            self.norm = nn.LayerNorm(outputs, **place) if outputs > 1 else nn.Identity()

    @property
    def shared_parameters(self) -> frozenset[str]:
        """All parameters: none of them was in the model before."""
        return frozenset(name for name, _ in self.named_parameters())

    def forward(self, h: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return ``(B, outputs)`` for the features; the outputs at all positions if `pools` is False."""
        if self.pools and self._reads_once(h):
            return self._in_parts(h)
        h = F.relu(self.norm(self.project(h)))
        if not self.pools:
            return h
        return mean_over_positions(h, 1 if isinstance(self.norm, _BatchNorm) else -1)

    def _reads_once(self, h: Tensor) -> bool:
        """Whether to process the features in parts, for inference on a CPU.

        The projected features are often many times as wide as the network there, and only their average is needed.
        Writing them to memory and reading them again would take several times as long as computing them.
        """
        inference = not self.training and not torch.is_grad_enabled() and h.device.type == "cpu"
        return (
            inference and type(self.norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d) and not self.norm.training
        )

    def _in_parts(self, h: Tensor) -> Tensor:
        weight, bias = self._merged()
        h = h.flatten(2)
        rows = max(1, _CACHED // (h.shape[2] * len(weight)))
        positions = max(1, _CACHED // (rows * len(weight)))
        means = []
        for some in h.split(rows):
            sums = [F.conv1d(part, weight, bias).relu_().sum(dim=-1) for part in some.split(positions, dim=2)]
            means.append(torch.stack(sums).sum(dim=0) if len(sums) > 1 else sums[0])
        return torch.cat(means) / h.shape[2]

    def _merged(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the one convolution that equals projection and batch norm in evaluation mode."""
        norm, project = self.norm, self.project
        assert isinstance(norm, _BatchNorm)
        assert project.bias is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias = norm.bias + (project.bias - norm.running_mean) * scale
        return project.weight.flatten(1).unsqueeze(-1) * scale[:, None, None], bias


def mean_over_positions(h: Tensor, axis: Literal[1, -1]) -> Tensor:
    """Return the mean over all axes but those of the batch and the features, ``(B, F)``."""
    if h.ndim == 2:
        return h
    return h.flatten(2).mean(dim=-1) if axis == 1 else h.flatten(1, -2).mean(dim=1)

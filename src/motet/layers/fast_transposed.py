"""BatchEnsemble's transposed convolution."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet.layers.base import MemberLayer
from motet.layers.layout import ActiveMember, Layout
from motet.layers.ordinary import ReplacedLayer
from motet.layers.transposed import Transposed, apply_transposed, transposed_like


@final
class FastTransposed(MemberLayer, ReplacedLayer):
    """A transposed convolution whose weight each member scales by its own vectors, as `motet.layers.FastWeights`.

    The weight of a transposed convolution has its axes the other way round, ``(in, out / groups, ...)``.

    Args:
        layer: the layer to replace. It is not changed. Its weight itself becomes the slow weight.
        fast_in: alpha, ``(M, r, in)``.
        fast_out: gamma, ``(M, r, out)``.
        biases: the members' biases, ``(M, out)``; None if the layer has none.
        layout, active: see `motet.layers.FastWeights`.
        lr_scale: the learning rate of fast weights and biases as a multiple of the optimiser's.
    """

    undecayed_parameters = frozenset({"fast_in", "fast_out"})
    member_parameters = frozenset({"fast_in", "fast_out", "biases"})
    shared_parameters = frozenset({"slow.weight"})

    def __init__(
        self,
        layer: Transposed,
        fast_in: Tensor,
        fast_out: Tensor,
        biases: Tensor | None,
        *,
        layout: Layout | None = None,
        active: ActiveMember | None = None,
        lr_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.members, self.rank, _ = fast_in.shape
        self.layout, self.active, self.lr_scale = layout, active, lr_scale
        self.slow = transposed_like(layer, bias=False)
        self.slow.weight = layer.weight
        trained = layer.weight.requires_grad
        self.fast_in = nn.Parameter(fast_in.to(layer.weight), requires_grad=trained)
        self.fast_out = nn.Parameter(fast_out.to(layer.weight), requires_grad=trained)
        self.biases: nn.Parameter | None = None
        if layer.bias is not None:
            assert biases is not None
            self.biases = nn.Parameter(biases.to(layer.bias), requires_grad=layer.bias.requires_grad)

    @property
    def parameter_lr_scales(self) -> Mapping[str, float]:
        """The scales of the fast weights and the biases."""
        return dict.fromkeys(("fast_in", "fast_out", "biases"), self.lr_scale)

    def forward(self, x: Float[Tensor, "rows ..."], output_size: Any = None) -> Float[Tensor, "out_rows ..."]:
        """Rows ``(M B, ...)`` in, or ``(B, ...)`` if the layout says so; ``(M B, ...)`` out, member-major.

        Args:
            x: the rows.
            output_size: as for torch's layer.
        """
        if self.active is not None and self.active.member is not None:
            member = self.active.member
            bias = None if self.biases is None else self.biases[member]
            return apply_transposed(self.slow, x, self.weight_of(member), bias, output_size)
        shared = self.layout is not None and not self.layout.distinct
        x_MB = x.unsqueeze(0) if shared else x.unflatten(0, (self.members, -1))
        if self.rank > 1:
            parts = x_MB.expand(self.members, *x_MB.shape[1:]).unbind()
            out_MB = torch.stack(
                [
                    apply_transposed(self.slow, part, self.weight_of(m), None, output_size)
                    for m, part in enumerate(parts)
                ]
            )
        else:
            scaled = (x_MB * self._spread(self.fast_in[:, 0], x_MB)).flatten(0, 1)
            out = apply_transposed(self.slow, scaled, self.slow.weight, None, output_size)
            out_MB = out.unflatten(0, (self.members, -1))
            out_MB = out_MB * self._spread(self.fast_out[:, 0], out_MB)
        if self.biases is not None:
            out_MB = out_MB + self._spread(self.biases, out_MB)
        rows: Tensor = out_MB.flatten(0, 1)
        return rows

    def weight_of(self, member: int) -> Float[Tensor, "..."]:
        """Return the member's weight: ``W * sum_r alpha_r gamma_r^T``, the same for every position of a kernel."""
        weight, groups = self.slow.weight, self.slow.groups
        gamma = self.fast_out[member].unflatten(-1, (groups, -1))
        alpha = self.fast_in[member].unflatten(-1, (groups, -1))
        scales = torch.einsum("rgi,rgo->gio", alpha, gamma).flatten(0, 1)
        return weight * scales.view(*weight.shape[:2], *(1,) * (weight.ndim - 2))

    @torch.no_grad()
    def member(self, member: int) -> Transposed:
        """Return the ordinary layer that computes the member's output."""
        layer = transposed_like(self.slow, bias=self.biases is not None)
        layer.weight.copy_(self.weight_of(member))
        if self.biases is not None:
            assert layer.bias is not None
            layer.bias.copy_(self.biases[member])
        return layer

    @torch.no_grad()
    def subset(self, indices: Sequence[int]) -> "FastTransposed":
        """Return a layer with the same slow weight, and the chosen members' fast weights and biases."""
        chosen = list(indices)
        layer = transposed_like(self.slow, bias=self.biases is not None)
        layer.weight = self.slow.weight
        biases = None if self.biases is None else self.biases[chosen]
        fast_in, fast_out = self.fast_in[chosen], self.fast_out[chosen]
        own = FastTransposed(
            layer, fast_in, fast_out, biases, layout=self.layout, active=self.active, lr_scale=self.lr_scale
        )
        own.fast_in.requires_grad_(self.fast_in.requires_grad)
        own.fast_out.requires_grad_(self.fast_out.requires_grad)
        if own.biases is not None and self.biases is not None:
            own.biases.requires_grad_(self.biases.requires_grad)
        return own.train(self.training)

    def equivalent_attribute(self, name: str) -> Any:
        """The attribute of the slow layer; its bias is the mean over the members."""
        if name == "bias":
            return None if self.biases is None else self.biases.mean(dim=0)
        return getattr(self.slow, name)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}, rank={self.rank}"

    def _spread(self, values: Tensor, like: Tensor) -> Tensor:
        """Broadcast ``(M, channels)`` values to ``(M, B, channels, ...)`` rows, in the rows' dtype."""
        return values.to(like.dtype).view(self.members, 1, -1, *(1,) * (like.ndim - 3))

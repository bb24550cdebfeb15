"""BatchEnsemble's layer: one slow weight for all members, and rank-one fast weights for each."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.renamed_settings import renamed_arguments
from motet.layers.base import MemberLayer
from motet.layers.layout import ActiveMember, Layout
from motet.layers.ordinary import Ordinary, ReplacedLayer, apply, layer_like


@final
@renamed_arguments(learning_rate="lr_scale", learning_rate_scale="lr_scale")
class FastWeights(MemberLayer, ReplacedLayer):
    """A Linear layer or convolution whose weight each member scales by its own vectors (BatchEnsemble, section 3).

    Member m's weight is ``W * sum_r gamma_mr alpha_mr^T``. The slow weight W is shared. The fast weights alpha (one
    entry for every input feature or channel) and gamma (one for every output) belong to the member. At rank 1 the
    member's weight is never computed: the output for x is ``gamma * W(alpha * x)``, which runs all members' rows
    through the layer at once. At higher ranks that would take r times as long, so the members' weights are computed,
    and each member's rows pass its own weight.

    Args:
        layer: the ordinary layer to replace. It is not changed. Its weight parameter itself becomes the slow weight, so
            it stays tied to other layers, and stays frozen.
        fast_in: alpha, ``(M, r, in)``.
        fast_out: gamma, ``(M, r, out)``.
        biases: the members' biases, ``(M, out)``; None if the layer has none.
        layout: for a layer that reads the model's input: says in each forward pass whether the rows are ``B`` rows
            that all members share, or ``(M B)``. None if the rows are always ``(M B)``.
        active: names the member that runs, where members run one after another; None where they never do.
        lr_scale: the learning rate of fast weights and biases as a multiple of the optimiser's.
    """

    undecayed_parameters = frozenset({"fast_in", "fast_out"})
    member_parameters = frozenset({"fast_in", "fast_out", "biases"})
    shared_parameters = frozenset({"slow.weight"})

    def __init__(
        self,
        layer: Ordinary,
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
        self.layout, self.active = layout, active
        self.slow = layer_like(layer, inputs=_inputs(layer), outputs=len(layer.weight))
        self.slow.weight, self.slow.bias = layer.weight, None
        trained = layer.weight.requires_grad
        self.fast_in = nn.Parameter(fast_in.to(layer.weight), requires_grad=trained)
        self.fast_out = nn.Parameter(fast_out.to(layer.weight), requires_grad=trained)
        self.biases: nn.Parameter | None = None
        if layer.bias is not None:
            assert biases is not None
            self.biases = nn.Parameter(biases.to(layer.bias), requires_grad=layer.bias.requires_grad)
        self.lr_scale = lr_scale

    @property
    def parameter_lr_scales(self) -> Mapping[str, float]:
        """The scales of the fast weights and the biases."""
        return dict.fromkeys(("fast_in", "fast_out", "biases"), self.lr_scale)

    def forward(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "out_rows ..."]:
        """Rows ``(M B, ...)`` in, or ``(B, ...)`` if the layout says so; ``(M B, ...)`` out, member-major. Any rows of
        one member in and out, where members run one after another.
        """
        if self.active is not None and self.active.member is not None:
            return self._of_member(x, self.active.member)
        shared = self.layout is not None and not self.layout.distinct
        x_MB = x.unsqueeze(0) if shared else x.unflatten(0, (self.members, -1))
        if self.rank > 1 or self._writing_out_is_cheaper(x_MB):
            parts = x_MB.expand(self.members, *x_MB.shape[1:]).unbind()
            out = torch.cat([apply(self.slow, part, self.weight_of(m)) for m, part in enumerate(parts)])
            if self.biases is None:
                return out
            out_MB: Tensor = out.unflatten(0, (self.members, -1))
            out_MB = out_MB + self._spread(self.biases, out_MB)
            return out_MB.flatten(0, 1)
        scaled_MB = x_MB * self._spread(self.fast_in[:, 0], x_MB)
        out_MB = self.slow(scaled_MB.flatten(0, 1)).unflatten(0, (self.members, -1))
        gamma = self._spread(self.fast_out[:, 0], out_MB)
        out_MB = (
            out_MB * gamma if self.biases is None else torch.addcmul(self._spread(self.biases, out_MB), out_MB, gamma)
        )
        rows: Tensor = out_MB.flatten(0, 1)
        return rows

    def _of_member(self, x: Tensor, member: int) -> Tensor:
        out = apply(self.slow, x, self.weight_of(member))
        if self.biases is None:
            return out
        axes = 0 if isinstance(self.slow, nn.Linear) else out.ndim - 2
        return out + self.biases[member].to(out.dtype).view(-1, *(1,) * axes)

    def weight_of(self, member: int) -> Float[Tensor, "..."]:
        """Return the member's weight: ``W * sum_r gamma_r alpha_r^T``, the same for every position of a kernel."""
        weight = self.slow.weight
        groups = 1 if isinstance(self.slow, nn.Linear) else self.slow.groups
        # Output o of group g reads only the inputs of its own group.
        gamma = self.fast_out[member].unflatten(-1, (groups, -1))
        alpha = self.fast_in[member].unflatten(-1, (groups, -1))
        scales = torch.einsum("rgo,rgi->goi", gamma, alpha).flatten(0, 1)
        return weight * scales.view(*weight.shape[:2], *(1,) * (weight.ndim - 2))

    @torch.no_grad()
    def member(self, member: int) -> Ordinary:
        """Return the ordinary layer that computes the member's output."""
        layer = layer_like(
            self.slow, inputs=_inputs(self.slow), outputs=len(self.slow.weight), bias=self.biases is not None
        )
        layer.weight.copy_(self.weight_of(member))
        if self.biases is not None:
            assert layer.bias is not None
            layer.bias.copy_(self.biases[member])
        return layer

    @torch.no_grad()
    def subset(self, indices: Sequence[int]) -> "FastWeights":
        """Return a layer with the same slow weight, and the chosen members' fast weights and biases."""
        chosen = list(indices)
        layer = layer_like(
            self.slow, inputs=_inputs(self.slow), outputs=len(self.slow.weight), bias=self.biases is not None
        )
        layer.weight = self.slow.weight
        if self.biases is not None:
            assert layer.bias is not None
            layer.bias.requires_grad_(self.biases.requires_grad)
        own = FastWeights(
            layer,
            self.fast_in[chosen],
            self.fast_out[chosen],
            None if self.biases is None else self.biases[chosen],
            layout=self.layout,
            active=self.active,
            lr_scale=self.lr_scale,
        )
        own.fast_in.requires_grad_(self.fast_in.requires_grad)
        own.fast_out.requires_grad_(self.fast_out.requires_grad)
        return own.train(self.training)

    def equivalent_attribute(self, name: str) -> Any:
        """The attribute of the slow layer; its bias is the mean over the members."""
        if name == "bias":
            return None if self.biases is None else self.biases.mean(dim=0)
        return getattr(self.slow, name)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}, rank={self.rank}"

    def _ordinary_layer(self) -> Ordinary:
        outputs = len(self.slow.weight)
        return layer_like(self.slow, inputs=_inputs(self.slow), outputs=outputs, bias=self.biases is not None)

    def _writing_out_is_cheaper(self, x_MB: Tensor) -> bool:
        # Without gradients, on a CPU, which is limited by memory, and with more features than weights: WRN-16-4 then
        # takes a fifth less time (32 rows).
        few = self.slow.weight.numel() <= x_MB[0].numel()
        return few and x_MB.device.type == "cpu" and not torch.is_grad_enabled()

    def _spread(self, values: Tensor, like: Tensor) -> Tensor:
        """Broadcast ``(M, features)`` values to ``(M, B, ...)`` rows: along the last axis for Linear, otherwise the
        channels.

        They get the rows' dtype, because under autocast full precision would undo the layer's half precision.
        """
        after = 0 if isinstance(self.slow, nn.Linear) else like.ndim - 3
        before = like.ndim - 2 - after
        return values.to(like.dtype).view(self.members, *(1,) * before, -1, *(1,) * after)


def _inputs(layer: Ordinary) -> int:
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels

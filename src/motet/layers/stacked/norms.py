"""Norms and learned activations of M networks whose weights are in the channels of one network."""

from typing import Any, TypeVar, final

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.layers.layout import ActiveMember
from motet.layers.stacked.layers import BatchNorm, StackedLayer

Norm = TypeVar("Norm", bound=nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm)


def _place(layer: nn.Module) -> dict[str, Any]:
    for tensor in (*layer.parameters(), *layer.buffers()):
        if tensor.is_floating_point():
            return {"device": tensor.device, "dtype": tensor.dtype}
    return {}


def _with_bias_like(made: Norm, layer: Norm) -> Norm:
    # Newer torch's norms may have a scale without a shift; the constructors of older torch have no argument for that.
    if layer.bias is None:
        made.register_parameter("bias", None)
    return made


@final
class StackedBatchNorm(StackedLayer):
    """M batch norms: one batch norm over all members' channels.

    Args:
        layer: one of them; not changed.
        members: M.
        active: the stack's active member.
    """

    layer: BatchNorm

    def __init__(self, layer: BatchNorm, members: int, active: ActiveMember) -> None:
        super().__init__(members, active)
        self.layer = _batch_norm(layer, members * layer.num_features)
        self._calls = [0] * members
        self._batches = 0

    def prepare_parts(self, *, only: int | None = None) -> None:
        """See `StackedLayer.prepare_parts`."""
        super().prepare_parts(only=only)
        self._calls = [0] * self.members
        tracked = self.layer.num_batches_tracked
        # Its value is needed only for a cumulative average, and reading it synchronises with an accelerator.
        self._batches = int(tracked) if tracked is not None and self.layer.momentum is None else 0

    def forward_all(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """``(B, M C, ...)``, normalised per channel."""
        out: Tensor = self.layer(x)
        return out

    def forward_one(self, x: Float[Tensor, "batch ..."], member: int) -> Float[Tensor, "batch ..."]:
        """``(B, C, ...)``, normalised per channel: torch's own forward on the member's part."""
        layer = self.layer
        mean, var = self.part("running_mean", member), self.part("running_var", member)
        momentum = 0.0 if layer.momentum is None else layer.momentum
        if layer.training and layer.track_running_stats and layer.num_batches_tracked is not None:
            self._calls[member] += 1
            if member == 0:
                layer.num_batches_tracked.add_(1)
            if layer.momentum is None:
                momentum = 1.0 / (self._batches + self._calls[member])
        by_batch = layer.training or (mean is None and var is None)
        keeps = not layer.training or layer.track_running_stats
        return F.batch_norm(
            x,
            mean if keeps else None,
            var if keeps else None,
            self.part("weight", member),
            self.part("bias", member),
            by_batch,
            momentum,
            layer.eps,
        )

    def like_for(self, layer: BatchNorm, members: int) -> "StackedBatchNorm":
        """See `StackedLayer.like_for`."""
        return StackedBatchNorm(layer, members, self.active)

    def member(self, member: int) -> nn.Module:
        """The member's batch norm."""
        return self.empty(_batch_norm(self.layer, self.layer.num_features // self.members), member)


def _batch_norm(layer: BatchNorm, features: int) -> BatchNorm:
    kind = nn.BatchNorm1d if isinstance(layer, nn.BatchNorm1d) else nn.BatchNorm2d
    made = kind(
        features,
        eps=layer.eps,
        momentum=layer.momentum,
        affine=layer.affine,
        track_running_stats=layer.track_running_stats,
        **_place(layer),
    )
    return _with_bias_like(made, layer)


@final
class StackedGroupNorm(StackedLayer):
    """M group norms: one group norm with M times the groups.

    Args:
        layer: one of them; not changed.
        members: M.
        active: the stack's active member.
    """

    layer: nn.GroupNorm

    def __init__(self, layer: nn.GroupNorm, members: int, active: ActiveMember) -> None:
        super().__init__(members, active)
        self.layer = _group_norm(layer, members * layer.num_groups, members * layer.num_channels)

    def forward_all(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """``(B, M C, ...)``, normalised per group."""
        out: Tensor = self.layer(x)
        return out

    def forward_one(self, x: Float[Tensor, "batch ..."], member: int) -> Float[Tensor, "batch ..."]:
        """``(B, C, ...)``, normalised per group."""
        groups = self.layer.num_groups // self.members
        return F.group_norm(x, groups, self.part("weight", member), self.part("bias", member), self.layer.eps)

    def like_for(self, layer: nn.GroupNorm, members: int) -> "StackedGroupNorm":
        """See `StackedLayer.like_for`."""
        return StackedGroupNorm(layer, members, self.active)

    def member(self, member: int) -> nn.Module:
        """The member's group norm."""
        groups, channels = self.layer.num_groups // self.members, self.layer.num_channels // self.members
        return self.empty(_group_norm(self.layer, groups, channels), member)


def _group_norm(layer: nn.GroupNorm, groups: int, channels: int) -> nn.GroupNorm:
    made = nn.GroupNorm(groups, channels, eps=layer.eps, affine=layer.affine, **_place(layer))
    return _with_bias_like(made, layer)


@final
class StackedLayerNorm(StackedLayer):
    """M layer norms over the last axis: the members' features are normalised separately.

    Args:
        layer: one of them; not changed.
        members: M.
        active: the stack's active member.
    """

    layer: nn.LayerNorm

    def __init__(self, layer: nn.LayerNorm, members: int, active: ActiveMember) -> None:
        super().__init__(members, active)
        self.features = layer.normalized_shape[0]
        self.layer = _layer_norm(layer, members * self.features)

    def forward_all(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """``(B, ..., M F)``, each member's features normalised."""
        apart = F.layer_norm(x.unflatten(-1, (self.members, -1)), (self.features,), eps=self.layer.eps).flatten(-2)
        if self.layer.weight is None:
            return apart
        scaled: Tensor = apart * self.layer.weight
        return scaled if self.layer.bias is None else scaled + self.layer.bias

    def forward_one(self, x: Float[Tensor, "batch ..."], member: int) -> Float[Tensor, "batch ..."]:
        """``(B, ..., F)``, normalised."""
        weight, bias = self.part("weight", member), self.part("bias", member)
        return F.layer_norm(x, (self.features,), weight, bias, self.layer.eps)

    def like_for(self, layer: nn.LayerNorm, members: int) -> "StackedLayerNorm":
        """See `StackedLayer.like_for`."""
        return StackedLayerNorm(layer, members, self.active)

    def member(self, member: int) -> nn.Module:
        """The member's layer norm."""
        return self.empty(_layer_norm(self.layer, self.features), member)


def _layer_norm(layer: nn.LayerNorm, features: int) -> nn.LayerNorm:
    return nn.LayerNorm(
        features,
        eps=layer.eps,
        elementwise_affine=layer.elementwise_affine,
        bias=layer.bias is not None,
        **_place(layer),
    )


@final
class StackedPReLU(StackedLayer):
    """M PReLUs: one slope for each channel, whether a member has one slope or one for each channel.

    Args:
        layer: one of them; not changed.
        members: M.
        active: the stack's active member.
    """

    layer: nn.PReLU

    def __init__(self, layer: nn.PReLU, members: int, active: ActiveMember) -> None:
        super().__init__(members, active)
        self.layer = nn.PReLU(members * layer.num_parameters, **_place(layer))

    def forward_all(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """``(B, M C, ...)``."""
        repeats = x.shape[1] // len(self.layer.weight)
        return F.prelu(x, self.layer.weight.repeat_interleave(repeats) if repeats > 1 else self.layer.weight)

    def forward_one(self, x: Float[Tensor, "batch ..."], member: int) -> Float[Tensor, "batch ..."]:
        """``(B, C, ...)``."""
        weight = self.part("weight", member)
        assert weight is not None
        return F.prelu(x, weight)

    def like_for(self, layer: nn.PReLU, members: int) -> "StackedPReLU":
        """See `StackedLayer.like_for`."""
        return StackedPReLU(layer, members, self.active)

    def member(self, member: int) -> nn.Module:
        """The member's PReLU."""
        slopes = self.layer.num_parameters // self.members
        return self.empty(nn.PReLU(slopes, **_place(self.layer)), member)

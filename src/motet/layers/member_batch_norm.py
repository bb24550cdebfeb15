"""Batch normalisation with separate scales, shifts and statistics for each member."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.layers.base import MemberLayer
from motet.layers.layout import ActiveMember, Layout
from motet.layers.ordinary import OneInputLayer

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


@final
class MemberBatchNorm(MemberLayer, OneInputLayer):
    """M batch norms in one layer, each applied to its member's rows [edward2, EnsembleSyncBatchNorm].

    A shared batch norm computes its statistics over the rows of all members, although their features are scaled
    differently. As in the paper's code, scales and shifts are not decayed.

    Args:
        norm: the ordinary batch norm to replace; not changed. Every member starts with its state.
        members: M.
        layout: for a layer that reads the model's input: says in each forward pass whether the rows are ``B`` rows
            that all members share, or ``(M B)``. None if the rows are always ``(M B)``.
        active: names the member that runs, where members run one after another; None where they never do.
    """

    is_norm = True
    undecayed_parameters = frozenset({"weight", "bias"})
    member_parameters = frozenset({"weight", "bias"})

    def __init__(
        self, norm: BatchNorm, members: int, *, layout: Layout | None = None, active: ActiveMember | None = None
    ) -> None:
        super().__init__()
        self.members, self.layout, self.active = members, layout, active
        self.kind: type[BatchNorm] = next(
            kind for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d) if isinstance(norm, kind)
        )
        self.num_features, self.eps, self.momentum = norm.num_features, norm.eps, norm.momentum
        for name in ("weight", "bias"):
            value = getattr(norm, name)
            stacked = None if value is None else nn.Parameter(_stack(value, members), requires_grad=value.requires_grad)
            self.register_parameter(name, stacked)
        for name in ("running_mean", "running_var"):
            value = getattr(norm, name)
            self.register_buffer(name, None if value is None else _stack(value, members))
        batches = norm.num_batches_tracked
        self.register_buffer("num_batches_tracked", None if batches is None else batches.clone())
        self.train(norm.training)

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def forward(self, x: Float[Tensor, "rows features ..."]) -> Float[Tensor, "out_rows features ..."]:
        """Rows ``(M B, features, ...)`` in, or ``(B, ...)`` if the layout says so; ``(M B, ...)`` out."""
        if self.active is not None and self.active.member is not None:
            return self._of_member(x, self.active.member)
        shared = self.layout is not None and not self.layout.distinct
        x_MB = x.unsqueeze(0).expand(self.members, *x.shape) if shared else x.unflatten(0, (self.members, -1))
        if not self.training and self.running_mean is not None:
            return self._with_running_statistics(x_MB).flatten(0, 1)
        momentum = self._counted()
        return torch.cat([self._normalised(rows, member, momentum) for member, rows in enumerate(x_MB.unbind())])

    def _counted(self, *, once: bool = True) -> float:
        """Count a training batch if `once`; return the momentum of the running statistics."""
        if self.training and self.num_batches_tracked is not None:
            if once:
                self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the mean over all batches so far
                return 1.0 / float(self.num_batches_tracked)
        return 0.0 if self.momentum is None else self.momentum

    def _normalised(self, rows: Tensor, member: int, momentum: float, *, by_batch: bool = True) -> Tensor:
        return F.batch_norm(
            rows,
            _of(self.running_mean, member),
            _of(self.running_var, member),
            _of(self.weight, member),
            _of(self.bias, member),
            training=by_batch,
            momentum=momentum,
            eps=self.eps,
        )

    def _of_member(self, x: Tensor, member: int) -> Tensor:
        """Normalise one member's rows, where members run one after another."""
        if not self.training and self.running_mean is not None:
            return self._normalised(x, member, 0.0, by_batch=False)
        # All members' passes are one batch.
        return self._normalised(x, member, self._counted(once=member == 0))

    @torch.no_grad()
    def member(self, member: int) -> BatchNorm:
        """Return the ordinary batch norm with the member's state."""
        norm = self.kind(
            self.num_features,
            eps=self.eps,
            momentum=self.momentum,
            affine=self.weight is not None,
            track_running_stats=self.running_mean is not None,
        )
        for name, value in (*self.named_parameters(), *self.named_buffers()):
            own = value[member] if value.ndim else value
            kept = nn.Parameter(own.clone()) if isinstance(value, nn.Parameter) else own.clone()
            setattr(norm, name, kept)
        return norm.train(self.training)

    @torch.no_grad()
    def subset(self, indices: Sequence[int]) -> "MemberBatchNorm":
        """The chosen members' norms."""
        own = MemberBatchNorm(self.member(indices[0]), len(indices), layout=self.layout, active=self.active)
        for name, value in (*self.named_parameters(), *self.named_buffers()):
            part = value[list(indices)] if value.ndim else value.clone()
            kept = isinstance(value, nn.Parameter)
            setattr(own, name, nn.Parameter(part, requires_grad=value.requires_grad) if kept else part)
        return own.train(self.training)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"{self.num_features}, members={self.members}, eps={self.eps}, momentum={self.momentum}"

    def _with_running_statistics(self, x_MB: Tensor) -> Tensor:
        """Apply one multiplication and one addition per element, for all members at once; never in half precision."""
        assert self.running_mean is not None
        assert self.running_var is not None
        kind = torch.promote_types(x_MB.dtype, self.running_mean.dtype)
        kind = torch.float32 if kind in (torch.float16, torch.bfloat16) else kind
        scale = (self.running_var.to(kind) + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -self.running_mean * scale
        if self.bias is not None:
            shift = shift + self.bias
        axes = (self.members, 1, self.num_features, *(1,) * (x_MB.ndim - 3))
        return torch.addcmul(shift.view(axes), x_MB.to(kind), scale.view(axes)).to(x_MB.dtype)


def _stack(value: Tensor, members: int) -> Tensor:
    return value.detach().unsqueeze(0).repeat(members, 1)


def _of(value: Tensor | None, member: int) -> Tensor | None:
    return None if value is None else value[member]

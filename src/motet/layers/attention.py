"""Multi-head attention whose projections are ordinary layers."""

import math
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.layers.base import MemberLayer


@final
class Attention(MemberLayer):
    """Computes what a ``nn.MultiheadAttention`` with the batch first computes, from four Linear layers.

    torch computes attention as a whole: the inner layer ``out_proj`` never runs, and the other projections are bare
    parameters. Here the projections of queries, keys, values and outputs are Linear layers that run, so that they can
    be converted like any other.

    Args:
        attention: the module to follow, with ``batch_first=True``; not changed. Parameters that are whole matrices are
            taken over; those that hold all three projections are split into copies.
    """

    batch_first = True
    # What torch's transformer layers read to find out whether their fused kernel fits. With these it does not, because
    # it would read the weights of the original.
    in_proj_weight = None
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim, self.num_heads = attention.embed_dim, attention.num_heads
        self.kdim, self.vdim, self.head_dim = attention.kdim, attention.vdim, attention.head_dim
        self.dropout, self.add_zero_attn = attention.dropout, attention.add_zero_attn
        bias = attention.in_proj_bias
        biases = (None,) * 3 if bias is None else bias.chunk(3)
        whole = attention.in_proj_weight
        if whole is None:
            weights = [attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight]
        else:
            weights = [
                nn.Parameter(part.detach().clone(), requires_grad=whole.requires_grad) for part in whole.chunk(3)
            ]
        trained = bias is not None and bias.requires_grad
        self.q_proj, self.k_proj, self.v_proj = (
            _linear(weight, None if own is None else nn.Parameter(own.detach().clone(), requires_grad=trained))
            for weight, own in zip(weights, biases, strict=True)
        )
        self.out_proj = _linear(attention.out_proj.weight, attention.out_proj.bias)
        self.bias_k, self.bias_v = attention.bias_k, attention.bias_v
        self.train(attention.training)

    def forward(  # noqa: PLR0917  # torch's signature
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output ``(B, L, E)``, and the attention weights or None.

        Args:
            query, key, value: ``(B, L, E)``, ``(B, S, kdim)`` and ``(B, S, vdim)``.
            key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal: as for torch's module.
        """
        if query.ndim == 2:
            padding = None if key_padding_mask is None else key_padding_mask[None]
            out, shown = self(
                query[None], key[None], value[None], padding, need_weights, attn_mask, average_attn_weights, is_causal
            )
            return out[0], None if shown is None else shown[0]
        # torch refuses this too: a hint without a mask.
        assert attn_mask is not None or not is_causal, "is_causal=True needs attn_mask"
        q, k, v = self.q_proj(query), self.k_proj(key), self.v_proj(value)
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (
                torch.cat([each, extra.to(each.dtype).expand(len(each), 1, -1)], dim=1)
                for each, extra in ((k, self.bias_k), (v, self.bias_v))
            )
        q, k, v = (each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in (q, k, v))
        if self.add_zero_attn:
            k, v = (F.pad(each, (0, 0, 0, 1)) for each in (k, v))
        alone = is_causal and key_padding_mask is None and not need_weights  # torch then ignores the mask
        mask = None if alone else self._mask(attn_mask, key_padding_mask, q, k.shape[2] - key.shape[1])
        rate = self.dropout if self.training else 0.0
        if need_weights:
            scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
            weights = F.dropout(torch.softmax(scores if mask is None else scores + mask, dim=-1), rate)
            out = weights @ v
            shown = weights.mean(dim=1) if average_attn_weights else weights
        else:
            out, shown = F.scaled_dot_product_attention(q, k, v, mask, rate, alone), None
        return self.out_proj(out.transpose(1, 2).flatten(2)), shown

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, q: Tensor, more: int) -> Tensor | None:
        """Return the sum of both masks, as numbers to add to the scores, that broadcasts to ``(B, heads, L, S)``."""
        total: Tensor | None = None
        if attn_mask is not None:
            total = _numbers(attn_mask, q)
            total = total.unflatten(0, (-1, self.num_heads)) if total.ndim == 3 else total
            total = F.pad(total, (0, more))
        if padding is not None:
            own = F.pad(_numbers(padding, q), (0, more))[:, None, None]
            total = own if total is None else total + own
        return total

    def member(self, member: int) -> nn.Module:
        """Return torch's module with the member's projections; itself if they are more than Linear layers."""
        whole = self._joined([part.member(member) if isinstance(part, MemberLayer) else part for part in self._parts()])
        return self if whole is None else whole

    def folded(self) -> nn.Module | None:
        """Return torch's module, if the projections can be folded to Linear layers."""
        return self._joined([part.folded() if isinstance(part, MemberLayer) else part for part in self._parts()])

    def _parts(self) -> tuple[nn.Module, ...]:
        return self.q_proj, self.k_proj, self.v_proj, self.out_proj

    @torch.no_grad()
    def _joined(self, own: list[Any]) -> nn.Module | None:
        if not all(isinstance(part, nn.Linear) for part in own):
            return None
        first, *_, out = own
        module = nn.MultiheadAttention(
            self.embed_dim,
            self.num_heads,
            dropout=self.dropout,
            bias=out.bias is not None,
            add_bias_kv=self.bias_k is not None,
            add_zero_attn=self.add_zero_attn,
            kdim=self.kdim,
            vdim=self.vdim,
            batch_first=True,
            device=out.weight.device,
            dtype=out.weight.dtype,
        )
        if module.in_proj_weight is None:
            module.q_proj_weight, module.k_proj_weight, module.v_proj_weight = (part.weight for part in own[:3])
        else:
            module.in_proj_weight.copy_(torch.cat([part.weight for part in own[:3]]))
            module.in_proj_weight.requires_grad_(first.weight.requires_grad)
        if module.in_proj_bias is not None:
            module.in_proj_bias.copy_(torch.cat([part.bias for part in own[:3]]))
            module.in_proj_bias.requires_grad_(first.bias.requires_grad)
        module.out_proj.weight, module.out_proj.bias = out.weight, out.bias
        module.bias_k, module.bias_v = self.bias_k, self.bias_v
        return module.train(self.training)

    def subset(self, indices: Sequence[int]) -> "Attention":
        """Itself: its projections are replaced by those of the members."""
        return self

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


def _numbers(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill_(mask, -math.inf)


def _linear(weight: Any, bias: nn.Parameter | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=weight.device, dtype=weight.dtype)
    layer.weight, layer.bias = weight, bias  # type: ignore[assignment]  # the stubs forget that there may be none
    return layer

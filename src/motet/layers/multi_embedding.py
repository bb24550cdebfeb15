"""An embedding that reads the tokens of several members."""

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.layers.base import MemberLayer
from motet.layers.inputs_in_turn import ReadsInTurn
from motet.layers.layout import Layout
from motet.layers.ordinary import ReplacedLayer


@final
class MultiEmbedding(MemberLayer, ReplacedLayer, ReadsInTurn):
    """M tables for the tokens of M inputs; their outputs are added. The counterpart of `MultiInput` for integers.

    An embedding is a linear layer over one-hot vectors, so this is MIMO's input layer (section 2) for them. With one
    shared input the tables can be added.

    Args:
        layer: the embedding to replace; it is not changed.
        tables: the members' tables, ``(M, tokens, features)``.
        layout: says whether the rows are ``(M B)``, one input for each member, or ``B``, the same for all; and how
            inputs are mixed.
        scale: multiplies the sum over members if inputs are not mixed.
    """

    member_parameters = frozenset({"tables"})
    layout: Layout

    def __init__(self, layer: nn.Embedding, tables: Tensor, *, layout: Layout, scale: float = 1.0) -> None:
        super().__init__()
        self.members, self.layout, self.scale = len(tables), layout, scale
        self.tables = nn.Parameter(tables.detach().clone(), requires_grad=layer.weight.requires_grad)
        self.num_embeddings, self.embedding_dim = layer.num_embeddings, layer.embedding_dim
        self.padding_idx, self.max_norm, self.norm_type = layer.padding_idx, layer.max_norm, layer.norm_type
        self.scale_grad_by_freq, self.sparse = layer.scale_grad_by_freq, layer.sparse

    def forward(self, x: Int[Tensor, "rows ..."]) -> Float[Tensor, "batch ..."]:
        """Token ids ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(B, ..., features)`` out.

        Raises:
            InputError: if inputs are mixed with a ratio for each pixel.
        """
        if not self.layout.distinct:
            return self._added([x] * self.members)
        read = self.collected(x)
        if read is None:
            return self._looked_up(x, 0)
        parts = read.chunk(self.members)
        mixing = self.layout.mixing
        if mixing is None:
            return self._added(parts)
        if mixing.ndim != 2:
            raise InputError(
                "token ids can be mixed only with one ratio for each member's input, (batch, members)",
                got=f"ratios of shape {tuple(mixing.shape)}",
                fix="Pass mixing='linear'",
            )
        shares_MB = self.members * mixing.to(self.tables.dtype).T
        looked_up = [self._looked_up(part, member) for member, part in enumerate(parts)]
        shared = [
            share_B.view(-1, *(1,) * (rows.ndim - 1)) * rows for share_B, rows in zip(shares_MB, looked_up, strict=True)
        ]
        return torch.stack(shared).sum(dim=0)

    def _added(self, parts: Sequence[Tensor]) -> Tensor:
        total = torch.stack([self._looked_up(part, member) for member, part in enumerate(parts)]).sum(dim=0)
        return total if self.scale == 1 else self.scale * total

    def _looked_up(self, x: Tensor, member: int) -> Tensor:
        return F.embedding(
            x, self.tables[member], self.padding_idx, None, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def equivalent_attribute(self, name: str) -> Any:
        """The attribute of the embedding for one shared input; its weight is the sum of the tables.

        Args:
            name: the attribute.

        Raises:
            AttributeError: for another attribute than the weight.
        """
        if name == "weight":
            return self.scale * self.tables.sum(dim=0)
        raise AttributeError(f"an embedding has no attribute {name!r}")

    @torch.no_grad()
    def folded(self) -> nn.Embedding:
        """Return the ordinary embedding that computes the same for one shared input: the M tables added."""
        weight = self.scale * self.tables.sum(dim=0)
        layer = nn.Embedding(
            self.num_embeddings,
            self.embedding_dim,
            padding_idx=self.padding_idx,
            scale_grad_by_freq=self.scale_grad_by_freq,
            sparse=self.sparse,
            device=weight.device,
            dtype=weight.dtype,
        )
        layer.weight.copy_(weight)
        return layer

    def member(self, member: int) -> nn.Embedding:
        """With a shared input every member has the same input layer: see `folded`."""
        return self.folded()

    def subset(self, indices: Sequence[int]) -> None:
        """None: the members' tables are added."""

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"{self.num_embeddings}, {self.embedding_dim}, members={self.members}"

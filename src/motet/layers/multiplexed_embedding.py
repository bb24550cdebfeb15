"""An embedding whose outputs are transformed for each member and added (DataMUX on text)."""

from collections.abc import Sequence
from typing import Any, final

from jaxtyping import Float, Int
from torch import Tensor, nn

from motet.layers.base import MemberLayer
from motet.layers.inputs_in_turn import ReadsInTurn
from motet.layers.layout import Layout
from motet.layers.multiplexed import LearnedTransforms, SummedTransforms
from motet.layers.ordinary import ReplacedLayer


@final
class MultiplexedEmbedding(MemberLayer, ReplacedLayer, ReadsInTurn):
    """One table for the tokens of all members, and a transform of each member's vectors before they are added.

    Token ids cannot be transformed, so DataMUX multiplexes their vectors: ``sum_m phi_m(e(x_m))`` (section 3).

    Args:
        layer: the embedding; all members share it.
        transforms: the members' transforms of vectors, ``axes=0``.
        layout: says whether the rows are ``(M B)``, one input for each member, or ``B``, the same for all.
        members: M.
    """

    layout: Layout

    def __init__(
        self, layer: nn.Embedding, transforms: SummedTransforms | LearnedTransforms, *, layout: Layout, members: int
    ) -> None:
        super().__init__()
        self.layer, self.transforms, self.layout, self.members = layer, transforms, layout, members
        self.num_embeddings, self.embedding_dim = layer.num_embeddings, layer.embedding_dim
        self.padding_idx = layer.padding_idx

    def forward(self, x: Int[Tensor, "rows ..."]) -> Float[Tensor, "batch ..."]:
        """Token ids ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(B, ..., features)`` out."""
        read = self.collected(x) if self.layout.distinct else x
        if read is None:
            alone: Tensor = self.layer(x)
            return alone
        out: Tensor = self.transforms(self.layer(read))
        if isinstance(self.transforms, LearnedTransforms):
            out = out.unflatten(0, (self.members, -1)).sum(dim=0)
        return out

    def equivalent_attribute(self, name: str) -> Any:
        """The attribute of the shared embedding."""
        return getattr(self.layer, name)

    def member(self, member: int) -> "MultiplexedEmbedding":
        """The whole layer: the network after it reads the sum over all members."""
        return self

    def subset(self, indices: Sequence[int]) -> None:
        """None: the network after it reads the sum over all members."""

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}"

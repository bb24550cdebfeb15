"""Weights over the depths of a network that predicts at several depths."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet.layers.base import MemberLayer


@final
class DepthWeights(MemberLayer):
    """Each member's weights over D depths: the softmax of logits that are initially zero, so of equal weights.

    If learned, they are the categorical depth posterior of DUN (Antoran et al. 2020) and MIMMO (appendix A). The logits
    are never decayed, because decay would pull the posterior towards the uniform one in addition to the objective's own
    prior.

    Args:
        members: M.
        depths: D, at least 1.
        learned: whether the logits are parameters. If not, they are a buffer, and stay zero unless an objective
            estimates them (DUN's marginal likelihood).
        device, dtype: device and dtype of the logits.
    """

    undecayed_parameters = frozenset({"logits_MD"})
    member_parameters = frozenset({"logits_MD"})

    logits_MD: Tensor

    def __init__(
        self,
        members: int,
        depths: int,
        *,
        learned: bool,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        logits_MD = torch.zeros(members, depths, device=device, dtype=dtype)
        if learned and depths > 1:  # a single depth always has weight 1
            self.logits_MD = nn.Parameter(logits_MD)
        else:
            self.register_buffer("logits_MD", logits_MD)

    def forward(self) -> Float[Tensor, "member depth"]:
        """Return the log of the weights, which add up to 1 over the depths."""
        return self.logits_MD.log_softmax(dim=-1)

    def member(self, member: int) -> "DepthWeights":
        """The member's weights, ``(1, D)``."""
        return self if len(self.logits_MD) == 1 else self.subset([member])

    @torch.no_grad()
    def subset(self, indices: Sequence[int]) -> "DepthWeights":
        """The chosen members' weights."""
        logits_MD = self.logits_MD
        own = DepthWeights(len(indices), logits_MD.shape[1], learned=False)
        if isinstance(logits_MD, nn.Parameter):
            del own.logits_MD
            own.logits_MD = nn.Parameter(logits_MD[list(indices)], requires_grad=logits_MD.requires_grad)
        else:
            own.logits_MD = logits_MD[list(indices)]
        return own.train(self.training)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        members, depths = self.logits_MD.shape
        return f"members={members}, depths={depths}, learned={isinstance(self.logits_MD, nn.Parameter)}"

"""The one module that every method returns."""

import copy
import math
from collections.abc import Callable
from typing import Any, final

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from motet.errors import InputError
from motet.grouping import Grouping
from motet.layers import Layout
from motet.likelihoods import Combination, Likelihood
from motet.modes import evaluating
from motet.objectives import Objective
from motet.prediction import Prediction
from motet.surgery import replace_module
from motet.types import Batch

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@final
class Ensemble(nn.Module):
    """M predictors in one network. Made by ``Method.wrap``, not by hand.

    Args:
        network: maps rows to rows ``(M B, C)``, member-major.
        members: M.
        description: what made it, shown by ``print``.
        likelihood, objective, grouping: see the modules of these names.
        layout: the one that the network's member layers hold.
        combination: how members are combined.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        members: int,
        description: str,
        likelihood: Likelihood,
        objective: Objective,
        grouping: Grouping,
        layout: Layout,
        combination: Combination = "mixture",
    ) -> None:
        super().__init__()
        self.network = network
        self.members = members
        self.description = description
        self.likelihood = likelihood
        self.objective = objective
        self.grouping = grouping
        self.layout = layout
        self.combination: Combination = combination
        self.is_folded = False

    def forward(self, x: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch member out"]:
        """Every member's output for the same inputs: ``(B, ...)`` to natural parameters ``(B, M, C)``.

        In training mode this is still the prediction for shared inputs; the training objective is `loss`.
        """
        return self._by_member(self.network(x), len(x))

    def forward_batch(self, batch: Batch) -> Float[Tensor, "batch member out"]:
        """Every member's output for the rows that were dealt to it, ``(B, M, C)``.

        Raises:
            InputError: if the batch was dealt to another number of members, or the ensemble is folded.
        """
        if not batch.distinct:
            return self.forward(batch.inputs)
        if self.is_folded:
            raise self._folded_error("forward_batch with inputs of each member's own")
        rows, members = batch.inputs.shape[:2]
        if members != self.members:
            raise InputError(
                f"inputs of the members' own must have shape (batch, {self.members}, ...)",
                got=f"shape {tuple(batch.inputs.shape)}",
                fix="Deal the batch with ensemble.grouping.deal(x, y, members=ensemble.members)",
            )
        with self.layout.distinct_rows():
            return self._by_member(self.network(batch.inputs.transpose(0, 1).flatten(0, 1)), rows)

    def loss(
        self, x: Shaped[Tensor, "unique ..."], y: Shaped[Tensor, "unique ..."], *, generator: Generator | None = None
    ) -> Float[Tensor, ""]:
        """The training objective on a batch of unique examples: a scalar to call ``backward`` on.

        Args:
            x: inputs, ``(B, ...)``.
            y: class labels ``(B,)``, or real targets ``(B,)`` or ``(B, C)``.
            generator: draws the grouping; torch's default generator if None.

        Raises:
            InputError: for an empty batch, inputs and targets of different lengths, targets that the likelihood
                cannot have made, and on a folded ensemble.
        """
        if self.is_folded:
            raise self._folded_error("loss")
        if len(x) != len(y) or len(x) == 0:
            raise InputError(
                "a batch must have one target per input, and at least one input",
                got=f"{len(x)} inputs and {len(y)} targets",
                fix="Pass x and y of the same examples",
            )
        batch = self.grouping.deal(x, y, members=self.members, generator=generator)
        outputs_BMC = self.forward_batch(batch)
        # Looking at the targets' values at every step takes time, and makes an accelerator wait. It is done when
        # something went wrong, to say what.
        self.likelihood.check_targets(y, outputs=outputs_BMC.shape[-1], values=False)
        try:
            loss = self.objective(outputs_BMC, batch.targets_BM, self.likelihood)
        except IndexError:
            self.likelihood.check_targets(y, outputs=outputs_BMC.shape[-1])
            raise
        if loss.device.type == "cpu" and not math.isfinite(loss.item()):
            self.likelihood.check_targets(y, outputs=outputs_BMC.shape[-1])
        return loss

    @torch.no_grad()
    def predict(
        self,
        x: Shaped[Tensor, "batch ..."],
        *,
        targets: Shaped[Tensor, "batch ..."] | None = None,
        batch_size: int | None = None,
    ) -> Prediction:
        """Predict in evaluation mode, without gradients; each submodule keeps its own mode afterwards.

        Args:
            x: inputs, ``(B, ...)``.
            targets: the truth, kept in the prediction for metrics.
            batch_size: rows per forward pass; all at once if None.

        Raises:
            InputError: for an empty batch, a batch size below 1, and targets that are not one per input.
        """
        if len(x) == 0:
            raise InputError("a prediction needs at least one input", got="an empty batch", fix="Pass inputs (B, ...)")
        if batch_size is not None and batch_size < 1:
            raise InputError("batch_size must be at least 1", got=f"batch_size={batch_size}", fix="Pass 1 or more")
        if targets is not None and len(targets) != len(x):
            raise InputError(
                "a prediction must have one target per input",
                got=f"{len(x)} inputs and {len(targets)} targets",
                fix="Pass x and targets of the same examples",
            )
        with evaluating(self):
            parts = [self(part) for part in x.split(batch_size or len(x))]
        return Prediction(
            outputs_BMC=torch.cat(parts), likelihood=self.likelihood, combination=self.combination, targets=targets
        )

    def parameter_groups(self, *, weight_decay: float = 0.0, decay_norm_and_bias: bool = True) -> list[dict[str, Any]]:
        """Parameter groups for a torch optimiser.

        Args:
            weight_decay: the coefficient of the decayed group.
            decay_norm_and_bias: whether norm scales and shifts and all biases are decayed as well. The papers on
                CIFAR decay every trainable variable, those on ImageNet all but these.

        Returns:
            One group with `weight_decay` and, where it would not be empty, one without. What a layer declares in
            its ``undecayed_parameters`` (fast weights, coefficients, depth logits) is never decayed.
        """
        decayed: list[nn.Parameter] = []
        spared: list[nn.Parameter] = []
        seen: set[int] = set()
        for module in self.modules():
            never: frozenset[str] = getattr(module, "undecayed_parameters", frozenset())
            for name, parameter in module.named_parameters(recurse=False):
                if id(parameter) in seen or not parameter.requires_grad:
                    continue
                seen.add(id(parameter))
                # "bias" in the name: recurrent and attention layers have in_proj_bias, bias_ih_l0 and the like.
                norm_or_bias = isinstance(module, _NORMS) or "bias" in name
                spare = name in never or (norm_or_bias and not decay_norm_and_bias)
                (spared if spare else decayed).append(parameter)
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]

    def fold(self) -> "Ensemble":
        """The cheapest equivalent ensemble for inference: a copy in evaluation mode that predicts the same.

        Every member layer that has a cheaper form for shared inputs takes it (for MIMO the M input kernels are
        added up to one ordinary layer). The copy cannot be trained: its `loss` raises.
        """
        twin = copy.deepcopy(self).eval()
        for layer in list(twin.modules()):
            folded: Callable[[], nn.Module] | None = getattr(layer, "folded", None)
            if callable(folded):
                replace_module(twin, layer, folded())
        twin.is_folded = True
        return twin.requires_grad_(False).eval()

    def extra_repr(self) -> str:
        """Shown by ``print(ensemble)``."""
        return self.description + (", folded" if self.is_folded else "")

    def _by_member(self, out_rows: Tensor, rows: int) -> Float[Tensor, "batch member out"]:
        if not isinstance(out_rows, Tensor) or out_rows.ndim != 2 or len(out_rows) != self.members * rows:
            raise InputError(
                f"the network must return {self.members} rows (members) for each of the {rows} inputs",
                # Some models return more than the logits, but in training only.
                got=f"an output of shape {tuple(out_rows.shape)}"
                if isinstance(out_rows, Tensor)
                else f"a {type(out_rows).__name__}",
                fix="Check that nothing in the model mixes or drops rows, and that the input is one batch (B, ...)",
            )
        if out_rows.dtype in (torch.float16, torch.bfloat16):
            out_rows = out_rows.float()  # softmax and logsumexp of half-precision outputs lose digits that NLL shows
        outputs_BMC: Tensor = out_rows.unflatten(0, (self.members, rows)).transpose(0, 1)
        return outputs_BMC

    def _folded_error(self, what: str) -> InputError:
        return InputError(
            f"{what} needs the ensemble as it was trained",
            got="a folded ensemble, which is for inference",
            fix="Call it on the ensemble that fold() was called on",
        )

"""The likelihood of classification."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

import torch
from jaxtyping import Float, Int, Shaped
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

from motet._internal.plain_records import LEFT_OUT
from motet.errors import InputError
from motet.likelihoods.base import NaturalExponentialFamily, TargetKind, require_shape
from motet.likelihoods.class_axis import IGNORE_INDEX, AtPositions, check_integer

# By default torch's cross-entropy ignores rows with the label -100. With this `ignore_index` the label -100 is out of
# range, like other negative labels.
_NO_LABEL = torch.iinfo(torch.long).min

# torch's CPU kernel is slow for a short last axis, which it does not vectorise. With the rows as the last axis it is up
# to 6 times faster (25,600 rows of 10 classes: 0.9 ms instead of 6.0 ms, forward and backward, one thread).
_FEW_CLASSES, _MANY_ROWS = 15, 512


@final
@dataclass(frozen=True, kw_only=True, repr=False)
class Categorical(AtPositions, NaturalExponentialFamily):
    """Classification. eta are logits over C classes, `y` integer labels ``(...)`` or class probabilities ``(..., C)``.

    Class probabilities result from mixing examples (mixup, CutMix).

    A model may predict at several positions of an example, such as the pixels of an image (segmentation) or the tokens
    of a text (token classification, language models). `class_axis` then says where its classes are. Targets have one
    label for each position: ``(B, H, W)`` for outputs ``(B, C, H, W)``, ``(B, T)`` for ``(B, T, C)``.

    Attributes:
        class_axis: the axis of the model's output with the classes: 1 for ``(B, C, H, W)`` and ``(B, C, L)``, -1 for
            ``(B, T, C)``. None for one row per example, ``(B, C)``.
        ignore_index: with `class_axis`, the label of positions that count neither in the loss nor in the scores, such
            as padding. Without `class_axis` every label must be a class.

    >>> Categorical().mean(torch.tensor([[0.0, 0.0]]))
    tensor([[0.5000, 0.5000]])
    """

    target_kind: ClassVar[TargetKind | None] = "class"

    ignore_index: int = field(default=IGNORE_INDEX, metadata={LEFT_OUT: True})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("ignore_index", self.ignore_index, "ignore_index=-100, for example")

    @property
    def of_rows(self) -> "Categorical":
        """Without `class_axis`."""
        return Categorical()

    @property
    def ignored_label(self) -> int | None:
        """`ignore_index`; None without `class_axis`."""
        return None if self.class_axis is None else self.ignore_index

    def nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, "*axes"]:
        """Cross-entropy ``logsumexp(eta) - eta_y``; 0 at ignored positions.

        Args:
            eta: logits, ``(..., C)``.
            y: labels ``(...)``, or class probabilities ``(..., C)``.
            constants: has no effect, because all terms depend on the outputs.
        """
        return _cross_entropy(eta, y, "none", self._ignored).view(eta.shape[:-1])

    def mean_nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy, without ignored positions. It is computed in every training step, therefore with torch's
        fused kernel.

        Args:
            eta: logits, ``(..., C)``.
            y: labels ``(...)``, or class probabilities ``(..., C)``.
            constants: has no effect, because all terms depend on the outputs.
        """
        return _cross_entropy(eta, y, "mean", self._ignored)

    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """Class probabilities, the softmax of the logits."""
        return eta.softmax(dim=-1)

    def variance(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """``p (1 - p)`` of each class."""
        probs = self.mean(eta)
        return probs * (1 - probs)

    def sample(self, eta: Float[Tensor, "*axes out"], *, generator: Generator | None = None) -> Int[Tensor, "*axes"]:
        """Draw labels: the index of the smallest of C exponential random numbers whose rates are the probabilities."""
        times = torch.empty_like(eta).exponential_(generator=generator)
        return (self.mean(eta) / times).argmax(dim=-1)

    def log_normaliser(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes"]:
        """``logsumexp(eta)``."""
        return torch.logsumexp(eta, dim=-1)

    def average(
        self, eta: Float[Tensor, "*axes depth out"], log_weights: Float[Tensor, "*weighted depth"]
    ) -> Float[Tensor, "*axes out"]:
        """Log-probabilities ``logsumexp_d(log w_d + log softmax(eta_d))``. With one depth, the unchanged logits."""
        if eta.shape[-2] == 1:
            return eta.squeeze(-2)
        return torch.logsumexp(eta.log_softmax(dim=-1) + log_weights.unsqueeze(-1), dim=-2)

    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Check that labels are integers from 0 to ``outputs - 1``, or that the probabilities of each row add up to 1.

        Args:
            y: targets.
            outputs: the number of network outputs.
            values: whether to check values as well as dtype and shape.

        Raises:
            InputError: for targets that do not fit.
        """
        if y.is_floating_point() and y.ndim > 1 and y.shape[-1] == outputs:
            if values and not bool((y >= 0).all() & ((y.sum(dim=-1) - 1).abs() < 1e-3).all()):
                raise InputError(
                    "class probabilities must be at least 0 and add up to 1",
                    got=f"sums from {float(y.sum(dim=-1).min()):g} to {float(y.sum(dim=-1).max()):g}",
                    fix="Divide each row by its sum",
                )
            return
        if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
            raise InputError(
                "class labels must be integers",
                got=f"targets of {str(y.dtype).removeprefix('torch.')}",
                fix="Convert them with y.long(), or use the Gaussian likelihood for regression",
            )
        scored = self.is_scored(y) if values else None
        y = y if scored is None else y[scored]
        if values and y.numel() and not (int(y.min()) >= 0 and int(y.max()) < outputs):
            ignored = "" if self.class_axis is None else f", or be {self.ignore_index} (ignored)"
            raise InputError(
                f"class labels must lie in 0..{outputs - 1} for a model with {outputs} outputs{ignored}",
                got=f"labels from {int(y.min())} to {int(y.max())}",
                fix="Give the model one output per class, or number the classes from 0"
                + ("" if self.class_axis is None else "; for another ignored label pass Categorical(ignore_index=...)"),
            )

    @property
    def _ignored(self) -> int:
        return _NO_LABEL if self.ignored_label is None else self.ignored_label


def _cross_entropy(eta: Tensor, y: Tensor, reduction: Literal["none", "mean"], ignored: int) -> Tensor:
    if y.is_floating_point() and y.shape == eta.shape:
        classes = eta.shape[-1]
        probs = y.reshape(-1, classes).to(eta.dtype)
        return F.cross_entropy(eta.reshape(-1, classes), probs, reduction=reduction)
    require_shape(
        y, eta.shape[:-1], fix="Convert one-hot rows to labels with y.argmax(dim=1), or a column with y.squeeze(1)"
    )
    labels = y.reshape(-1).long()
    if eta.device.type == "cpu" and eta.shape[-1] <= _FEW_CLASSES and labels.numel() >= _MANY_ROWS:
        columns = eta.movedim(-1, 0).reshape(1, eta.shape[-1], -1)
        return F.cross_entropy(columns, labels.unsqueeze(0), reduction=reduction, ignore_index=ignored)
    rows = eta.reshape(-1, eta.shape[-1])
    return F.cross_entropy(rows, labels, reduction=reduction, ignore_index=ignored)

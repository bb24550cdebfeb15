"""The settings of training: a flat record, checked when it is made."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, final

from motet._internal.field_types import check_field_types
from motet._internal.plain_records import LEFT_OUT
from motet.data import Augmentation
from motet.errors import InputError, nearest

MOST_EPOCHS = 1_000_000
"""The largest number of epochs that is taken for a number and not for a typing error."""


@final
@dataclass(frozen=True, kw_only=True)
class Training:
    """Settings of `motet.training.fit`.

    Attributes:
        epochs: passes over the training split.
        batch_size: the number of *unique* examples per step. A method that repeats them has more rows (MIMO: times its
            batch_repetition); in the recipes, batch sizes that papers quote after repetition are divided by it. None
            for `largest_batch_size`, or fewer for small data: see `motet.training.settings_for`.
        largest_batch_size: the batch size where `batch_size` is None and the data are not small.
        optimizer: SGD with momentum, or AdamW.
        learning_rate: peak learning rate.
        momentum: SGD's momentum.
        nesterov: whether SGD's momentum is Nesterov's.
        beta1: AdamW's first-moment decay.
        beta2: AdamW's second-moment decay.
        weight_decay: the optimiser's `weight_decay`. For SGD, a weight decay of ``2 l2`` equals an L2 penalty of
            ``l2 * sum w^2`` in the loss. AdamW's weight decay is decoupled from the gradient.
        decay_norm_and_bias: whether norms and biases are decayed too (in the papers on CIFAR they are).
        schedule: ``"cosine"`` to zero, ``"step"`` at the milestones, or ``"constant"``.
        milestones: epochs at which the step schedule multiplies the rate by `decay_factor`.
        decay_factor: see `milestones`; 0.2 in the code of MIMO and BatchEnsemble on CIFAR.
        warmup_epochs: the rate rises linearly from 0 over this many epochs, step by step.
        precision: ``"auto"`` trains in bfloat16 on CUDA devices that support it, otherwise in float32.
        early_stopping: stop if the validation score has not decreased for this many epochs, and keep the weights of the
            first epoch with the lowest score. With a value of at least `epochs` all epochs are trained, and the best
            weights are kept. None trains all epochs and keeps the last weights.
        monitor: the score for early stopping: ``"nll"``, or ``"error"``, the ensemble's error rate (in regression its
            root mean squared error).
        augment: the augmentation of training images. The default, ``Augmentation()``, changes nothing. None chooses one
            for small image data: see `motet.training.settings_for`.

    Raises:
        InputError: on construction, for a value of another type, or out of range.
    """

    epochs: int = 100
    batch_size: int | None = None
    # Not in the repr, by which runs are told apart: with a batch size it changes nothing.
    largest_batch_size: int = field(default=128, repr=False, metadata={LEFT_OUT: True})
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 5e-4
    decay_norm_and_bias: bool = True
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    milestones: tuple[float, ...] = ()
    decay_factor: float = 0.2
    warmup_epochs: float = 0.0
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    early_stopping: int | None = None
    monitor: Literal["nll", "error"] = "nll"
    augment: Augmentation | None = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        check_field_types(self)
        _check(self.epochs >= 1, "epochs must be at least 1", f"epochs={self.epochs}", "Train for one epoch or more")
        _check(
            self.epochs <= MOST_EPOCHS,
            f"epochs must be at most {MOST_EPOCHS:,}",
            f"epochs={self.epochs}",
            "Train for fewer epochs",
        )
        _check(
            self.batch_size is None or self.batch_size >= 1,
            "batch_size must be at least 1",
            f"batch_size={self.batch_size}",
            "Pass a positive number of examples per step, or leave it out",
        )
        _check(
            self.largest_batch_size >= 1,
            "largest_batch_size must be at least 1",
            f"largest_batch_size={self.largest_batch_size}",
            "Pass a positive number of examples per step",
        )
        for name in ("learning_rate", "weight_decay", "momentum", "warmup_epochs", "decay_factor"):
            value = getattr(self, name)
            _check(
                0 <= value < float("inf"),
                f"{name} must be finite and not negative",
                f"{name}={value}",
                "Pass 0 or more",
            )
        _check(
            self.learning_rate > 0,
            "learning_rate must be above 0",
            f"learning_rate={self.learning_rate}",
            "Pass a positive number",
        )
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            _check(
                0 <= value < 1, f"{name} must lie in [0, 1)", f"{name}={value}", "Pass 0.9 or 0.999, the usual values"
            )
        _check(
            not (self.nesterov and self.momentum == 0 and self.optimizer == "sgd"),
            "Nesterov's momentum needs a momentum",
            "nesterov=True and momentum=0",
            "Pass nesterov=False",
        )
        _check(
            self.early_stopping is None or self.early_stopping >= 1,
            "early_stopping must be at least 1 epoch, or None",
            f"early_stopping={self.early_stopping}",
            "Pass a number of epochs to wait",
        )
        _check(
            all(0 <= low < high for low, high in pairwise((*self.milestones, float("inf")))),
            "milestones must be increasing numbers of epochs",
            f"milestones={self.milestones}",
            "Pass each once, the lowest first",
        )
        for name, known in (
            ("optimizer", ("sgd", "adamw")),
            ("monitor", ("nll", "error")),
            ("schedule", ("cosine", "step", "constant")),
            ("precision", ("auto", "32-true", "bf16-mixed", "16-mixed")),
        ):
            value = getattr(self, name)
            _check(value in known, f"{name} must be one of {', '.join(known)}", repr(value), nearest(str(value), known))


def _check(holds: bool, requirement: str, got: str, fix: str) -> None:
    if not holds:
        raise InputError(requirement, got=got, fix=fix)

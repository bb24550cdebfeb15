"""What an ensemble predicts, and what follows from it without the model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import final, get_args

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from motet import likelihoods
from motet._internal.files import write_atomically
from motet._internal.own_code import RecordedCode, UntrustedCodeError, name_in_record
from motet._internal.plain_records import from_record, to_record
from motet.errors import InputError
from motet.likelihoods import Combination, Likelihood


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Every member's output for the same examples.

    Attributes:
        outputs_BMC: natural parameters, ``(B, M, C)``: logits, predicted means, log rates; see `motet.likelihoods`.
        likelihood: what the outputs mean.
        combination: how members are combined, as a mixture or as a normalised geometric mean.
        targets: the truth where it is known, ``(B,)`` labels or ``(B, K)`` numbers.

    >>> agree = Prediction(outputs_BMC=torch.zeros(1, 2, 2), likelihood=Categorical())
    >>> agree.probs, round(agree.mutual_information.item(), 4)
    (tensor([[0.5000, 0.5000]]), 0.0)
    """

    outputs_BMC: Float[Tensor, "batch member out"]
    likelihood: Likelihood
    combination: Combination = "mixture"
    targets: Shaped[Tensor, "batch ..."] | None = None

    def __post_init__(self) -> None:
        if self.outputs_BMC.ndim != 3:
            raise InputError(
                "the outputs of a prediction must have shape (batch, members, outputs)",
                got=f"shape {tuple(self.outputs_BMC.shape)}",
                fix="Give a single network a member axis: outputs.unsqueeze(1)",
            )
        if self.combination not in get_args(Combination):
            raise InputError(
                f"combination must be one of {', '.join(get_args(Combination))}",
                got=repr(self.combination),
                fix="Pass combination='mixture' for the mean of the members' distributions",
            )
        if self.targets is not None and (self.targets.ndim == 0 or len(self.targets) != len(self.outputs_BMC)):
            raise InputError(
                "a prediction must have one target per row",
                got=f"targets of shape {tuple(self.targets.shape)} for {len(self.outputs_BMC)} rows",
                fix="Pass the targets of the same examples",
            )

    @property
    def members(self) -> int:
        """Number of members M."""
        return self.outputs_BMC.shape[1]

    @property
    def mean(self) -> Float[Tensor, "batch target"]:
        """Mean of the combined distribution: probabilities, or the expected target. ``(B, K)``, K = C for classes."""
        if self.combination == "mixture":
            return self.likelihood.mixture(self.outputs_BMC)
        return self.likelihood.mean(self.likelihood.geometric(self.outputs_BMC))

    @property
    def member_means(self) -> Float[Tensor, "batch member target"]:
        """Mean of each member's distribution, ``(B, M, K)``."""
        return self.likelihood.mean(self.outputs_BMC)

    @property
    def probs(self) -> Float[Tensor, "batch out"]:
        """Class probabilities of the ensemble, ``(B, C)``."""
        self._require_classes("probs")
        return self.mean

    @property
    def member_probs(self) -> Float[Tensor, "batch member out"]:
        """Class probabilities of each member, ``(B, M, C)``."""
        self._require_classes("member_probs")
        return self.member_means

    @property
    def labels(self) -> Int[Tensor, "batch"]:
        """The most probable class, ``(B,)``."""
        return self.probs.argmax(dim=-1)

    @property
    def confidence(self) -> Float[Tensor, "batch"]:
        """Probability of the most probable class, ``(B,)``."""
        return self.probs.amax(dim=-1)

    @property
    def entropy(self) -> Float[Tensor, "batch"]:
        """Entropy of the ensemble's class probabilities in nats, ``(B,)``: total uncertainty."""
        return _entropy(self.probs)

    @property
    def expected_entropy(self) -> Float[Tensor, "batch"]:
        """Mean over members of their entropies in nats, ``(B,)``: uncertainty the members agree on."""
        return _entropy(self.member_probs).mean(dim=1)

    @property
    def mutual_information(self) -> Float[Tensor, "batch"]:
        """Entropy of the members' mixture minus their expected entropy, in nats, ``(B,)``.

        The members' disagreement. Not negative, whatever the combination: it is always taken of the mixture.
        """
        return (_entropy(self.member_probs.mean(dim=1)) - self.expected_entropy).clamp_min(0)

    def nll(self) -> Float[Tensor, "batch"]:
        """Negative log-likelihood of the targets in nats, ``(B,)``. Raises `InputError` without targets."""
        if self.targets is None:
            raise InputError(
                "a prediction needs targets to have an NLL",
                got="a prediction without targets",
                fix="Pass them: ensemble.predict(x, targets=y)",
            )
        return self.likelihood.combined_nll(self.outputs_BMC, self.targets, self.combination)

    def save(self, path: str | Path) -> None:
        """Write the prediction to a safetensors file, atomically.

        Raises:
            InputError: for a likelihood outside motet that could not be found again, inside a function for example.
        """
        from safetensors.torch import save_file

        tensors = {"outputs": self.outputs_BMC.detach().cpu().contiguous()}
        if self.targets is not None:
            tensors["targets"] = self.targets.detach().cpu().contiguous()
        about = {"likelihood": _likelihood_record(self.likelihood), "combination": self.combination}
        metadata = {"motet.prediction": json.dumps(about)}
        write_atomically(Path(path), lambda beside: save_file(tensors, beside, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path, *, trust_code: bool = False) -> "Prediction":
        """Read a prediction that `save` wrote.

        Args:
            path: the file.
            trust_code: whether the file of a likelihood outside motet may be executed. If it has been imported already
                it needs no trust.

        Raises:
            InputError: if the file is none that `save` wrote, or names a likelihood that is not there or not trusted.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["motet.prediction"])
                names = set(file.keys())
                return cls(
                    outputs_BMC=file.get_tensor("outputs"),
                    likelihood=_likelihood_of(about["likelihood"], RecordedCode(trusted=trust_code, where=str(path))),
                    combination=about["combination"],
                    targets=file.get_tensor("targets") if "targets" in names else None,
                )
        except UntrustedCodeError:
            raise
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                "a prediction file must be one that Prediction.save wrote",
                got=f"{path} ({error})",
                fix="Evaluate the run again to rewrite it",
            ) from error

    def _require_classes(self, what: str) -> None:
        if self.likelihood.target_kind != "class":
            raise InputError(
                f"{what} needs class probabilities",
                got=f"a prediction under {type(self.likelihood).__name__}",
                fix="Use .mean and .member_means, which every likelihood has",
            )


def _likelihood_record(likelihood: Likelihood) -> str | dict[str, object]:
    """One of motet's by its name, as it has no settings; another with its settings."""
    record = to_record(likelihood, name=name_in_record)
    return str(record["type"]) if len(record) == 1 else record


def _likelihood_of(held: object, code: RecordedCode) -> Likelihood:
    known = [kind for name in likelihoods.__all__ if isinstance(kind := getattr(likelihoods, name), type)]
    found = from_record({"type": held} if isinstance(held, str) else held, known, load=code.load)  # type: ignore[arg-type]
    if not isinstance(found, Likelihood):
        raise InputError(
            "a prediction file must name a likelihood", got=f"a {type(found).__name__}", fix="Evaluate the run again"
        )
    return found


def check_asked(x: Tensor, targets: Tensor | None, batch_size: int | None) -> None:
    """Raise `InputError` unless `x` can be predicted in such batches, and the targets are one per row of it."""
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


def _entropy(probs: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes"]:
    entropy: Tensor = torch.special.entr(probs).sum(dim=-1)
    return entropy

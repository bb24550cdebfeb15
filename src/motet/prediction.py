"""`Prediction`: an ensemble's outputs, and everything that follows from them without the model."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final, get_args

import torch
from jaxtyping import Float, Int, Shaped
from torch import Generator, Tensor

from motet import likelihoods
from motet._internal.own_code import RecordedCode, UntrustedCodeError, name_in_record
from motet._internal.plain_records import from_record, to_record
from motet._internal.tensor_file import read_tensors, write_tensors
from motet._internal.wording import with_article
from motet.errors import InputError
from motet.likelihoods import Combination, Likelihood
from motet.likelihoods.positions import check_positions, scored_rows
from motet.likelihoods.target_scale import TargetScale


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Every member's output for the same examples.

    If the network was trained on standardised targets, `target_scale` says how. Means, variances, quantiles, samples,
    `nll` and `targets` are then in the targets' own units, in double precision where the device has it. `outputs_BMC`
    and `likelihood` remain those of the standardised targets.

    If the model predicts at positions of an example, such as pixels or tokens (see `motet.Categorical`), everything has
    one value for each position: `probs` are ``(B, *P, C)`` with the classes last, `labels` and `entropy` ``(B, *P)``.
    Metrics count every scored position as one row, see `by_row`.

    Attributes:
        outputs_BMC: natural parameters, ``(B, M, C)``, with positions ``(B, M, *P, C)``: logits, predicted means, log
            rates; see `motet.likelihoods`.
        likelihood: the distribution whose natural parameters the outputs are.
        combination: how members are combined, as a mixture or as a normalised geometric mean.
        targets: the true targets if known, ``(B,)`` labels, ``(B, *P)`` labels of positions, or ``(B, K)`` numbers, in
            their own units.
        target_scale: the mean and standard deviation by which the network's targets were standardised; None if they
            were not.

    >>> agree = Prediction(outputs_BMC=torch.zeros(1, 2, 2), likelihood=Categorical())
    >>> agree.probs, round(agree.mutual_information.item(), 4)
    (tensor([[0.5000, 0.5000]]), 0.0)
    """

    outputs_BMC: Float[Tensor, "batch member *positions out"]
    likelihood: Likelihood
    combination: Combination = "mixture"
    targets: Shaped[Tensor, "batch ..."] | None = None
    target_scale: TargetScale | None = None

    def __post_init__(self) -> None:
        axis = self.likelihood.output_axis
        if self.outputs_BMC.ndim < 3 or (self.outputs_BMC.ndim > 3 and axis is None):
            raise InputError(
                "the outputs of a prediction must have shape (batch, members, outputs)",
                got=f"shape {tuple(self.outputs_BMC.shape)}",
                fix="Give a single network a member axis: outputs.unsqueeze(1)"
                + ("; for positions pass likelihood=Categorical(class_axis=...)" if self.outputs_BMC.ndim > 3 else ""),
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
        if self.targets is not None and axis is not None:
            check_positions(self.targets, self.outputs_BMC, self.likelihood)

    def __repr__(self) -> str:
        """One line: sizes, likelihood, combination."""
        rows, members, *positions, outputs = self.outputs_BMC.shape
        at = f" at {' x '.join(map(str, positions))} positions" if positions else ""
        known = "without targets" if self.targets is None else "with targets"
        return (
            f"Prediction({rows} rows{at}, {members} member{'' if members == 1 else 's'}, {outputs} "
            f"output{'' if outputs == 1 else 's'}, {type(self.likelihood).__name__}, {self.combination}, {known})"
        )

    @property
    def members(self) -> int:
        """The number of members M."""
        return self.outputs_BMC.shape[1]

    @property
    def mean(self) -> Float[Tensor, "batch *positions target"]:
        """Mean of the combined distribution: probabilities, or the expected target. ``(B, K)``, K = C for classes."""
        if self.combination == "mixture":
            return self._restored(self.likelihood.mixture(self.outputs_BMC))
        return self._restored(self.likelihood.mean(self.likelihood.geometric(self.outputs_BMC)))

    @property
    def variance(self) -> Float[Tensor, "batch *positions target"]:
        """Variance of the combined distribution of each target, ``(B, K)``.

        For a mixture it is the mean of the members' variances plus the variance of their means.
        """
        components_BMC = self._components
        means_BMK = self.likelihood.mean(components_BMC)
        variance = self.likelihood.variance(components_BMC).mean(dim=1) + means_BMK.var(dim=1, correction=0)
        return variance if self.target_scale is None else self.target_scale.widen(variance, power=2)

    @property
    def std(self) -> Float[Tensor, "batch *positions target"]:
        """Standard deviation of the combined distribution of each target, ``(B, K)``."""
        return self.variance.sqrt()

    def quantile(self, at: float) -> Float[Tensor, "batch *positions target"]:
        """Quantiles of the combined distribution, ``(B, K)``; for counts the smallest count that reaches `at`.

        Args:
            at: a probability between 0 and 1.

        Raises:
            InputError: for another probability, and for classes.
        """
        if not 0 < at < 1:
            raise InputError("a quantile's probability must lie between 0 and 1", got=f"at={at}", fix="Pass at=0.5")
        components = self._components
        if components.ndim == 3:
            return self._restored(self.likelihood.mixture_quantile(components, at))
        found = self.likelihood.mixture_quantile(components.movedim(1, -2).flatten(0, -3), at)
        return self._restored(found.unflatten(0, (len(components), *components.shape[2:-1])))

    def interval(
        self, level: float = 0.9
    ) -> tuple[Float[Tensor, "batch *positions target"], Float[Tensor, "batch *positions target"]]:
        """Lower and upper end of the central interval: the quantiles at ``(1 - level) / 2`` and ``(1 + level) / 2``.

        Args:
            level: the probability of the interval, between 0 and 1.

        Raises:
            InputError: for another level, and for classes.
        """
        if not 0 < level < 1:
            raise InputError("the level of an interval must lie between 0 and 1", got=f"level={level}", fix="Pass 0.9")
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def sample(self, *, generator: Generator | None = None) -> Shaped[Tensor, "batch ..."]:
        """Draw one sample of the targets for each row, from the combined distribution.

        Args:
            generator: random numbers; torch's default generator if None.
        """
        components_BMC = self._components
        rows, members = components_BMC.shape[:2]
        device = components_BMC.device if generator is None else generator.device
        chosen_B = torch.randint(members, (rows,), generator=generator, device=device).to(components_BMC.device)
        eta_BC = components_BMC[torch.arange(rows, device=components_BMC.device), chosen_B]
        return self._restored(self.likelihood.sample(eta_BC, generator=generator))

    @property
    def member_means(self) -> Float[Tensor, "batch member *positions target"]:
        """Mean of each member's distribution, ``(B, M, K)``."""
        return self._restored(self.likelihood.mean(self.outputs_BMC))

    @property
    def probs(self) -> Float[Tensor, "batch *positions out"]:
        """Class probabilities of the ensemble, ``(B, C)``."""
        self._require_classes("probs")
        return self.mean

    @property
    def member_probs(self) -> Float[Tensor, "batch member *positions out"]:
        """Class probabilities of each member, ``(B, M, C)``."""
        self._require_classes("member_probs")
        return self.member_means

    @property
    def labels(self) -> Int[Tensor, "batch *positions"]:
        """The most probable class, ``(B,)``."""
        return self.probs.argmax(dim=-1)

    @property
    def confidence(self) -> Float[Tensor, "batch *positions"]:
        """Probability of the most probable class, ``(B,)``."""
        return self.probs.amax(dim=-1)

    @property
    def entropy(self) -> Float[Tensor, "batch *positions"]:
        """Entropy of the ensemble's class probabilities in nats, ``(B,)``: total uncertainty."""
        return _entropy(self.probs)

    @property
    def expected_entropy(self) -> Float[Tensor, "batch *positions"]:
        """Mean over members of their entropies in nats, ``(B,)``: the uncertainty within the members."""
        return _entropy(self.member_probs).mean(dim=1)

    @property
    def mutual_information(self) -> Float[Tensor, "batch *positions"]:
        """Entropy of the members' mixture minus their expected entropy, in nats, ``(B,)``.

        It measures the members' disagreement. It is never negative, because it always uses the mixture, for any
        combination.
        """
        return (_entropy(self.member_probs.mean(dim=1)) - self.expected_entropy).clamp_min(0)

    def nll(self) -> Float[Tensor, "batch *positions"]:
        """Negative log-likelihood of the targets in nats, ``(B,)``; NaN at positions whose label is ignored.

        Raises:
            InputError: without targets.
        """
        if self.targets is None:
            raise InputError(
                "a prediction needs targets to have an NLL",
                got="a prediction without targets",
                fix="Pass the targets: ensemble.predict(x, targets=y)",
            )
        plain = self.standardised()
        assert plain.targets is not None
        y, axes = plain.targets, self.outputs_BMC.ndim - 2
        scored = scored_rows(self.likelihood, y, axes=axes) if self.likelihood.output_axis is not None else None
        if scored is not None:
            y = y.masked_fill(~scored.view(*scored.shape, *[1] * (y.ndim - axes)), 0)
        nll = self.likelihood.combined_nll(self.outputs_BMC, y, self.combination)
        nll = nll if scored is None else nll.masked_fill(~scored, torch.nan)
        return (
            nll if self.target_scale is None else nll + self.target_scale.log_volume(y[:1].numel() // nll[:1].numel())
        )

    def by_row(self) -> "Prediction":
        """Return the scored positions of all examples as N rows, ``(N, M, C)`` with targets ``(N,)``; without targets
        all positions. A prediction of one row per example is returned unchanged.
        """
        if self.likelihood.output_axis is None:
            return self
        rows, y = self.outputs_BMC.movedim(1, -2).flatten(0, -3), self.targets
        if y is not None:
            y = y.flatten(0, self.outputs_BMC.ndim - 3)
            scored = scored_rows(self.likelihood, y)
            rows, y = (rows, y) if scored is None else (rows[scored], y[scored])
        return replace(self, outputs_BMC=rows, targets=y, likelihood=self.likelihood.of_rows)

    def standardised(self) -> "Prediction":
        """Return the same prediction of the standardised targets, as the network was trained on them."""
        if self.target_scale is None:
            return self
        y = None if self.targets is None else self.target_scale.standardise(self.targets).to(self.outputs_BMC.dtype)
        return replace(self, targets=y, target_scale=None)

    def save(self, path: str | Path) -> None:
        """Write the prediction to a safetensors file, atomically.

        Raises:
            InputError: for a likelihood outside motet that cannot be imported again, such as one inside a function.
        """
        tensors = {"outputs": self.outputs_BMC}
        if self.targets is not None:
            tensors["targets"] = self.targets
        about: dict[str, object] = {"likelihood": _likelihood_record(self.likelihood), "combination": self.combination}
        if self.target_scale is not None:
            about["target_scale"] = asdict(self.target_scale)
        write_tensors(Path(path), tensors, about, key=_KEY)

    @classmethod
    def load(cls, path: str | Path, *, trust_code: bool = False) -> "Prediction":
        """Read a prediction written by `save`.

        Args:
            path: the file.
            trust_code: whether the file of a likelihood outside motet may be executed. A likelihood that is already
                imported needs no trust.

        Raises:
            InputError: if the file was not written by `save`, was damaged since, or names a likelihood that does not
                exist or is not trusted.
        """
        from safetensors import SafetensorError

        try:
            about, tensors = read_tensors(Path(path), key=_KEY)
            return cls(
                outputs_BMC=tensors["outputs"],
                likelihood=_likelihood_of(about["likelihood"], RecordedCode(trusted=trust_code, where=str(path))),
                combination=about["combination"],
                targets=tensors.get("targets"),
                target_scale=_scale_of(about.get("target_scale")),
            )
        except UntrustedCodeError:
            raise
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                "a prediction file must be one that Prediction.save wrote",
                got=f"{path} ({error})",
                fix="Save it again with prediction.save(path); that of a run is written when it is trained",
            ) from error

    @property
    def _components(self) -> Tensor:
        """Outputs of a mixture that equals the combined distribution; of one component for the geometric mean."""
        if self.combination == "mixture":
            return self.outputs_BMC
        return self.likelihood.geometric(self.outputs_BMC).unsqueeze(1)

    def _restored(self, numbers: Tensor) -> Tensor:
        """Return means, quantiles or samples in own units."""
        return numbers if self.target_scale is None else self.target_scale.restore(numbers)

    def _require_classes(self, what: str) -> None:
        if self.likelihood.target_kind != "class":
            raise InputError(
                f"{what} needs class probabilities",
                got=f"a prediction under {type(self.likelihood).__name__}",
                fix="Use .mean and .member_means, which every likelihood has",
            )


_KEY = "motet.prediction"


def _likelihood_record(likelihood: Likelihood) -> str | dict[str, object]:
    """Return the likelihood's name for motet's own, which have no settings; otherwise its record."""
    record = to_record(likelihood, name=name_in_record)
    return str(record["type"]) if len(record) == 1 else record


def _likelihood_of(held: object, code: RecordedCode) -> Likelihood:
    known = [kind for name in likelihoods.__all__ if isinstance(kind := getattr(likelihoods, name), type)]
    found = from_record({"type": held} if isinstance(held, str) else held, known, load=code.load)  # type: ignore[arg-type]
    if not isinstance(found, Likelihood):
        raise InputError(
            "a prediction file must name a likelihood",
            got=with_article(type(found).__name__),
            fix="Save it again with prediction.save(path); that of a run is written when it is trained",
        )
    return found


def _scale_of(held: dict[str, list[float]] | None) -> TargetScale | None:
    return None if held is None else TargetScale(mean=tuple(held["mean"]), std=tuple(held["std"]))


def check_batch_size(batch_size: int | None) -> None:
    """Check the number of rows per forward pass; None for all at once.

    Raises:
        InputError: unless it is an integer of at least 1.
    """
    if batch_size is not None and not (isinstance(batch_size, int) and batch_size >= 1):
        raise InputError(
            "batch_size must be an integer of at least 1", got=f"batch_size={batch_size}", fix="Pass 1 or more"
        )


def check_asked(inputs: int, targets: int | None) -> None:
    """Check the sizes of a prediction.

    Args:
        inputs: the number of inputs.
        targets: the number of true targets; None for none.

    Raises:
        InputError: for no inputs, or targets that are not one per input.
    """
    if inputs == 0:
        raise InputError("a prediction needs at least one input", got="an empty batch", fix="Pass inputs (B, ...)")
    if targets is not None and targets != inputs:
        raise InputError(
            "a prediction must have one target per input",
            got=f"{inputs} inputs and {targets} targets",
            fix="Pass inputs and targets of the same examples",
        )


def _entropy(probs: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes"]:
    entropy: Tensor = torch.special.entr(probs).sum(dim=-1)
    return entropy

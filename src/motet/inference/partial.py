"""What an ensemble can do in part: with fewer members, step after step, or with more steps for hard examples."""

import copy
from abc import ABC
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from motet.errors import InputError
from motet.inference.anytime import count_steps, outputs_in_steps
from motet.inference.budget import Budget, Budgeted, spend
from motet.inference.subset import chosen_members, copy_of_structure, dropped_parts, subset_network, surviving_members
from motet.layers import Exits
from motet.likelihoods import Combination, Likelihood
from motet.prediction import Prediction, check_asked
from motet.surgery import member_network

Own = TypeVar("Own", bound="Divisible")


class Divisible(nn.Module, ABC):
    """What `motet.Ensemble` is made from: all that needs no more of it than its network and how members are combined.

    Attributes: see `motet.Ensemble`.
    """

    network: nn.Module
    members: int
    members_in_training: int
    description: str
    likelihood: Likelihood
    combination: Combination
    input_axes: int | None
    is_folded: bool

    def anytime(self, x: Shaped[Tensor, "batch ..."]) -> Iterator[Prediction]:
        """Predictions that become better while the ensemble runs, `steps` of them; the last is `predict`'s.

        Where members are networks: of the first member, of the first two, and so on, each at one member's cost more;
        they run in turn (`fold` first where they share weights: their own are then written out once). Where there are
        exits: their average so far, weights adding up to 1, while the network is run once, as far as the exit. Where
        members are heads on the same features: once.

        What is not asked for is not run; a generator that is left alone leaves nothing behind.
        """
        check_asked(x, None, None)
        return self._predictions(self.in_steps(x))

    @property
    def steps(self) -> int:
        """How many predictions `anytime` gives."""
        return count_steps(self.network, self.members)

    def in_steps(self, x: Shaped[Tensor, "batch ..."]) -> Generator[Tensor, Tensor | None, None]:
        """The outputs of `anytime`, ``(B, m, C)``; sent indices of rows, it goes on with these alone."""
        self._check_axes(x)
        return outputs_in_steps(self.network, x, self.members, self._by_member, self.likelihood)

    def budgeted(
        self, x: Shaped[Tensor, "batch ..."], budget: Budget, *, targets: Shaped[Tensor, "batch ..."] | None = None
    ) -> Budgeted:
        """Predict with more steps (see `anytime`) for hard examples than for easy ones, as `budget` says.

        Args:
            x: inputs, ``(B, ...)``.
            budget: thresholds fitted on validation data by `motet.analyses.fit_budget`.
            targets: the truth, kept in the prediction.

        Raises:
            InputError: for an empty batch, and for a budget fitted to an ensemble with another number of steps.
        """
        check_asked(x, targets, None)
        budget.check_steps(self.steps)
        return spend(budget, self.in_steps(x), self._prediction, targets)

    def subset(self: Own, members: int | Sequence[int]) -> Own:
        """A smaller ensemble: a copy with the chosen members alone, which predicts what they do here, at their cost.

        It can be trained on where members are networks of their own or have weights of their own on shared ones, with
        the same examples for all. Where the network reads inputs of all members at once (MIMO, MixMo, DataMUX, MIMMO),
        and where templates are read in an order that M decides (MixtureEnsembles), it is for inference, as `fold`'s.

        Args:
            members: the first k, or the indices of those to keep, in the order in which they are to stand.

        Raises:
            InputError: for indices that are none, repeated, out of range or no integers, and for an ensemble over
                several processes, each of which has but some.
        """
        twin = copy.deepcopy(self._with_members(chosen_members(members, self.members)))
        return twin.requires_grad_(False).eval() if twin.is_folded else twin

    def member(self, member: int) -> nn.Module:
        """The ordinary network of one member: a copy that maps ``(B, ...)`` to its outputs ``(B, C)``.

        Raises:
            InputError: if there is no such member.
        """
        return member_network(self.network, chosen_members([member], self.members)[0])

    def survivors(
        self: Own,
        members: int | Sequence[int] | None = None,
        lost: float | Sequence[int] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Own:
        """As `subset`, of those of `members` that are not `lost` (see `Ensemble.predict`), around the same weights.

        To predict with once. Weights that are not needed whole are copied; the others are this ensemble's own.
        """
        chosen = tuple(range(self.members)) if members is None else chosen_members(members, self.members)
        if lost is not None:
            chosen = surviving_members(lost, chosen, self.members, generator=generator)
        return self._with_members(chosen)

    def _predictions(self, steps: Generator[Tensor, Tensor | None, None]) -> Iterator[Prediction]:
        with closing(steps):
            for outputs_BMC in steps:
                yield self._prediction(outputs_BMC)

    def _prediction(self, outputs_BMC: Tensor, targets: Tensor | None = None) -> Prediction:
        return Prediction(
            outputs_BMC=outputs_BMC, likelihood=self.likelihood, combination=self.combination, targets=targets
        )

    def _with_members(self: Own, indices: tuple[int, ...]) -> Own:
        """See `subset`, but not a copy: it holds this ensemble's own parameters where it needs them whole."""
        twin: Own = copy_of_structure(self, without=dropped_parts(self.network, indices))
        twin.network, trainable = subset_network(twin.network, indices)
        twin.members = len(indices)
        twin.members_in_training = min(self.members_in_training, twin.members)
        twin.description = f"{self.description}, members {list(indices)}"
        twin.is_folded = self.is_folded or not trainable
        return twin

    def _check_axes(self, x: Tensor) -> None:
        if self.input_axes is not None and x.ndim != self.input_axes:
            raise InputError(
                f"inputs must be one batch with {self.input_axes} axes, as the example was",
                got=f"shape {tuple(x.shape)}",
                fix="Pass examples (B, ...) to the ensemble; inputs of each member's own (B, M, ...) go to "
                "forward_distinct",
            )

    def _by_member(self, out_rows: Tensor, rows: int, members: int) -> Tensor:
        axes = 3 if isinstance(self.network, Exits) else 2
        if not isinstance(out_rows, Tensor) or out_rows.ndim != axes or len(out_rows) != members * rows:
            raise InputError(
                f"the network must return {members} rows (members) for each of the {rows} inputs",
                # Some models return more than the logits, but in training only.
                got=f"an output of shape {tuple(out_rows.shape)}"
                if isinstance(out_rows, Tensor)
                else f"a {type(out_rows).__name__}",
                fix="Check that nothing in the model mixes or drops rows, and that the input is one batch (B, ...)",
            )
        if out_rows.dtype in (torch.float16, torch.bfloat16):
            out_rows = out_rows.float()  # softmax and logsumexp of half-precision outputs lose digits that NLL shows
        outputs: Tensor = out_rows.unflatten(0, (members, rows)).transpose(0, 1)
        return outputs

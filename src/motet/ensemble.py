"""The one module that every method returns."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet.distributed import Share
from motet.grouping import Grouping, deal_augmented
from motet.inference.anytime import Steps, each
from motet.inference.budget import Budget, Budgeted, spend
from motet.inference.checks import (
    check_axes,
    check_dealt,
    check_distinct,
    check_examples,
    check_separable,
    checked_loss,
    folded_error,
    one_output_error,
    part_of_all_error,
)
from motet.inference.readout import Readout, readout_of
from motet.inference.subset import chosen_members, copy_of_structure, dropped_parts, subset_network, surviving_members
from motet.layers import Layout, MemberLayer
from motet.layers.parameter_roles import parameter_groups
from motet.likelihoods import Combination, Likelihood
from motet.objectives import ExitObjective, Objective
from motet.prediction import Prediction, check_asked
from motet.summary import Summary, summarise_network
from motet.surgery import member_network, replace_module
from motet.types import Batch, Progress


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
        members_in_training: how many members a training step runs, where that is not all of them (Monte Carlo
            samples of one network); M if None.
        input_axes: the number of axes of an input batch, to refuse others; not checked if None.
        share: which of the members of an ensemble over several processes these M are; None where they are all.

    Raises:
        InputError: if the objective does not fit the network, the likelihood or the grouping.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        members: int,
        description: str,
        likelihood: Likelihood,
        objective: Objective | ExitObjective,
        grouping: Grouping,
        layout: Layout,
        combination: Combination = "mixture",
        members_in_training: int | None = None,
        input_axes: int | None = None,
        share: Share | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.members = members
        self.members_in_training = members if members_in_training is None else members_in_training
        self.description = description
        self.likelihood = likelihood
        self.objective = objective
        self.grouping = grouping
        self.layout = layout
        self.combination: Combination = combination
        self.input_axes = input_axes
        self.share = share
        self.is_folded = False
        trained_together = self.members_in_training if share is None else share.members
        self.readout.check(grouping, members=trained_together)

    @property
    def readout(self) -> Readout:
        """How the network's rows become members' outputs: one for each member, or one at each depth."""
        return readout_of(self.network, self.objective, self.likelihood, description=self.description)

    def forward(self, x: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch member out"]:
        """Every member's output for the same inputs: ``(B, ...)`` to natural parameters ``(B, M, C)``.

        In training mode this is still the prediction for shared inputs; the training objective is `loss`. Where
        members have exits at several depths it is their weighted average, as `Likelihood.average` takes it.

        Raises:
            InputError: for inputs that are not one batch of examples.
        """
        check_axes(x, self.input_axes)
        return self.readout.prediction(x, len(x), self.members)

    def forward_exits(self, x: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch member depth out"]:
        """Every member's output at every depth for the same inputs, the deepest last: ``(B, M, D, C)``.

        Raises:
            InputError: if the method has no exits, or for inputs that are not one batch of examples.
        """
        readout = self.readout
        if not readout.has_depths:
            raise one_output_error("forward_exits", self.description, instead="Call the ensemble itself")
        check_axes(x, self.input_axes)
        return readout.outputs(x, len(x), self.members)

    def forward_distinct(self, x_BM: Shaped[Tensor, "batch member ..."]) -> Float[Tensor, "batch member out"]:
        """Each member's output for an input of its own, M different examples in one pass: throughput use.

        In the mode that the ensemble is in, as its forward pass: call ``eval()`` first, or norms take their statistics
        from these rows and learn them. `motet.evaluation.predict_split_distinct` predicts a whole split in this way.

        Args:
            x_BM: inputs, ``(B, M, ...)``: row b of member m.

        Raises:
            InputError: for inputs of another shape, on a folded ensemble, and where members have no inputs of their
                own (a method with one input layer for all).
        """
        if self.is_folded:
            raise folded_error("forward_distinct")
        check_distinct(x_BM, self.members, possible=self.has_distinct_inputs, description=self.description)
        targets_BM = torch.zeros(x_BM.shape[:2], dtype=torch.long, device=x_BM.device)
        return self.forward_batch(Batch(inputs=x_BM, targets_BM=targets_BM, distinct=True))

    @property
    def has_distinct_inputs(self) -> bool:
        """Whether members can be given different examples: `forward_distinct`.

        They can where a layer asks the layout whose rows it sees: before it, rows are only rows. A folded ensemble's
        layers are made for one input to all.
        """
        if self.is_folded:
            return False
        return self.members == 1 or any(
            isinstance(part, MemberLayer) and part.layout is self.layout for part in self.network.modules()
        )

    def forward_batch(self, batch: Batch) -> Float[Tensor, "batch member out"]:
        """Every member's output for the rows that were dealt to it, ``(B, M, C)``.

        Raises:
            InputError: if the batch was dealt to another number of members, or the ensemble is folded.
        """
        return self._run_batch(batch, self.readout.prediction)

    def _run_batch(self, batch: Batch, run: Callable[[Tensor, int, int], Tensor]) -> Tensor:
        """What `run`, a method of the readout, gives for the rows that were dealt to the members."""
        if batch.distinct and self.is_folded:
            raise folded_error("forward_batch with inputs of each member's own")
        members = check_dealt(batch, self.members, self.members_in_training)
        inputs = batch.inputs.transpose(0, 1).flatten(0, 1) if batch.distinct else batch.inputs
        given = None if members == self.members else members
        with self.layout.rows(distinct=batch.distinct, members=given, mixing=batch.mixing):
            check_axes(inputs, self.input_axes)
            return run(inputs, len(batch.inputs), members)

    def loss(
        self,
        x: Shaped[Tensor, "unique ..."],
        y: Shaped[Tensor, "unique ..."],
        *,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
        augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> Float[Tensor, ""]:
        """The training objective on a batch of unique examples: a scalar to call ``backward`` on.

        Args:
            x: inputs, ``(B, ...)``.
            y: class labels ``(B,)``, or real targets ``(B,)`` or ``(B, C)``.
            generator: draws the grouping; torch's default generator if None.
            progress: how far training has come, for methods with warm starts and schedules; these are off if None.
            augment: changes inputs and targets row by row, before or after they are dealt to the members: as the
                grouping's ``augments_dealt`` says.

        Raises:
            InputError: for an empty batch, inputs and targets of different lengths, targets that the likelihood
                cannot have made, and on a folded ensemble.
        """
        if self.is_folded:
            raise folded_error("loss")
        check_examples(x, y)
        batch, y = deal_augmented(
            self.grouping, x, y,
            members=self.members_in_training, augment=augment, generator=generator, progress=progress,
        )  # fmt: skip
        readout = self.readout
        outputs = self._run_batch(batch, readout.outputs)

        def objective() -> Tensor:
            if self.share is not None:  # of whole networks with one output each
                return self.share.loss(self.objective, outputs, batch.targets_BM, self.likelihood, progress=progress)
            return readout.loss(outputs, batch, progress=progress, training=self.training)

        return checked_loss(objective, self.likelihood, y, outputs=outputs.shape[-1])

    @torch.no_grad()
    def predict(
        self,
        x: Shaped[Tensor, "batch ..."],
        *,
        targets: Shaped[Tensor, "batch ..."] | None = None,
        batch_size: int | None = None,
        members: int | Sequence[int] | None = None,
        lost: float | Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> Prediction:
        """Predict in evaluation mode, without gradients; each submodule keeps its own mode afterwards.

        Args:
            x: inputs, ``(B, ...)``.
            targets: the truth, kept in the prediction for metrics.
            batch_size: rows per forward pass; all at once if None.
            members: the first k members alone, or those with these indices, at their cost; all if None. To predict
                repeatedly with the same members, call `subset` once and reuse it.
            lost: indices of members that are lost, or the probability of each to be, the same for all of `x`: those
                that survive are combined. At least one does (`motet.inference.subset.surviving_members`).
            generator: draws who is lost; torch's default generator if None.

        Raises:
            InputError: for an empty batch, a batch size below 1, targets that are not one per input, and for members
                that are none, repeated or not there, or chosen of an ensemble over several processes.
        """
        check_asked(x, targets, batch_size)
        running = self if members is None and lost is None else self.survivors(members, lost, generator=generator)
        with evaluating(running):
            parts = [running(part) for part in x.split(batch_size or len(x))]
        return self._prediction(torch.cat(parts), targets)

    def anytime(self, x: Shaped[Tensor, "batch ..."]) -> Iterator[Prediction]:
        """Predictions that become better while the ensemble runs, `steps` of them; the last is `predict`'s.

        Where members are networks: of the first member, of the first two, and so on, each at one member's cost more;
        they run in turn (`fold` first where they share weights: their own are then written out once). Where there are
        exits: their average so far, weights adding up to 1, while the network is run once, as far as the exit. Where
        members are heads on the same features: once.

        What is not asked for is not run; a generator that is left alone leaves nothing behind.
        """
        check_asked(x, None, None)
        return each(self.in_steps(x), self._prediction)

    @property
    def steps(self) -> int:
        """How many predictions `anytime` gives."""
        return self.readout.count_steps(self.members)

    def in_steps(self, x: Shaped[Tensor, "batch ..."]) -> Steps:
        """The outputs of `anytime`, ``(B, m, C)``; sent indices of rows, it goes on with these rows only."""
        check_axes(x, self.input_axes)
        return self.readout.steps(x, self.members)

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

    def subset(self, members: int | Sequence[int]) -> "Ensemble":
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
            InputError: if there is no such member, or no layer of the network says what its members are.
        """
        index = chosen_members([member], self.members)[0]
        check_separable(self.network, self.members, self.description)
        return member_network(self.network, index)

    def survivors(
        self,
        members: int | Sequence[int] | None = None,
        lost: float | Sequence[int] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> "Ensemble":
        """As `subset`, of those of `members` that are not `lost` (see `predict`), around the same weights.

        To predict with once. Weights that are not needed whole are copied; the others are this ensemble's own.
        """
        chosen = tuple(range(self.members)) if members is None else chosen_members(members, self.members)
        if lost is not None:
            chosen = surviving_members(lost, chosen, self.members, generator=generator)
        return self._with_members(chosen)

    def parameter_groups(
        self, *, weight_decay: float = 0.0, decay_norm_and_bias: bool = True, learning_rate: float | None = None
    ) -> list[dict[str, Any]]:
        """Parameter groups for a torch optimiser.

        Args:
            weight_decay: the coefficient of the decayed group.
            decay_norm_and_bias: whether norm scales and shifts and all biases are decayed as well. The papers on
                CIFAR decay every trainable variable, those on ImageNet all but these.
            learning_rate: the optimiser's own. Needed where the method has parameters that learn at a multiple of
                it (fast weights), so that their groups say so.

        Returns:
            One group with `weight_decay` and, where it would not be empty, one without; more where parameters learn
            at a rate of their own. What a layer declares in its ``undecayed_parameters`` (fast weights,
            coefficients, depth logits) is never decayed (`motet.layers.ParameterRoles`).
        """
        return parameter_groups(
            self, weight_decay=weight_decay, decay_norm_and_bias=decay_norm_and_bias, learning_rate=learning_rate
        )

    def fold(self) -> "Ensemble":
        """The cheapest equivalent ensemble for inference: a copy in evaluation mode that predicts the same.

        Every member layer that has a cheaper form for shared inputs takes it (for MIMO the M input kernels are
        added up to one ordinary layer). The copy cannot be trained: its `loss` raises.
        """
        twin = copy.deepcopy(self).eval()
        for layer in list(twin.modules()):
            if isinstance(layer, MemberLayer) and (folded := layer.folded()) is not None:
                replace_module(twin, layer, folded)
        twin.is_folded = True
        return twin.requires_grad_(False).eval()

    def summary(self) -> Summary:
        """What was converted, what is shared and what belongs to each member, with counts; print it."""
        return summarise_network(self.network, description=self.description, members=self.members)

    def extra_repr(self) -> str:
        """Shown by ``print(ensemble)``."""
        return self.description + (", folded" if self.is_folded else "")

    def _prediction(self, outputs_BMC: Tensor, targets: Tensor | None = None) -> Prediction:
        return Prediction(
            outputs_BMC=outputs_BMC, likelihood=self.likelihood, combination=self.combination, targets=targets
        )

    def _with_members(self, indices: tuple[int, ...]) -> "Ensemble":
        """See `subset`, but not a copy: it holds this ensemble's own parameters where it needs them whole."""
        if self.share is not None:
            raise part_of_all_error(self.members, self.share.members)
        twin: Ensemble = copy_of_structure(self, without=dropped_parts(self.network, indices))
        twin.network, trainable = subset_network(twin.network, indices)
        twin.members = len(indices)
        twin.members_in_training = min(self.members_in_training, twin.members)
        twin.description = f"{self.description}, members {list(indices)}"
        twin.is_folded = self.is_folded or not trainable
        return twin

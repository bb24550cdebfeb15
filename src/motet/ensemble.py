"""`Ensemble`, the module that every method returns."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from motet._internal.copying import CopiedModule, copy_of
from motet._internal.evaluation_mode import evaluating
from motet._internal.renamed_settings import renamed_arguments
from motet.distributed import MemberShard
from motet.grouping import Grouping, deal_augmented
from motet.inference.anytime import Steps, predict_steps
from motet.inference.budget import Budget, Budgeted, predict_within_budget
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
    reads_own_rows,
)
from motet.inference.readout import Readout, readout_of
from motet.inference.subset import chosen_members, fold_layers, surviving_members, with_members
from motet.inference.target_units import TargetUnits
from motet.layers import Layout
from motet.layers.parameter_roles import parameter_groups
from motet.likelihoods import Combination, Likelihood
from motet.likelihoods.target_scale import TargetScale
from motet.objectives import ExitObjective, Objective
from motet.prediction import Prediction, check_asked
from motet.summary import Summary, summarise_network
from motet.surgery import member_network
from motet.types import Batch, Progress


@final
@renamed_arguments(share="shard")
class Ensemble(CopiedModule):
    """M predictors in one network. Made by ``Method.wrap``.

    Args:
        network: maps rows to rows ``(M B, C)``, member-major.
        members: M.
        description: the method and its settings, shown by ``print``.
        likelihood, objective, grouping: see `motet.likelihoods`, `motet.objectives` and `motet.grouping`.
        layout: the layout that the network's member layers hold.
        combination: how the members' predictions are combined.
        members_in_training: the number of members that a training step runs, if not all (MC dropout runs one); M if
            None.
        input_axes: the number of axes of an input batch; inputs with another number are refused. Not checked if None.
        shard: the members that this process holds, in an ensemble over several processes; None if it holds all.

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
        shard: MemberShard | None = None,
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
        self.shard = shard
        self.is_folded = False
        self.target_units = TargetUnits()
        trained_together = self.members_in_training if shard is None else shard.members
        self.readout.check(grouping, members=trained_together)

    @property
    def readout(self) -> Readout:
        """How the network's rows become members' outputs: one for each member, or one at each depth."""
        return readout_of(self.network, self.objective, self.likelihood, description=self.description)

    @property
    def target_scale(self) -> TargetScale | None:
        """How the targets of the training were standardised; None if they were not."""
        return self.target_units.scale

    def scale_targets(self, *, mean: float | Sequence[float] | Tensor, std: float | Sequence[float] | Tensor) -> None:
        """State that the training's targets were ``(y - mean) / std``, so that predictions are in the units of y.

        `motet.fit` states what its data set says. Call this after a training loop of your own on standardised targets.
        The forward pass and the loss stay those of standardised targets. The scale is part of the ``state_dict``.

        Args:
            mean: one number for each target, or one for all; 0 if targets were not standardised.
            std: the same, above 0; 1 if targets were not standardised.

        Raises:
            InputError: for numbers that are not finite, and for a standard deviation of 0 or less.
        """
        self.target_units.scale = TargetScale.of(mean, std)

    def forward(self, x: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch member out"]:
        """Return every member's output for the same inputs: ``(B, ...)`` to natural parameters ``(B, M, C)``.

        In training mode too, this is the prediction for shared inputs; the training objective is `loss`. If members
        have exits at several depths, a member's output is the weighted average of its exits (`Likelihood.average`).

        Raises:
            InputError: if the input is not one batch of examples.
        """
        check_axes(x, self.input_axes)
        return self.readout.prediction(x, len(x), self.members)

    def forward_exits(self, x: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch member depth out"]:
        """Return every member's output at every depth for the same inputs, the deepest last: ``(B, M, D, C)``.

        Raises:
            InputError: if the method has no exits, or if the input is not one batch of examples.
        """
        readout = self.readout
        if not readout.has_depths:
            raise one_output_error("forward_exits", self.description, instead="Call the ensemble itself")
        check_axes(x, self.input_axes)
        return readout.outputs(x, len(x), self.members)

    def forward_distinct(self, x_BM: Shaped[Tensor, "batch member ..."]) -> Float[Tensor, "batch member out"]:
        """Return each member's output for its own input: M different examples in one pass (throughput use).

        It runs in the current mode, like the forward pass. Call ``eval()`` first; otherwise batch norms use these rows'
        statistics and update their running statistics. `motet.evaluation.predict_split_distinct` predicts a whole split
        in this way.

        Args:
            x_BM: inputs, ``(B, M, ...)``: row b of member m.

        Raises:
            InputError: for inputs of another shape, on a folded ensemble, and if members cannot have different inputs
                (a method with one input layer for all members).
        """
        if self.is_folded:
            raise folded_error("forward_distinct")
        check_distinct(x_BM, self.members, possible=self.has_distinct_inputs, description=self.description)
        targets_BM = torch.zeros(x_BM.shape[:2], dtype=torch.long, device=x_BM.device)
        return self.forward_batch(Batch(inputs=x_BM, targets_BM=targets_BM, distinct=True))

    @property
    def has_distinct_inputs(self) -> bool:
        """Whether members can be passed different examples with `forward_distinct`; never in a folded ensemble."""
        return not self.is_folded and reads_own_rows(self.network, self.layout, self.members)

    def forward_batch(self, batch: Batch) -> Float[Tensor, "batch member out"]:
        """Return every member's output for its rows of a training batch, ``(B, M, C)``.

        Raises:
            InputError: if the batch is for another number of members, or if the ensemble is folded.
        """
        return self._run_batch(batch, self.readout.prediction)

    def _run_batch(self, batch: Batch, run: Callable[[Tensor, int, int], Tensor]) -> Tensor:
        """Apply `run`, a method of the readout, to the rows of a training batch."""
        if batch.distinct and self.is_folded:
            raise folded_error("forward_batch with separate inputs for the members")
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
        """Return the training objective on a batch of unique examples: a scalar to call ``backward`` on.

        Args:
            x: inputs, ``(B, ...)``.
            y: class labels ``(B,)``, class probabilities ``(B, C)``, or numbers, counts or labels ``(B,)``, ``(B, K)``.
            generator: random numbers for the grouping; torch's default generator if None.
            progress: how far training has come, for methods with warm starts and schedules; these are off if None.
            augment: changes inputs and targets row by row, before or after the grouping distributes them to the
                members, as the grouping's ``augments_dealt`` says.

        Raises:
            InputError: for an empty batch, inputs and targets of different lengths, targets outside the support of the
                likelihood, and on a folded ensemble.
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
            if self.shard is not None:  # Members are separate networks with one output each.
                return self.shard.loss(self.objective, outputs, batch.targets_BM, self.likelihood, progress=progress)
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
            targets: the true targets as `loss` gets them, kept in the prediction in their own units, for metrics.
            batch_size: rows per forward pass; all at once if None.
            members: the first k members only, or the members with these indices, at their cost; all if None. To predict
                repeatedly with the same members, call `subset` once and reuse it.
            lost: indices of members that are lost, or the probability of losing each member, with one draw for all of
                `x`. The others, at least one, are combined (`motet.inference.subset.surviving_members`).
            generator: random numbers for `lost`; torch's default generator if None.

        Raises:
            InputError: for an empty batch, a batch size below 1, targets that are not one per input, an empty, repeated
                or invalid choice of members, and a choice of members in an ensemble over several processes.
        """
        check_asked(x, targets, batch_size)
        running = self if members is None and lost is None else self.survivors(members, lost, generator=generator)
        with evaluating(running):
            parts = [running(part) for part in x.split(batch_size or len(x))]
        return self._prediction(torch.cat(parts), targets)

    def anytime(self, x: Shaped[Tensor, "batch ..."]) -> Iterator[Prediction]:
        """Yield `steps` predictions that improve while the ensemble runs; the last one equals that of `predict`.

        If members are networks, the predictions combine the first member, the first two, and so on. Each costs one more
        member (call `fold` first if they share weights, so that each member's weights are computed only once). If
        members have exits, the predictions are averages over the exits so far, with weights that add up to 1; the
        network runs once, up to the current exit. If members are heads on the same features, there is one prediction.

        Later steps run only when they are requested. The generator can be abandoned without side effects.
        """
        check_asked(x, None, None)
        return predict_steps(self.in_steps(x), self._prediction)

    @property
    def steps(self) -> int:
        """The number of predictions that `anytime` yields."""
        return self.readout.count_steps(self.members)

    def in_steps(self, x: Shaped[Tensor, "batch ..."]) -> Steps:
        """Yield the outputs of `anytime`, ``(B, m, C)``. Row indices passed to ``send`` select the rows to continue."""
        check_axes(x, self.input_axes)
        return self.readout.steps(x, self.members)

    def budgeted(
        self, x: Shaped[Tensor, "batch ..."], budget: Budget, *, targets: Shaped[Tensor, "batch ..."] | None = None
    ) -> Budgeted:
        """Predict with more steps (see `anytime`) for hard examples than for easy ones.

        Args:
            x: inputs, ``(B, ...)``.
            budget: thresholds fitted on validation data by `motet.analyses.fit_budget`.
            targets: the true targets as `loss` gets them, kept in the prediction in their own units.

        Raises:
            InputError: for an empty batch, and for a budget fitted to an ensemble with another number of steps.
        """
        check_asked(x, targets, None)
        budget.check_steps(self.steps)
        return predict_within_budget(budget, self.in_steps(x), self._prediction, targets)

    def subset(self, members: int | Sequence[int]) -> "Ensemble":
        """Return a smaller ensemble: a copy of only the chosen members, with the same predictions, at their cost.

        It can be trained further if members are separate networks or have separate weights in shared layers, and all
        see the same examples. If the network reads all members' inputs at once (MIMO, MixMo, DataMUX, MIMMO), or if the
        order of templates depends on M (MixtureEnsembles), it can only be used for inference, like the result of
        `fold`.

        Args:
            members: the first k members, or the indices of the members to keep, in the new order.

        Raises:
            InputError: for an empty choice, for indices that are repeated, out of range or not integers, and for an
                ensemble over several processes, each of which holds only some members.
        """
        twin = copy_of(self._with_members(chosen_members(members, self.members)))
        return twin.requires_grad_(False).eval() if twin.is_folded else twin

    def member(self, member: int) -> nn.Module:
        """Return the ordinary network of one member: a copy that maps ``(B, ...)`` to its outputs ``(B, C)``.

        Outputs are those of the ensemble's forward pass, for standardised targets (see `scale_targets`).

        Raises:
            InputError: if there is no such member, or if the network has no layer with a member axis.
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
        """Return a smaller ensemble without the lost members. Unlike `subset`, it shares this ensemble's weights.

        Use the result for prediction only. Weights that it needs only in part are copied; the others are shared.

        Args:
            members: see `predict`.
            lost: see `predict`.
            generator: see `predict`.
        """
        chosen = tuple(range(self.members)) if members is None else chosen_members(members, self.members)
        if lost is not None:
            chosen = surviving_members(lost, chosen, self.members, generator=generator)
        return self._with_members(chosen)

    def parameter_groups(
        self, *, weight_decay: float = 0.0, decay_norm_and_bias: bool = True, learning_rate: float | None = None
    ) -> list[dict[str, Any]]:
        """Return parameter groups for a torch optimiser.

        Args:
            weight_decay: the coefficient of the decayed group.
            decay_norm_and_bias: whether norm scales and shifts and all biases are decayed as well. The papers decay
                every trainable variable on CIFAR, and all but these on ImageNet.
            learning_rate: the optimiser's learning rate. It is required if the method has parameters whose learning
                rate is a multiple of it (fast weights), so that their groups can set it.

        Returns:
            One group with `weight_decay` and, unless it is empty, one without. There are more groups if some parameters
            have another learning rate. The parameters in a layer's ``undecayed_parameters`` (fast weights,
            coefficients, depth logits) are never decayed (`motet.layers.ParameterRoles`).
        """
        return parameter_groups(
            self, weight_decay=weight_decay, decay_norm_and_bias=decay_norm_and_bias, learning_rate=learning_rate
        )

    def fold(self) -> "Ensemble":
        """Return the cheapest equivalent ensemble for inference: a copy in evaluation mode with the same predictions.

        Every member layer that has a cheaper form for shared inputs is replaced by it (for MIMO, the M input kernels
        are summed into one ordinary layer). The copy cannot be trained: its `loss` raises an `InputError`.
        """
        twin = copy_of(self).eval()
        fold_layers(twin)
        twin.is_folded = True
        return twin.requires_grad_(False).eval()

    def summary(self) -> Summary:
        """Return what was converted, shared, and separate for each member, with parameter counts; print it."""
        return summarise_network(self.network, description=self.description, members=self.members)

    def extra_repr(self) -> str:
        """Shown by ``print(ensemble)``."""
        return self.description + (", folded" if self.is_folded else "")

    def _prediction(self, outputs_BMC: Tensor, targets: Tensor | None = None) -> Prediction:
        return self.target_units.prediction(outputs_BMC, self.likelihood, self.combination, targets)

    def _with_members(self, indices: tuple[int, ...]) -> "Ensemble":
        """Return a `subset` that is not a copy: it shares parameters that it needs as a whole."""
        if self.shard is not None:
            raise part_of_all_error(self.members, self.shard.members)
        return with_members(self, indices)

"""`Ensemble`, the module that every method returns."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.copying import copy_of
from motet._internal.evaluation_mode import evaluating
from motet._internal.renamed_settings import renamed_arguments
from motet.ensemble.member_outputs import MemberOutputs
from motet.grouping import deal_augmented
from motet.inference.anytime import Steps, predict_steps
from motet.inference.budget import Budget, Budgeted, predict_within_budget
from motet.inference.checks import (
    check_examples,
    check_separable,
    checked_loss,
    folded_error,
    part_of_all_error,
)
from motet.inference.inputs import SMALL_INTEGERS, as_inputs, as_targets, as_tensor, batches
from motet.inference.subset import chosen_members, fold_layers, surviving_members, with_members
from motet.layers.parameter_roles import parameter_groups
from motet.likelihoods.positions import check_positions, check_same_positions, targets_last
from motet.prediction import Prediction, check_asked, check_batch_size
from motet.summary import Summary, summarise_network
from motet.surgery import member_network
from motet.types import Progress


@final
@renamed_arguments(share="shard")
class Ensemble(MemberOutputs):
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
        input_form: what inputs look like: their axes, and whether they are floating-point numbers; other inputs are
            refused. Not checked if None.
        shard: the members that this process holds, in an ensemble over several processes; None if it holds all.

    Raises:
        InputError: if the objective does not fit the network, the likelihood or the grouping.
    """

    def loss(
        self,
        x: Any,
        y: Any,
        *,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
        augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the training objective on a batch of unique examples: a scalar to call ``backward`` on.

        Args:
            x: inputs, ``(B, ...)``: a tensor, or what NumPy converts to an array of numbers; a tuple or a dictionary of
                them if the model reads several. Floating-point inputs get the network's type; integers keep theirs.
            y: class labels ``(B,)``, class probabilities ``(B, C)``, or numbers, counts or labels ``(B,)``, ``(B, K)``,
                as a tensor or an array. For outputs with positions, one label for each: ``(B, *P)``.
            generator: random numbers for the grouping; torch's default generator if None.
            progress: how far training has come, for methods with warm starts and schedules; these are off if None.
            augment: changes inputs and targets row by row, before or after the grouping distributes them to the
                members, as the grouping's ``augments_dealt`` says.

        Raises:
            InputError: for inputs that are no numbers, an empty batch, inputs and targets of different lengths, targets
                outside the support of the likelihood, and on a folded ensemble.
        """
        if self.is_folded:
            raise folded_error("loss")
        # An augmentation gets the inputs as they are stored, and prepares them for the network itself.
        x = self._inputs(x) if augment is None else as_tensor(x, "inputs")
        y = as_targets(y, self.likelihood, self.network)
        check_examples(x, y)
        batch, y = deal_augmented(
            self.grouping, x, y,
            members=self.members_in_training, augment=augment, generator=generator, progress=progress,
        )  # fmt: skip
        readout = self.readout
        outputs = self._run_batch(batch, readout.outputs)

        if self.likelihood.output_axis is not None:
            y = self._target_rows(y, outputs[:, :, -1] if readout.has_depths else outputs)

        def objective() -> Tensor:
            if self.shard is not None:  # Members are separate networks with one output each.
                return self.shard.loss(self.objective, outputs, batch.targets_BM, self.likelihood, progress=progress)
            return readout.loss(outputs, batch, progress=progress, training=self.training)

        return checked_loss(objective, self.likelihood, y, outputs=outputs.shape[-1])

    @torch.no_grad()
    def predict(
        self,
        x: Any,
        *,
        targets: Any = None,
        batch_size: int | None = None,
        members: int | Sequence[int] | None = None,
        lost: float | Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> Prediction:
        """Predict in evaluation mode, without gradients; each submodule keeps its own mode afterwards.

        Args:
            x: inputs as in `loss`; or the pair ``(inputs, targets)``, a `torch.utils.data.Dataset`, or a `DataLoader`,
                of inputs or pairs. Dictionaries that also have ``labels`` are pairs.
            targets: the true targets as `loss` gets them, kept in the prediction in their own units, for metrics.
            batch_size: rows per forward pass; all at once if None. A loader has its own.
            members: the first k members only, or the members with these indices, at their cost; all if None. To predict
                repeatedly with the same members, call `subset` once and reuse it.
            lost: indices of members that are lost, or the probability of losing each member, with one draw for all of
                `x`. The others, at least one, are combined (`motet.inference.subset.surviving_members`).
            generator: random numbers for `lost`; torch's default generator if None.

        Raises:
            InputError: for inputs that are no numbers, an empty batch, a batch size below 1, targets that are not one
                per input, an empty, repeated or invalid choice of members, and a choice of members in an ensemble over
                several processes.
        """
        check_batch_size(batch_size)
        running = self if members is None and lost is None else self.survivors(members, lost, generator=generator)
        rows, outputs, known = 0, list[Tensor](), list[Tensor]()
        with evaluating(running):
            for part, y in batches(x, targets, batch_size, self.input_form):
                inputs = self._inputs(part)
                rows += len(inputs)
                outputs += [running(inputs)] if len(inputs) else []
                known += [] if y is None else [as_tensor(y, "targets")]
        if isinstance(targets, Tensor):
            known = [targets]
        check_asked(rows, sum(map(len, known)) if known else None)
        check_same_positions(outputs)
        return self._prediction(torch.cat(outputs), self._targets(known))

    def anytime(self, x: Any) -> Iterator[Prediction]:
        """Yield `steps` predictions that improve while the ensemble runs; the last one equals that of `predict`.

        If members are networks, the predictions combine the first member, the first two, and so on. Each costs one more
        member (call `fold` first if they share weights, so that each member's weights are computed only once). If
        members have exits, the predictions are averages over the exits so far, with weights that add up to 1; the
        network runs once, up to the current exit. If members are heads on the same features, there is one prediction.

        Later steps run only when they are requested. The generator can be abandoned without side effects.
        """
        x = self._inputs(x)
        check_asked(len(x), None)
        return predict_steps(self.in_steps(x), self._prediction)

    @property
    def steps(self) -> int:
        """The number of predictions that `anytime` yields."""
        return self.readout.count_steps(self.members)

    def in_steps(self, x: Any) -> Steps:
        """Yield the outputs of `anytime`, ``(B, m, C)``. Row indices passed to ``send`` select the rows to continue."""
        inputs = self._batch(x)
        return self.readout.steps(inputs, self.members)

    def budgeted(self, x: Any, budget: Budget, *, targets: Any = None) -> Budgeted:
        """Predict with more steps (see `anytime`) for hard examples than for easy ones.

        Args:
            x: inputs, ``(B, ...)``.
            budget: thresholds fitted on validation data by `motet.analyses.fit_budget`.
            targets: the true targets as `loss` gets them, kept in the prediction in their own units.

        Raises:
            InputError: for an empty batch, and for a budget fitted to an ensemble with another number of steps.
        """
        x = self._inputs(x)
        known = [] if targets is None else [as_tensor(targets, "targets")]
        check_asked(len(x), len(known[0]) if known else None)
        budget.check_steps(self.steps)
        return predict_within_budget(budget, self.in_steps(x), self._prediction, self._targets(known))

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

    def _inputs(self, x: Any) -> Any:
        return as_inputs(x, self.network, self.input_form)

    def _target_rows(self, y: Tensor, outputs: Tensor) -> Tensor:
        """Return targets at positions as rows, checked against the outputs ``(B, M, *P, C)``."""
        positions = outputs.shape[2:-1]
        y = targets_last(y, positions, self.likelihood)
        check_positions(y, outputs, self.likelihood)
        return y.flatten(0, len(positions))

    def _targets(self, known: list[Tensor]) -> Tensor | None:
        """Return the targets of all batches, with the type of labels that the likelihood reads."""
        if not known:
            return None
        y = known[0] if len(known) == 1 else torch.cat(known)
        return y.long() if self.likelihood.target_kind == "class" and y.dtype in SMALL_INTEGERS else y

    def _prediction(self, outputs_BMC: Tensor, targets: Tensor | None = None) -> Prediction:
        return self.target_units.prediction(outputs_BMC, self.likelihood, self.combination, targets)

    def _with_members(self, indices: tuple[int, ...]) -> "Ensemble":
        """Return a `subset` that is not a copy: it shares parameters that it needs as a whole."""
        if self.shard is not None:
            raise part_of_all_error(self.members, self.shard.members)
        return with_members(self, indices)

"""The one module that every method returns."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet.distributed import Share
from motet.errors import InputError
from motet.grouping import Grouping, augment_dealt
from motet.inference.partial import Divisible
from motet.layers import Exits, Layout, MemberLayer
from motet.layers.parameter_roles import parameter_groups
from motet.likelihoods import Combination, Likelihood
from motet.objectives import ExitObjective, Objective
from motet.prediction import Prediction, check_asked
from motet.summary import Summary, summarise_network
from motet.surgery import replace_module
from motet.types import Batch, Progress


@final
class Ensemble(Divisible):
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
        if isinstance(objective, ExitObjective) and not isinstance(network, Exits):
            raise InputError(
                f"the objective {type(objective).__name__} needs outputs at several depths",
                got=f"{description}, whose members have one output",
                fix="Leave the objective out, or take a method with exits: EarlyExit, DUN, MIMMO",
            )
        if isinstance(objective, ExitObjective):
            objective.check(likelihood)
        elif (self.members_in_training if share is None else share.members) > 1:
            objective.check(likelihood, grouping)

    def forward(self, x: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch member out"]:
        """Every member's output for the same inputs: ``(B, ...)`` to natural parameters ``(B, M, C)``.

        In training mode this is still the prediction for shared inputs; the training objective is `loss`. Where
        members have exits at several depths it is their weighted average, as `Likelihood.average` takes it.

        Raises:
            InputError: for inputs that are not one batch of examples.
        """
        depths = self._depths()
        return self._averaged(self._run(x, rows=len(x), members=self.members, depths=depths), depths)

    def forward_exits(self, x: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch member depth out"]:
        """Every member's output at every depth for the same inputs, the deepest last: ``(B, M, D, C)``.

        Raises:
            InputError: if the method has no exits, or for inputs that are not one batch of examples.
        """
        if not isinstance(self.network, Exits):
            raise InputError(
                "forward_exits needs outputs at several depths",
                got=f"{self.description}, whose members have one output",
                fix="Call the ensemble itself, or take a method with exits: EarlyExit, DUN, MIMMO",
            )
        return self._run(x, rows=len(x), members=self.members)

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
            raise self._folded_error("forward_distinct")
        if not self.has_distinct_inputs:
            raise InputError(
                "different examples for the members need members with inputs of their own",
                got=f"{self.description}, whose members share one input",
                fix="Call the ensemble itself, or take a method with an input for each member: MIMO, MixMo, DataMUX",
            )
        if x_BM.ndim < 2 or x_BM.shape[1] != self.members:
            raise InputError(
                f"different examples for the members must have shape (batch, {self.members}, ...)",
                got=f"shape {tuple(x_BM.shape)}",
                fix=f"Lay {self.members} examples side by side: x.unflatten(0, (-1, {self.members})), or call the "
                "ensemble itself for one input to all members",
            )
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
        depths = self._depths()
        return self._averaged(self._run_batch(batch, depths), depths)

    def _run_batch(self, batch: Batch, depths: tuple[int, ...] | None = None) -> Tensor:
        members = batch.targets_BM.shape[1]
        if batch.distinct:
            if self.is_folded:
                raise self._folded_error("forward_batch with inputs of each member's own")
            members = batch.inputs.shape[1] if batch.inputs.ndim > 1 else 0
        if members not in (self.members, self.members_in_training):
            shape = tuple((batch.inputs if batch.distinct else batch.targets_BM).shape)
            raise InputError(
                f"{'inputs of the members own' if batch.distinct else 'targets'} must have shape "
                f"(batch, {self.members}, ...)",
                got=f"shape {shape}",
                fix="Deal the batch with ensemble.grouping.deal(x, y, members=ensemble.members)",
            )
        rows = len(batch.inputs)
        inputs = batch.inputs.transpose(0, 1).flatten(0, 1) if batch.distinct else batch.inputs
        given = None if members == self.members else members
        with self.layout.rows(distinct=batch.distinct, members=given, mixing=batch.mixing):
            return self._run(inputs, rows=rows, members=members, depths=depths)

    def _run(self, x: Tensor, *, rows: int, members: int, depths: tuple[int, ...] | None = None) -> Tensor:
        """Outputs ``(B, M, C)``, or ``(B, M, D, C)`` of members with exits: of all, or of those at `depths`."""
        self._check_axes(x)
        out_rows = self.network(x) if depths is None else self.network(x, depths)
        return self._by_member(out_rows, rows, members)

    def _depths(self) -> tuple[int, ...] | None:
        """The depths that a prediction needs, where that is not all."""
        return self.network.kept() if isinstance(self.network, Exits) else None

    def _averaged(self, outputs: Tensor, depths: tuple[int, ...] | None = None) -> Float[Tensor, "batch member out"]:
        if not isinstance(self.network, Exits):
            return outputs
        return self.likelihood.average(outputs, self.network.log_weights(depths).to(outputs.dtype))

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
            raise self._folded_error("loss")
        if len(x) != len(y) or len(x) == 0:
            raise InputError(
                "a batch must have one target per input, and at least one input",
                got=f"{len(x)} inputs and {len(y)} targets",
                fix="Pass x and y of the same examples",
            )
        after = self.grouping.augments_dealt
        if augment is not None and not after:
            x, y = augment(x, y)
        batch = self.grouping.deal(x, y, members=self.members_in_training, generator=generator, progress=progress)
        if augment is not None and after:
            batch = augment_dealt(batch, augment)
            y = batch.targets_BM.flatten(0, 1)
        outputs = self._run_batch(batch)
        # Looking at the targets' values at every step takes time, and makes an accelerator wait. It is done when
        # something went wrong, to say what.
        self.likelihood.check_targets(y, outputs=outputs.shape[-1], values=False)
        try:
            loss = self._objective_of(outputs, batch, progress)
        except IndexError:
            self.likelihood.check_targets(y, outputs=outputs.shape[-1])
            raise
        if loss.device.type == "cpu" and not math.isfinite(loss.item()):
            self.likelihood.check_targets(y, outputs=outputs.shape[-1])
        return loss

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
            members: the first k members alone, or those with these indices, at their cost; all if None. Those who
                predict with them often make a `subset` of them once.
            lost: indices of members that are lost, or the probability of each to be, the same for all of `x`: those
                that survive are combined. At least one does (`motet.inference.subset.surviving_members`).
            generator: draws who is lost; torch's default generator if None.

        Raises:
            InputError: for an empty batch, a batch size below 1, targets that are not one per input, and for members
                that are none, repeated or not there, or
                chosen of an ensemble over several processes.
        """
        check_asked(x, targets, batch_size)
        running = self if members is None and lost is None else self.survivors(members, lost, generator=generator)
        with evaluating(running):
            parts = [running(part) for part in x.split(batch_size or len(x))]
        return self._prediction(torch.cat(parts), targets)

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
            coefficients, depth logits) is never decayed.
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

    def _objective_of(self, outputs: Tensor, batch: Batch, progress: Progress | None) -> Tensor:
        if isinstance(self.objective, ExitObjective):
            assert isinstance(self.network, Exits)  # checked when the ensemble was made
            weights = self.network.weights
            if self.training:
                # Where the posterior over depths is no parameter, the objective estimates it, as batch norm its means.
                with torch.no_grad():
                    logits_MD = self.objective.estimate(
                        outputs, batch.targets_BM, self.likelihood, logits_MD=weights.logits_MD, progress=progress
                    )
                    if logits_MD is not None:
                        weights.logits_MD.copy_(logits_MD)
            return self.objective(
                outputs,
                batch.targets_BM,
                self.likelihood,
                log_weights_MD=weights().to(outputs.dtype),
                progress=progress,
            )
        if self.share is not None:
            return self.share.loss(
                self.objective, self._averaged(outputs), batch.targets_BM, self.likelihood, progress=progress
            )
        return self.objective(
            self._averaged(outputs), batch.targets_BM, self.likelihood, weights_BM=batch.weights_BM, progress=progress
        )

    def _with_members(self, indices: tuple[int, ...]) -> "Ensemble":
        if self.share is not None:
            raise InputError(
                "some members are chosen where all of them are",
                got=f"an ensemble of {self.share.members} over several processes, this one with {self.members}",
                fix="Wrap the model without a grid and load the run's weights: motet.training.load_run_weights(folder, "
                "ensemble)",
            )
        return super()._with_members(indices)

    def _folded_error(self, what: str) -> InputError:
        return InputError(
            f"{what} needs the ensemble as it was trained",
            got="a folded ensemble, which is for inference",
            fix="Call it on the ensemble that fold() was called on",
        )

"""The part of an ensemble that computes every member's outputs."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.copying import CopiedModule
from motet._internal.nested import NestedInputs, as_one
from motet.distributed import MemberShard
from motet.grouping import Grouping
from motet.inference.checks import (
    check_dealt,
    check_distinct,
    folded_error,
    one_output_error,
    reads_own_rows,
)
from motet.inference.input_form import InputForm
from motet.inference.readout import Readout, readout_of
from motet.inference.target_units import TargetUnits
from motet.layers import Layout
from motet.likelihoods import Combination, Likelihood
from motet.likelihoods.target_scale import TargetScale
from motet.objectives import ExitObjective, Objective
from motet.types import Batch


class MemberOutputs(CopiedModule):
    """A network of M members, and how its rows become their outputs.

    Args:
        network, members, description, likelihood, objective, grouping, layout: see `motet.Ensemble`.
        combination, members_in_training, input_form, shard: see `motet.Ensemble`.

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
        input_form: InputForm | None = None,
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
        self.input_form = input_form
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

    def forward(self, *x: Any, **named: Any) -> Float[Tensor, "batch member *positions out"]:
        """Return every member's output for the same inputs: ``(B, ...)`` to natural parameters ``(B, M, C)``.

        With positions (`motet.Categorical`, ``class_axis``) they are ``(B, M, *P, C)``, with the classes last.

        A model that reads several tensors is called as usual, ``ensemble(a, b)`` or ``ensemble(**batch)``, or with the
        tuple or dictionary itself.

        In training mode too, this is the prediction for shared inputs; the training objective is `loss`. If members
        have exits at several depths, a member's output is the weighted average of its exits (`Likelihood.average`).

        Raises:
            InputError: if the input is not one batch of examples.
        """
        inputs = self._batch(as_one(x, named))
        return self.readout.prediction(inputs, len(inputs), self.members)

    def forward_exits(self, *x: Any, **named: Any) -> Float[Tensor, "batch member depth *positions out"]:
        """Return every member's output at every depth for the same inputs, the deepest last: ``(B, M, D, C)``.

        Raises:
            InputError: if the method has no exits, or if the input is not one batch of examples.
        """
        readout = self.readout
        if not readout.has_depths:
            raise one_output_error("forward_exits", self.description, instead="Call the ensemble itself")
        inputs = self._batch(as_one(x, named))
        return readout.outputs(inputs, len(inputs), self.members)

    def forward_distinct(self, x_BM: Any) -> Float[Tensor, "batch member *positions out"]:
        """Return each member's output for its own input: M different examples in one pass (throughput use).

        It runs in the current mode, like the forward pass. Call ``eval()`` first; otherwise batch norms use these rows'
        statistics and update their running statistics. `motet.evaluation.predict_split_distinct` predicts a whole split
        in this way.

        Args:
            x_BM: inputs, ``(B, M, ...)``: row b of member m. In a tuple or dictionary, every tensor has these two axes.

        Raises:
            InputError: for inputs of another shape, on a folded ensemble, and if members cannot have different inputs
                (a method with one input layer for all members).
        """
        if self.is_folded:
            raise folded_error("forward_distinct")
        if self.input_form is not None and self.input_form.is_nested and not isinstance(x_BM, NestedInputs):
            x_BM = self.input_form.adopt_nested(x_BM)
            # Tensors may have only the batch in common with each other, until their members' axes are checked.
            x_BM = x_BM if any(each.ndim < 2 for each in x_BM.tensors) else x_BM.map(lambda each: each, batch_axes=2)
        check_distinct(x_BM, self.members, possible=self.has_distinct_inputs, description=self.description)
        targets_BM = torch.zeros(x_BM.shape[:2], dtype=torch.long, device=x_BM.device)
        return self.forward_batch(Batch(inputs=x_BM, targets_BM=targets_BM, distinct=True))

    @property
    def has_distinct_inputs(self) -> bool:
        """Whether members can be passed different examples with `forward_distinct`; never in a folded ensemble."""
        return not self.is_folded and reads_own_rows(self.network, self.layout, self.members)

    def forward_batch(self, batch: Batch) -> Float[Tensor, "batch member *positions out"]:
        """Return every member's output for its rows of a training batch, ``(B, M, C)``.

        Raises:
            InputError: if the batch is for another number of members, or if the ensemble is folded.
        """
        return self._run_batch(batch, self.readout.prediction)

    def _run_batch(self, batch: Batch, run: Callable[[Any, int, int], Tensor]) -> Tensor:
        """Apply `run`, a method of the readout, to the rows of a training batch."""
        if batch.distinct and self.is_folded:
            raise folded_error("forward_batch with separate inputs for the members")
        members = check_dealt(batch, self.members, self.members_in_training)
        inputs = batch.inputs.transpose(0, 1).flatten(0, 1) if batch.distinct else batch.inputs
        given = None if members == self.members else members
        with self.layout.rows(distinct=batch.distinct, members=given, mixing=batch.mixing):
            self._check_axes(inputs)
            return run(inputs, len(batch.inputs), members)

    def _batch(self, x: Any) -> Any:
        """Return inputs as the network reads them: a tuple or dictionary as a batch. Their types are not changed."""
        if self.input_form is not None and self.input_form.is_nested and not isinstance(x, NestedInputs):
            x = self.input_form.adopt_nested(x)
        self._check_axes(x)
        return x

    def _check_axes(self, x: Any) -> None:
        if self.input_form is not None:
            self.input_form.check_axes(x)

    def extra_repr(self) -> str:
        """Return the method and its settings."""
        return self.description + (", folded" if self.is_folded else "")

    def __repr__(self) -> str:
        """One line. ``print(ensemble.network)`` shows all modules, ``print(ensemble.summary())`` what was converted."""
        members = f"{self.members} member{'' if self.members == 1 else 's'}"
        count = sum(each.numel() for each in self.parameters())
        return f"{type(self).__name__}({self.extra_repr()}: {members}, {count:,} parameters)"

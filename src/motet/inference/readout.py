"""Turns a network's output rows into members' outputs: one for each member, or one at each of several depths."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.nested import Inputs
from motet.grouping import Grouping
from motet.inference.anytime import (
    Steps,
    all_at_once,
    depths_of,
    exit_by_exit,
    is_single_pass,
    member_by_member,
    run_member,
)
from motet.inference.checks import by_member, one_output_error
from motet.inference.positions import as_rows, no_loss, weights_argument
from motet.layers import Exits
from motet.likelihoods import Likelihood
from motet.objectives import ExitObjective, Objective
from motet.types import Batch, Progress

Cost = Callable[[Callable[[], Tensor]], float]
"""A function that returns the cost of one run."""


def readout_of(
    network: nn.Module, objective: Objective | ExitObjective, likelihood: Likelihood, *, description: str
) -> "Readout":
    """Return the readout for a network under an objective.

    Args:
        network: the ensemble's network.
        objective: the training loss.
        likelihood: the distribution whose natural parameters the outputs are.
        description: what made the ensemble, for the error.

    Raises:
        InputError: if the objective needs outputs at several depths and members have one output.
    """
    if isinstance(network, Exits):
        if isinstance(objective, ExitObjective):
            return DepthOutputs(network, objective, likelihood)
        return DepthAverage(network, objective, likelihood)
    if isinstance(objective, ExitObjective):
        what = f"the objective {type(objective).__name__}"
        raise one_output_error(what, description, instead="Leave the objective out")
    return SingleOutput(network, objective, likelihood)


class Readout(ABC):
    """The operations of an ensemble that depend on the number of outputs of a member.

    It holds the ensemble's network, objective and likelihood, and has no state.

    Args:
        network: the ensemble's network.
        objective: the training loss.
        likelihood: the distribution whose natural parameters the outputs are.
    """

    has_depths: ClassVar[bool]
    """Whether members have outputs at several depths of one pass."""

    @abstractmethod
    def check(self, grouping: Grouping, *, members: int) -> None:
        """Raise `InputError` if the objective does not fit the likelihood or the grouping."""

    @abstractmethod
    def outputs(self, x: Inputs, rows: int, members: int) -> Float[Tensor, "batch member ..."]:
        """Return all outputs for B `rows`: ``(B, M, C)``, or ``(B, M, D, C)`` with the deepest last.

        Args:
            x: inputs, ``(B, ...)`` or ``(M B, ...)``.
            rows: B.
            members: M.
        """

    @abstractmethod
    def prediction(self, x: Inputs, rows: int, members: int) -> Float[Tensor, "batch member *positions out"]:
        """Return the predictions for B `rows`, ``(B, M, C)``, with positions ``(B, M, *P, C)``: the average over depths
        if there are several.

        Args:
            x: inputs, ``(B, ...)`` or ``(M B, ...)``.
            rows: B.
            members: M.
        """

    @abstractmethod
    def loss(
        self, outputs: Float[Tensor, "batch member ..."], batch: Batch, *, progress: Progress | None, training: bool
    ) -> Float[Tensor, ""]:
        """Return the objective on the outputs for a batch.

        Args:
            outputs: outputs from `outputs`.
            batch: the batch, with targets and weights.
            progress: how far training has come; None if unknown.
            training: whether the objective may update its running estimates.
        """

    @abstractmethod
    def count_steps(self, members: int) -> int:
        """Return the number of predictions that `steps` yields."""

    @abstractmethod
    def steps(self, x: Inputs, members: int) -> Steps:
        """Yield the outputs after each step for rows ``(B, ...)`` that all members share; see
        `motet.inference.anytime`.
        """

    @abstractmethod
    def step_costs(self, x: Inputs, members: int, cost: Cost) -> list[float]:
        """Return the cost of each step, in addition to the steps before it.

        Args:
            x: inputs, ``(B, ...)``.
            members: M.
            cost: measures one run.
        """


@final
class SingleOutput(Readout):
    """A member has one output: the network returns rows ``(M B, C)``."""

    has_depths: ClassVar[bool] = False

    def __init__(self, network: nn.Module, objective: Objective, likelihood: Likelihood) -> None:
        self.network, self.objective, self.likelihood = network, objective, likelihood

    def check(self, grouping: Grouping, *, members: int) -> None:
        """With one member every objective fits."""
        if members > 1:
            self.objective.check(self.likelihood, grouping)

    def outputs(self, x: Inputs, rows: int, members: int) -> Float[Tensor, "batch member *positions out"]:
        """``(B, M, C)``, or ``(B, M, *P, C)`` with positions."""
        return by_member(self.network(x), rows, members, likelihood=self.likelihood)

    def prediction(self, x: Inputs, rows: int, members: int) -> Float[Tensor, "batch member *positions out"]:
        """The outputs themselves."""
        return by_member(self.network(x), rows, members, likelihood=self.likelihood)

    def loss(
        self,
        outputs: Float[Tensor, "batch member *positions out"],
        batch: Batch,
        *,
        progress: Progress | None,
        training: bool,
    ) -> Float[Tensor, ""]:
        """The objective on the outputs, or on their scored positions; 0 if there is none."""
        if self.likelihood.output_axis is not None:
            rows = as_rows(outputs, batch, self.likelihood)
            if rows is None:
                return no_loss(outputs)
            given = (rows.outputs, rows.targets, self.likelihood)
            return self.objective(*given, weights_BM=rows.weights, progress=progress)
        weights_BM = batch.weights_BM
        return self.objective(outputs, batch.targets_BM, self.likelihood, weights_BM=weights_BM, progress=progress)

    def count_steps(self, members: int) -> int:
        """One for each member, or one in total if all outputs come from one pass."""
        return 1 if is_single_pass(self.network) else members

    def steps(self, x: Inputs, members: int) -> Steps:
        """Member after member, or all in one pass."""
        run = all_at_once if is_single_pass(self.network) else member_by_member
        return run(self.network, x, members, self.likelihood)

    def step_costs(self, x: Inputs, members: int, cost: Cost) -> list[float]:
        """The cost of each member, or of the one pass."""
        if self.count_steps(members) == 1:
            return [cost(partial(self.network, x))]
        return [cost(partial(run_member, self.network, x, member)) for member in range(members)]


class _ManyOutputs(Readout):
    """A member has an output at each of D depths: the network returns rows ``(M B, D, C)``."""

    has_depths: ClassVar[bool] = True
    network: Exits
    likelihood: Likelihood

    def outputs(self, x: Inputs, rows: int, members: int) -> Float[Tensor, "batch member depth *positions out"]:
        """``(B, M, D, C)``."""
        return by_member(self.network(x), rows, members, likelihood=self.likelihood, axes=3)

    def prediction(self, x: Inputs, rows: int, members: int) -> Float[Tensor, "batch member *positions out"]:
        """The average over the depths that a prediction uses."""
        depths = self.network.kept()
        found = by_member(self.network(x, depths), rows, members, likelihood=self.likelihood, axes=3)
        return self.average(found, depths)

    def average(
        self, outputs_BMDC: Float[Tensor, "batch member depth *positions out"], depths: tuple[int, ...] | None = None
    ) -> Float[Tensor, "batch member *positions out"]:
        """Return the members' weighted averages over all depths, or over `depths`."""
        log_weights_MD = self.network.log_weights(depths).to(outputs_BMDC.dtype)
        if outputs_BMDC.ndim == 4:
            return self.likelihood.average(outputs_BMDC, log_weights_MD)
        by_position = outputs_BMDC.movedim((1, 2), (-3, -2))
        return self.likelihood.average(by_position, log_weights_MD).movedim(-2, 1)

    def count_steps(self, members: int) -> int:
        """One for each depth that a prediction uses."""
        return len(depths_of(self.network))

    def steps(self, x: Inputs, members: int) -> Steps:
        """Exit after exit, in one pass."""
        return exit_by_exit(self.network, x, members, self.likelihood, self.average)

    def step_costs(self, x: Inputs, members: int, cost: Cost) -> list[float]:
        """The costs of the network from exit to exit."""
        depths = depths_of(self.network)
        up_to = [0.0] + [cost(partial(self.network, x, depths[:last])) for last in range(1, len(depths) + 1)]
        return [after - before for before, after in pairwise(up_to)]


@final
class DepthAverage(_ManyOutputs):
    """Outputs at several depths, averaged, and trained by an objective for one output."""

    def __init__(self, network: Exits, objective: Objective, likelihood: Likelihood) -> None:
        self.network, self.likelihood = network, likelihood
        self.averaged = SingleOutput(network, objective, likelihood)

    def check(self, grouping: Grouping, *, members: int) -> None:
        """The same check as for one output."""
        self.averaged.check(grouping, members=members)

    def loss(
        self,
        outputs: Float[Tensor, "batch member depth *positions out"],
        batch: Batch,
        *,
        progress: Progress | None,
        training: bool,
    ) -> Float[Tensor, ""]:
        """The objective on the average."""
        return self.averaged.loss(self.average(outputs), batch, progress=progress, training=training)


@final
class DepthOutputs(_ManyOutputs):
    """Outputs at several depths, for an objective that reads all of them."""

    def __init__(self, network: Exits, objective: ExitObjective, likelihood: Likelihood) -> None:
        self.network, self.objective, self.likelihood = network, objective, likelihood

    def check(self, grouping: Grouping, *, members: int) -> None:
        """The grouping makes no difference."""
        self.objective.check(self.likelihood)

    def loss(
        self,
        outputs: Float[Tensor, "batch member depth *positions out"],
        batch: Batch,
        *,
        progress: Progress | None,
        training: bool,
    ) -> Float[Tensor, ""]:
        """The objective on the outputs at all depths and the weights over depths."""
        weights, given = self.network.weights, (outputs, batch.targets_BM, self.likelihood)
        row_weights: dict[str, Any] = {}
        if self.likelihood.output_axis is not None:
            rows = as_rows(outputs, batch, self.likelihood, depths=True)
            if rows is None:
                return no_loss(outputs)
            given, progress = (rows.outputs, rows.targets, self.likelihood), rows.progress(progress)
            row_weights = weights_argument(self.objective, rows.weights)
        if training:
            # If the posterior over depths is not a parameter, the objective estimates it, like batch norm its means.
            with torch.no_grad():
                logits_MD = self.objective.estimate(
                    *given, logits_MD=weights.logits_MD, progress=progress, **row_weights
                )
                if logits_MD is not None:
                    weights.logits_MD.copy_(logits_MD)
        return self.objective(*given, log_weights_MD=weights().to(outputs.dtype), progress=progress, **row_weights)

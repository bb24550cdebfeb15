"""A computational budget spread unevenly over a batch: easy examples stop early, hard ones use more members or exits.

The setting is budgeted batch classification (Huang et al., Multi-scale dense networks, ICLR 2018, section 3,
https://arxiv.org/abs/1703.09844): an example stops after the first step whose combined prediction is confident enough.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, final, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from motet.errors import InputError
from motet.prediction import Prediction

Unit = Literal["flops", "seconds"]


@final
@dataclass(frozen=True, kw_only=True)
class Budget:
    """The confidences at which examples stop, and the cost of each step. Made by `motet.analyses.fit_budget`.

    Attributes:
        thresholds: one for each step but the last. An example stops after a step if its confidence (the largest
            probability of the combined prediction) is at least the threshold.
        costs: the cost of each step for one example, in addition to the steps before it.
        unit: the unit of the costs: floating-point operations, or seconds.
        expected_cost: mean cost of an example on the data that the thresholds were fitted on.
    """

    thresholds: tuple[float, ...]
    costs: tuple[float, ...]
    unit: Unit
    expected_cost: float

    def __post_init__(self) -> None:
        if len(self.costs) != len(self.thresholds) + 1:
            raise InputError(
                "a budget must have a threshold for every step but the last",
                got=f"{len(self.costs)} costs and {len(self.thresholds)} thresholds",
                fix="Make budgets with motet.analyses.fit_budget",
            )
        if self.unit not in get_args(Unit):
            raise InputError(
                f"the unit must be one of {', '.join(get_args(Unit))}", got=repr(self.unit), fix="Pass unit='flops'"
            )

    def check_steps(self, steps: int) -> None:
        """Check that the budget fits an ensemble.

        Raises:
            InputError: unless the ensemble has as many steps as the budget.
        """
        if steps != len(self.costs):
            raise InputError(
                "a budget must be fitted to the ensemble that uses it",
                got=f"a budget of {len(self.costs)} steps for an ensemble of {steps}",
                fix="Fit it with motet.analyses.fit_budget(ensemble, x, ...)",
            )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Budgeted:
    """Predictions for which examples have used different numbers of members or exits.

    Attributes:
        prediction: the combined prediction of each example, as one member: ``(B, 1, C)``.
        steps_B: the number of members, or exits, that each example used.
        cost_B: the cost of each example, in `unit`: the sum of its steps' costs in the budget.
        unit: see `Budget`.
    """

    prediction: Prediction
    steps_B: Int[Tensor, "batch"]
    cost_B: Float[Tensor, "batch"]
    unit: Unit

    @property
    def cost(self) -> float:
        """The total cost of the batch."""
        return float(self.cost_B.sum())


def no_budget_for_positions(outputs: Tensor) -> InputError:
    """Return the error for spending a budget on outputs with positions."""
    return InputError(
        "a budget needs one prediction per example, because an example stops as a whole",
        got=f"outputs of shape {tuple(outputs.shape)}, which have positions",
        fix="Use anytime, and stop when the prediction of all positions is good enough",
    )


def combined(prediction: Prediction) -> Float[Tensor, "batch out"]:
    """Return the natural parameters of the combined prediction."""
    outputs_BMC = prediction.outputs_BMC
    if prediction.combination == "geometric":
        return prediction.likelihood.geometric(outputs_BMC)
    members = outputs_BMC.shape[1]
    equal_M = outputs_BMC.new_full((members,), 1 / members).log()
    return prediction.likelihood.average(outputs_BMC, equal_M)


def predict_within_budget(
    budget: Budget,
    steps: Generator[Tensor, Tensor | None, None],
    prediction_of: Callable[[Tensor, Tensor | None], Prediction],
    targets: Tensor | None,
) -> Budgeted:
    """Run `steps` with the rows that have not stopped.

    Args:
        budget: the thresholds and costs.
        steps: yields outputs and accepts row indices, see `motet.inference.anytime`.
        prediction_of: makes a prediction from outputs, and the true targets if they are known.
        targets: the true targets as the network is trained on them, or None.
    """
    outputs_BC: Tensor | None = None
    steps_B = left = torch.empty(0)
    try:
        for step, outputs in enumerate(steps, start=1):
            if outputs.ndim > 3:
                raise no_budget_for_positions(outputs)
            now = prediction_of(outputs, None)
            if outputs_BC is None:
                rows, device = len(outputs), outputs.device
                outputs_BC = outputs.new_empty(rows, outputs.shape[-1])
                steps_B = torch.zeros(rows, dtype=torch.long, device=device)
                left = torch.arange(rows, device=device)
            # Written for all remaining rows; those that continue are overwritten at the next step.
            outputs_BC[left] = combined(now)
            steps_B[left] = step
            if step == len(budget.costs):
                break
            kept = (now.confidence < budget.thresholds[step - 1]).nonzero().flatten()
            if len(kept) == 0:
                break
            if len(kept) < len(left):
                steps.send(kept)
                left = left[kept]
    finally:
        steps.close()
    assert outputs_BC is not None
    prediction = prediction_of(outputs_BC.unsqueeze(1), targets)
    total = torch.tensor([0.0, *accumulate(budget.costs)], dtype=torch.float64).to(steps_B.device)
    return Budgeted(prediction=prediction, steps_B=steps_B, cost_B=total[steps_B], unit=budget.unit)

"""Find the confidence at which examples stop, so that a budget is met."""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from statistics import median
from time import perf_counter
from typing import get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.inference.budget import Budget, Unit, no_budget_for_positions
from motet.likelihoods import Categorical
from motet.metrics.cost import counting

# Far above the effect of the number of rows on probabilities in torch's kernels, including half precision.
_SAME = 0.02
_ROUNDS = 5


def fit_budget(
    ensemble: Ensemble,
    x: Shaped[Tensor, "batch ..."],
    *,
    budget: float,
    unit: Unit = "flops",
    batch_size: int = 256,
) -> Budget:
    """Return thresholds with which `Ensemble.budgeted` costs at most `budget` per example, on average over `x`.

    All steps have the same threshold: the highest one whose expected cost is within the budget. An example runs until
    the combined prediction is confident enough. A larger budget therefore never removes a member or an exit from any
    example; thresholds fitted separately for each step (as in MSDNet) do not guarantee that. If confidences are tied,
    for example at 1 after rounding, part of the budget is unused.

    Args:
        ensemble: an ensemble with class probabilities. If it will be folded where it is used, fold it first, because
            costs are those of this ensemble.
        x: validation inputs ``(B, ...)``: examples that were not used for training, and that are like future inputs.
        budget: the cost per example, in `unit`. At least the first step's cost; above the cost of all steps, all are
            run.
        unit: ``"flops"``, floating-point operations as counted by `motet.metrics.flops`, or ``"seconds"``, measured on
            this machine with `batch_size` rows.
        batch_size: rows per forward pass.

    Raises:
        InputError: for another likelihood, a budget below the first step's cost, no inputs, another unit, and a model
            with exits that cannot drop finished rows, because layers after an exit use the original batch size.
    """
    if not isinstance(ensemble.likelihood, Categorical):
        raise InputError(
            "a budget needs class probabilities, because an example stops when its confidence is high enough",
            got=f"an ensemble under {type(ensemble.likelihood).__name__}",
            fix="Use predict(x, members=k), with k members for every example",
        )
    if unit not in get_args(Unit):
        raise InputError(
            f"the unit must be one of {', '.join(get_args(Unit))}", got=repr(unit), fix="Pass unit='flops'"
        )
    if len(x) == 0 or batch_size < 1:
        raise InputError(
            "fitting a budget needs at least one input, and a batch_size of at least 1",
            got=f"{len(x)} inputs and batch_size={batch_size}",
            fix="Pass validation inputs",
        )
    if ensemble.likelihood.output_axis is not None and (one := ensemble.predict(x[:1]).outputs_BMC).ndim > 3:
        raise no_budget_for_positions(one)
    _check_rows_can_leave(ensemble, x[:batch_size])
    costs = _flops(ensemble, x[:1]) if unit == "flops" else _seconds(ensemble, x[:batch_size])
    if not isinstance(budget, Real) or not costs[0] <= float(budget):
        raise InputError(
            f"a budget must cover the first step, {costs[0]:g} {unit} per example",
            got=f"budget={budget!r}",
            fix=f"Pass a budget from {costs[0]:g} to {sum(costs):g}, the cost of all {len(costs)} steps",
        )
    confidence_SB = confidences(ensemble, x, batch_size=batch_size)
    threshold, expected = best_threshold(confidence_SB, costs, budget)
    return Budget(thresholds=(threshold,) * (len(costs) - 1), costs=tuple(costs), unit=unit, expected_cost=expected)


def confidences(
    ensemble: Ensemble, x: Shaped[Tensor, "batch ..."], *, batch_size: int = 256
) -> Float[Tensor, "step batch"]:
    """Return the confidence of every example's combined prediction after each step.

    Args:
        ensemble: an ensemble with class probabilities.
        x: inputs ``(B, ...)``.
        batch_size: rows per forward pass.
    """
    parts = [
        torch.stack([prediction.confidence.double() for prediction in ensemble.anytime(some)])
        for some in x.split(batch_size)
    ]
    return torch.cat(parts, dim=1)


def best_threshold(
    confidence_SB: Float[Tensor, "step batch"], costs: Sequence[float], budget: float
) -> tuple[float, float]:
    """Return the threshold for all steps with the highest mean cost within `budget`, and that cost.

    An example takes step t + 1 if its largest confidence so far is below the threshold. The cost is a step function of
    the threshold that increases at the confidences, so only these and infinity need to be tried.

    Args:
        confidence_SB: the confidence of each example after each step.
        costs: the cost of each step.
        budget: the largest mean cost.
    """
    rows = confidence_SB.shape[1]
    so_far_SB = confidence_SB[:-1].cummax(dim=0).values if len(confidence_SB) > 1 else confidence_SB[:0]
    levels = torch.cat([so_far_SB.flatten().unique(), so_far_SB.new_tensor([math.inf])])
    expected = torch.full_like(levels, costs[0])
    for own_B, cost in zip(so_far_SB, costs[1:], strict=True):
        below = torch.searchsorted(own_B.sort().values, levels)  # the number strictly below
        expected += cost * below.double() / rows
    # Infinity is a separate case, because rounding may keep the sum of fractions from the sum of costs.
    affordable = expected <= budget
    affordable[-1] |= sum(costs) <= budget
    best = int(affordable.nonzero().max())
    # Halfway to the next lower confidence, so that rounding does not decide about the example with this confidence.
    below_it = levels[best - 1] if best > 0 else torch.zeros_like(levels[0])
    threshold = levels[best] if levels[best].isinf() else (levels[best] + below_it) / 2
    return float(threshold), float(expected[best])


@torch.no_grad()
def _flops(ensemble: Ensemble, x: Tensor) -> list[float]:
    """Return the operations of each step for one example."""

    def count(run: Callable[[], Tensor]) -> float:
        with counting(ensemble, x) as counter:
            run()
        return float(counter.get_total_flops()) / len(x)

    return ensemble.readout.step_costs(x, ensemble.members, count)


def _seconds(ensemble: Ensemble, x: Tensor) -> list[float]:
    """Return the median time of each step, per row of `x`."""
    times: list[list[float]] = []
    for _ in range(_ROUNDS + 1):
        steps, own = ensemble.in_steps(x), []
        while True:
            start = perf_counter()
            if next(steps, None) is None:
                break
            if x.is_cuda:
                torch.cuda.synchronize(x.device)
            own.append((perf_counter() - start) / len(x))
        times.append(own)
    return [median(step) for step in zip(*times[1:], strict=True)]  # the first round allocates memory


def _check_rows_can_leave(ensemble: Ensemble, x: Tensor) -> None:
    """Drop every other row at each exit, and check that the remaining outputs do not change."""
    if not ensemble.readout.has_depths or ensemble.steps == 1:
        return
    wanted = [outputs.softmax(dim=-1) for outputs in ensemble.in_steps(x)]
    rows = torch.arange(len(x), device=x.device)
    problem: object = "other predictions"
    try:
        steps = ensemble.in_steps(x)
        for outputs, whole in zip(steps, wanted, strict=True):
            if not torch.allclose(outputs.softmax(dim=-1), whole[rows], atol=_SAME, equal_nan=True):
                break
            if len(rows) > 1 and outputs.shape[0] == len(rows) and whole is not wanted[-1]:
                kept = torch.arange(0, len(rows), 2, device=x.device)
                rows = rows[kept]
                steps.send(kept)
        else:
            return
    except (RuntimeError, ValueError) as error:
        problem = error
    raise InputError(
        "the layers after an exit must work with only some of the rows of the batch",
        got=f"a model that needs all its input rows again ({problem})",
        fix="Put exits at points that all paths go through, and reshape with h.shape[0] of the current features",
    )

"""Find the confidence at which examples leave, so that a budget is met."""

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
from motet.inference.budget import Budget, Unit
from motet.likelihoods import Categorical
from motet.metrics.cost import counting

# What torch's kernels do to probabilities for another number of rows, half precision included, is far below.
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
    """Thresholds with which `Ensemble.budgeted` spends at most `budget` on an example, on average over `x`.

    All steps have the same threshold, the highest with which the expected cost is met: an example runs until the
    combined prediction is so confident. So a larger budget never takes a member or an exit from any example, which
    thresholds fitted for each step apart (as those of MSDNet) do not promise. Where confidences are tied, as where they
    are 1 after rounding, some of the budget is left.

    Args:
        ensemble: for classes. Fold it first if it will be folded where it is used: costs are those of this one.
        x: validation inputs ``(B, ...)``; examples that were not trained on, and like those to come.
        budget: per example, in `unit`. At least the first step's cost; above the cost of all steps, all are run.
        unit: ``"flops"``, floating-point operations as `motet.metrics.flops` counts them, or ``"seconds"``, measured
            here and now on `batch_size` rows.
        batch_size: rows at a time.

    Raises:
        InputError: for another likelihood, a budget below the first step's cost, no inputs, another unit, and for a
            model with exits whose rows cannot leave in the middle, because it goes back to its input's length.
    """
    if not isinstance(ensemble.likelihood, Categorical):
        raise InputError(
            "a budget is shared by confidence, which needs class probabilities",
            got=f"an ensemble under {type(ensemble.likelihood).__name__}",
            fix="Use predict(x, members=k), which gives all examples as many",
        )
    if unit not in get_args(Unit):
        raise InputError(
            f"the unit must be one of {', '.join(get_args(Unit))}", got=repr(unit), fix="Pass unit='flops'"
        )
    if len(x) == 0 or batch_size < 1:
        raise InputError(
            "a budget needs inputs to be fitted on, and at least one row at a time",
            got=f"{len(x)} inputs and batch_size={batch_size}",
            fix="Pass validation inputs",
        )
    _check_rows_can_leave(ensemble, x[:batch_size])
    costs = _flops(ensemble, x[:1]) if unit == "flops" else _seconds(ensemble, x[:batch_size])
    if not isinstance(budget, Real) or not costs[0] <= float(budget):
        raise InputError(
            f"a budget must cover the first step, {costs[0]:g} {unit} per example",
            got=f"budget={budget!r}",
            fix=f"Pass from {costs[0]:g} to {sum(costs):g}, which is all {len(costs)} steps",
        )
    confidence_SB = confidences(ensemble, x, batch_size=batch_size)
    threshold, expected = best_threshold(confidence_SB, costs, budget)
    return Budget(thresholds=(threshold,) * (len(costs) - 1), costs=tuple(costs), unit=unit, expected_cost=expected)


def confidences(
    ensemble: Ensemble, x: Shaped[Tensor, "batch ..."], *, batch_size: int = 256
) -> Float[Tensor, "step batch"]:
    """The confidence of every example's combined prediction after each step."""
    parts = [
        torch.stack([prediction.confidence.double() for prediction in ensemble.anytime(some)])
        for some in x.split(batch_size)
    ]
    return torch.cat(parts, dim=1)


def best_threshold(
    confidence_SB: Float[Tensor, "step batch"], costs: Sequence[float], budget: float
) -> tuple[float, float]:
    """A threshold for all steps whose mean cost is the highest within `budget`, and that cost.

    An example takes step t + 1 if its largest confidence so far is below the threshold. The cost is a step function of
    the threshold that rises at the confidences, so that only these, and infinity, need be looked at.
    """
    rows = confidence_SB.shape[1]
    so_far_SB = confidence_SB[:-1].cummax(dim=0).values if len(confidence_SB) > 1 else confidence_SB[:0]
    levels = torch.cat([so_far_SB.flatten().unique(), so_far_SB.new_tensor([math.inf])])
    expected = torch.full_like(levels, costs[0])
    for own_B, cost in zip(so_far_SB, costs[1:], strict=True):
        below = torch.searchsorted(own_B.sort().values, levels)  # how many are strictly below
        expected += cost * below.double() / rows
    # Infinity by itself: sums of shares may miss the sum of costs by a rounding error.
    affordable = expected <= budget
    affordable[-1] |= sum(costs) <= budget
    best = int(affordable.nonzero().max())
    # Halfway to the level below, so that rounding does not decide about the example that has this very confidence.
    below_it = levels[best - 1] if best > 0 else torch.zeros_like(levels[0])
    threshold = levels[best] if levels[best].isinf() else (levels[best] + below_it) / 2
    return float(threshold), float(expected[best])


@torch.no_grad()
def _flops(ensemble: Ensemble, x: Tensor) -> list[float]:
    """What each step takes for one example."""

    def count(run: Callable[[], Tensor]) -> float:
        with counting(ensemble, x) as counter:
            run()
        return float(counter.get_total_flops()) / len(x)

    return ensemble.readout.step_costs(x, ensemble.members, count)


def _seconds(ensemble: Ensemble, x: Tensor) -> list[float]:
    """The median time of each step for one of the rows of `x`."""
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
    """Drop every other row at each exit: what is left must come out as it does without."""
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
        "rows must be able to leave a model at its exits",
        got=f"a model that goes back to all of them ({problem})",
        fix="Put exits at points that everything goes through, and reshape by h.shape[0] of the features at hand",
    )

"""Which methods of a comparison fit its model and data."""

from motet.data import Dataset
from motet.errors import InputError, nearest
from motet.experiments.build import Builder, single_network_of
from motet.experiments.entry import Entry
from motet.experiments.experiment import Experiment
from motet.experiments.plan import Plan
from motet.experiments.records import Comparison, LeftOut


def fitting(plan: Plan, builder: Builder) -> tuple[list[Entry], list[LeftOut]]:
    """The rows that can be built; and those that refuse the model and were not asked for by name, with their reasons.

    The builder keeps what was built for the rows' first runs.

    Raises:
        InputError: if the model does not fit the data or has no layers of the names that the user gave, if a row that
            was asked for by name cannot be built, or if none can.
    """
    # What every row is measured against comes first: where it fails, the model is to blame.
    builder.try_out(alone(plan))
    _check_names(plan, builder.dataset)
    entries: list[Entry] = []
    left_out: list[LeftOut] = []
    for entry in plan.entries:
        try:
            builder.try_out(plan.experiment(entry, seed=plan.seeds[0]))
        except InputError as error:
            if entry.required:
                raise
            left_out.append(LeftOut(method=entry.key, label=entry.label, reason=str(error)))
        else:
            entries.append(entry)
    if not entries:
        raise InputError(
            "at least one method must fit the model and the data",
            got="; ".join(f"{refused.label}: {refused.reason}" for refused in left_out),
            fix="Change the model, or take another",
        )
    return entries, left_out


def check_left_out(plan: Plan, comparison: Comparison) -> None:
    """Raise `InputError` if a finished comparison left out what is asked for by name now."""
    reasons = {refused.method: refused.reason for refused in comparison.left_out}
    for entry in plan.entries:
        if entry.required and entry.key in reasons:
            raise InputError(
                "a method that is named must fit the model and the data",
                got=f"{entry.label}, which was left out: {reasons[entry.key]}",
                fix="Change the model, or name other methods",
            )


def alone(plan: Plan) -> Experiment:
    """The single network that every row is measured against."""
    return single_network_of(plan.experiment(plan.entries[0], seed=0), model=plan.model)


def _check_names(plan: Plan, dataset: Dataset) -> None:
    """A layer that is not there is the user's slip, and no reason to leave out whatever method looks for it."""
    named = [("first", name) for name in plan.first or ()] + [("last", name) for name in plan.last or ()]
    if not named:
        return
    spec = dataset.spec
    names = {name for name, _ in plan.model.build(input_shape=spec.input_shape, outputs=spec.outputs).named_modules()}
    for argument, name in named:
        if name not in names:
            raise InputError(
                f"{argument} must name a layer of the model",
                got=f"{argument}={name!r}",
                fix=nearest(name, sorted(names - {""})),
            )

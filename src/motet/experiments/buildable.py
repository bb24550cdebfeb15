"""Find the methods of a comparison that support its model and data."""

from collections.abc import Callable
from dataclasses import replace

from motet.data import Dataset, DataSpec
from motet.errors import InputError, nearest
from motet.experiments.build import Builder, single_network_of
from motet.experiments.entry import Entry
from motet.experiments.experiment import Experiment
from motet.experiments.likelihood import known_by_name, likelihood_for, likelihood_name
from motet.experiments.plan import Plan
from motet.experiments.records import Comparison, LeftOut


def buildable_entries(plan: Plan, builder: Builder) -> tuple[list[Entry], list[LeftOut]]:
    """Return the rows that can be built, and the methods that cannot be built and were not named, with the reasons.

    The builder keeps the ensembles of the rows' first runs.

    Raises:
        InputError: if the model does not fit the data or lacks layers that the user named, if a row that was named
            cannot be built, or if no row can be built.
    """
    # The baseline of every row comes first: if it fails, the model is the cause.
    builder.try_out(baseline_experiment(plan))
    _check_names(plan, builder.dataset)
    entries: list[Entry] = []
    left_out: list[LeftOut] = []
    for entry in plan.entries:
        try:
            builder.try_out(_experiment(plan, entry, builder.dataset.spec))
        except InputError as error:
            if entry.required:
                raise
            left_out.append(LeftOut(method=entry.key, label=entry.label, reason=str(error)))
        else:
            entries.append(entry)
    if not entries:
        raise InputError(
            "at least one method must support the model and the data",
            got="; ".join(f"{refused.label}: {refused.reason}" for refused in left_out),
            fix="Change the model, or use other methods",
        )
    return entries, left_out


def with_likelihood(plan: Plan, spec: DataSpec, *, say: Callable[[str], None]) -> Plan:
    """Return the plan with the likelihood that all named methods accept, if that is not the data's default.

    All rows of a comparison have one likelihood, because only then can their scores be compared. So if
    `motet.ModularNetwork` is named for the real targets of a table, all rows have unit variance.

    Args:
        plan: the plan.
        spec: the data's specification.
        say: is called with a line if the likelihood is not the default.
    """
    if plan.likelihood is not None:
        return plan
    named = [plan.experiment(entry, seed=plan.seeds[0]) for entry in plan.entries if entry.required]
    default = likelihood_for(None, spec)
    chosen = likelihood_for(None, spec, accepts=lambda each: all(experiment.accepts(each) for experiment in named))
    if chosen == default:
        return plan
    cause = next(experiment.method.label for experiment in named if not experiment.accepts(default))
    say(
        f"likelihood: {likelihood_name(chosen, spec)} for all methods instead of {likelihood_name(default, spec)}, "
        f"which {cause} cannot have"
    )
    return replace(plan, likelihood=known_by_name(chosen))


def _experiment(plan: Plan, entry: Entry, spec: DataSpec) -> Experiment:
    """Return the experiment of the row's first run, with the comparison's likelihood where its own default differs."""
    experiment = plan.experiment(entry, seed=plan.seeds[0])
    of_all = likelihood_for(plan.likelihood, spec)
    own = likelihood_for(experiment.likelihood, spec, accepts=experiment.accepts)
    return experiment if own == of_all else replace(experiment, likelihood=known_by_name(of_all))


def check_left_out(plan: Plan, comparison: Comparison) -> None:
    """Check that a finished comparison has all methods that are named now.

    Raises:
        InputError: if it left one of them out.
    """
    reasons = {refused.method: refused.reason for refused in comparison.left_out}
    for entry in plan.entries:
        if entry.required and entry.key in reasons:
            raise InputError(
                "a method that is named must support the model and the data",
                got=f"{entry.label}, which was left out: {reasons[entry.key]}",
                fix="Change the model, or name other methods",
            )


def baseline_experiment(plan: Plan) -> Experiment:
    """Return the experiment for the single network, the baseline of every row."""
    return single_network_of(plan.experiment(plan.entries[0], seed=0), model=plan.model)


def _check_names(plan: Plan, dataset: Dataset) -> None:
    """Check names of layers first: a layer that does not exist is the user's mistake, not a reason to leave out
    methods.
    """
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

"""Train several methods under the same protocol, and combine the results in one record."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import torch

import motet
from motet._internal.files import remove_leftovers
from motet._internal.folder_lock import clear_leftovers, only_process_in
from motet._internal.plain_records import to_record
from motet._internal.typed_records import write_record
from motet._internal.user_path import user_path
from motet.data import DATASETS, Dataset, describe, fingerprint, load
from motet.data.batches import steps_per_epoch
from motet.ensemble import Ensemble
from motet.errors import TrainingDivergedError
from motet.experiments.build import Builder
from motet.experiments.buildable import baseline_experiment, buildable_entries, check_left_out, with_likelihood
from motet.experiments.continued import check_finished_runs, other_versions
from motet.experiments.entry import Entry
from motet.experiments.folder import COMPARISON, RUN, abandon, claim_folder, free_folder
from motet.experiments.likelihood import likelihood_name
from motet.experiments.plan import Plan
from motet.experiments.provenance import provenance, source_of
from motet.experiments.records import Comparison, ComparisonRow, LeftOut, StartedComparison, read_comparison
from motet.experiments.run import SCORES, Run, load_ensemble, run_experiment, say_notes, with_notes
from motet.experiments.summary import summarise
from motet.experiments.threads import run_threads
from motet.methods import Single
from motet.metrics import Latency, latency_ratios
from motet.training import newest_checkpoint, resolve_device, resolve_precision, settings_for

LATENCY_BATCH = 32
RECORD = COMPARISON

Say = Callable[[str], None]


def default_folder(plan: Plan, data_dir: Path | None = None) -> Path:
    """Return the default folder, ``runs/compare-DATA``; with a number appended if another comparison is in it."""
    name = plan.data if plan.data in DATASETS else user_path(plan.data).resolve().stem
    base = Path("runs") / f"compare-{name}"
    return free_folder(
        base,
        plan.settings(),
        source=source_of(plan),
        data=lambda: fingerprint(plan.data, data_dir, options=plan.data_options),
        record_name=RECORD,
    )


def compare(
    plan: Plan,
    folder: str | Path,
    *,
    command: str,
    data_dir: Path | None = None,
    device: str = "auto",
    progress: bool = True,
    say: Say = lambda _: None,
) -> Comparison:
    """Run every experiment of the plan in its own folder below `folder`, and return the comparison's record.

    The record is also written to ``compare.json``. Called again, it continues where it was stopped: finished runs are
    kept, and a finished comparison is read from its record.

    Args:
        plan: what to compare.
        folder: the folder of the comparison; created if it does not exist.
        command: the command line, for the record.
        data_dir: the folder that is searched for data files first.
        device: see `motet.training.fit`.
        progress: whether to show progress bars if standard error is a terminal.
        say: called with one line about each step.

    Raises:
        InputError: for invalid settings, data, model or folder, before anything is trained or written.
        TrainingDivergedError: if the loss of a method becomes NaN or infinite.
        RunInterrupted: after Ctrl-C or SIGTERM.
    """
    folder = Path(folder)
    claim = partial(claim_folder, folder, plan.settings(), source=source_of(plan), record_name=RECORD)
    with ExitStack() as held:
        found = claim()
        if not isinstance(found, Comparison):
            held.enter_context(only_process_in(folder))
            remove_leftovers(folder)
            found = claim()  # another process may have begun or finished a comparison there since
        if isinstance(found, Comparison):
            claim(data=lambda: fingerprint(plan.data, data_dir, options=plan.data_options))
            check_left_out(plan, found)
            for each in (folder, *(folder / name for row in found.rows for name in row.runs)):
                clear_leftovers(each)
            say(f"{folder} is already finished; nothing to train")
            return found
        return _compare_in(
            folder, plan, claim, command=command, data_dir=data_dir, device=device, progress=progress, say=say
        )


def _compare_in(
    folder: Path,
    plan: Plan,
    claim: Callable[..., object],
    *,
    command: str,
    data_dir: Path | None,
    device: str,
    progress: bool,
    say: Say,
) -> Comparison:
    """Run the comparison in a folder that this process holds. Args: see `compare`."""
    settings, source = plan.settings(), source_of(plan)
    place = resolve_device(device)
    resolve_precision(plan.training, place)
    dataset = with_notes(plan.training, load(plan.data, data_dir, options=plan.data_options, say=say))
    say_notes(dataset, say)
    plan = with_likelihood(plan, dataset.spec, say=say)
    training, _ = settings_for(plan.training, dataset)
    claim(data=lambda: dataset.fingerprint)
    assert training.batch_size is not None
    steps_per_epoch(dataset.train, training.batch_size)
    check_finished_runs(folder, plan.experiments())
    builder = Builder(dataset)
    entries, left_out = buildable_entries(plan, builder)
    for refused in left_out:
        say(f"{refused.label} is left out: {refused.reason}")
    started = StartedComparison(settings=settings, source=source, data=describe(dataset))
    write_record(folder / RECORD, started)
    # Latency is measured with the number of threads of the widest model's runs; each run sets its own number again.
    widest = max(entries, key=lambda entry: entry.width)
    fitted = replace(plan, training=training)
    with run_threads(fitted.experiment(widest, seed=plan.seeds[0]), builder, place):
        run = partial(
            run_experiment, data_dir=data_dir, device=device, progress=progress, dataset=dataset, builder=builder
        )
        folded: dict[str, Ensemble] = {}
        runs = _train(plan, entries, folder, run, folded=folded, say=say)
        latencies = measure_latencies(plan, runs, folded, builder, place)
        if unsteady := [entry.label for entry in entries if latencies[entry.key].wide]:
            say(
                f"the quartiles of the latency are more than 10% apart, although it was measured again "
                f"({', '.join(unsteady)}): other programs used this machine, and the numbers are rough"
            )
        rows = [
            summarise(entry, runs[entry.key], latencies[entry.key], model=str(entry.model(plan.model)))
            for entry in entries
        ]
        record = _finished(started, fitted, dataset, place, command=command, rows=rows, left_out=left_out)
        records = {run.folder.name: run.record for of_row in runs.values() for run in of_row}
        record = replace(record, other_versions=other_versions(records, record))
    write_record(folder / RECORD, record)
    found = read_comparison(folder / RECORD)  # as it will be read later: null for NaN
    assert isinstance(found, Comparison)
    return found


def _train(
    plan: Plan,
    entries: Sequence[Entry],
    folder: Path,
    run: Callable[..., Run],
    *,
    folded: dict[str, Ensemble],
    say: Say,
) -> dict[str, list[Run]]:
    """Run everything and return all runs by the key of their row. If the first run fails before training, the folder is
    freed.

    Args:
        run: `run_experiment` with all arguments but the experiment, its folder and its label.
        folded: is filled with the folded ensemble of each row's first run that is trained now, by the row's key.
    """
    runs: dict[str, list[Run]] = {entry.key: [] for entry in entries}

    def keep_folded(ensemble: Ensemble, key: str) -> None:
        if key not in folded:
            folded[key] = ensemble.fold().cpu()

    for done, (entry, seed) in enumerate(product(entries, plan.seeds), start=1):
        what = f"[{done}/{len(entries) * len(plan.seeds)}] {entry.label}, seed {seed}"
        where = folder / entry.folder(seed)
        finished = (where / SCORES).exists()
        if not finished and newest_checkpoint(where) is not None:
            say(f"{what}: continuing from its checkpoint")
        try:
            made = run(
                plan.experiment(entry, seed=seed), where, label=what, trained=partial(keep_folded, key=entry.key)
            )
        except Exception as error:
            if not any((folder / other / RUN).exists() for other in plan.experiments()):
                abandon(folder, RECORD)
            if isinstance(error, TrainingDivergedError):
                raise TrainingDivergedError(f"{what}: {error}") from error
            raise
        runs[entry.key].append(made)
        seconds = made.scores.cost.train_seconds
        took = f"{seconds:.1f} s" if seconds >= 0.1 else "less than 0.1 s"
        say(f"{what}: {'kept; it was trained' if finished else 'trained'} in {took}")
    return runs


def _finished(
    started: StartedComparison,
    plan: Plan,
    dataset: Dataset,
    place: torch.device,
    *,
    command: str,
    rows: Sequence[ComparisonRow],
    left_out: Sequence[LeftOut],
) -> Comparison:
    made = provenance(place)
    return Comparison(
        settings=started.settings,
        source=started.source,
        motet=motet.__version__,
        command=command,
        created=made.created,
        commit=made.commit,
        versions=made.versions,
        hardware=made.hardware,
        data=started.data,
        model=str(plan.model),
        likelihood=likelihood_name(plan.likelihood, dataset.spec),
        training=to_record(plan.training),
        seeds=plan.seeds,
        members=max(row.members for row in rows),
        latency_batch=LATENCY_BATCH,
        rows=tuple(rows),
        left_out=tuple(left_out),
    )


def measure_latencies(
    plan: Plan,
    runs: Mapping[str, Sequence[Run]],
    folded: Mapping[str, Ensemble],
    builder: Builder,
    device: torch.device,
) -> dict[str, Latency]:
    """Return the forward time of every row's folded network relative to the single network's, measured in turn, batch
    32.

    Args:
        plan: what is compared.
        runs: each row's runs, by its key.
        folded: folded ensembles of rows that were trained in this call, by key; the others are loaded.
        builder: builds the single network if it is not one of the rows.
        device: the device to measure on.
    """
    baseline, dataset = Single().name, builder.dataset
    networks = {
        key: (folded[key] if key in folded else load_ensemble(of_row[0], dataset).fold()).to(device)
        for key, of_row in runs.items()
    }
    if baseline not in networks:
        networks[baseline] = builder.take(baseline_experiment(plan)).fold().to(device)
    inputs = dataset.test.inputs
    example = dataset.prepare(inputs[torch.arange(LATENCY_BATCH) % len(inputs)].to(device))
    return latency_ratios(networks, example, baseline=baseline, seconds=0.75 * len(networks))

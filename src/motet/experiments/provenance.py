"""The machine, versions and source files with which a run was made."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

import motet
from motet._internal.loading import load_function
from motet._internal.own_code import Source, name_in_record, own_classes, read_sources
from motet._internal.plain_records import to_record
from motet.data import Dataset, describe
from motet.distributed import Grid
from motet.experiments.experiment import Experiment
from motet.experiments.likelihood import likelihood_name
from motet.experiments.records import Hardware, Provenance, Ranks, RunRecord, Settings
from motet.models import CustomModel
from motet.training import Training, resolve_precision


def provenance(device: torch.device) -> Provenance:
    """Return versions, hardware, commit and date, for records."""
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit(),
        versions={
            "motet": motet.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "lightning-fabric", "numpy", "scikit-learn")},
        },
        hardware=Hardware(
            device=str(device),
            processor=_accelerator(device) or _processor(),
            cores=os.cpu_count(),
            threads=torch.get_num_threads(),
            system=f"{platform.system()} {platform.machine()}",
            torch=str(torch.__version__),
        ),
    )


def describe_run(
    experiment: Experiment,
    dataset: Dataset,
    *,
    training: Training,
    place: torch.device,
    grid: Grid,
    settings: Settings,
    source: tuple[Source, ...],
) -> RunRecord:
    """Return the record of a run that will be trained.

    Args:
        experiment: the run's experiment.
        dataset: its data.
        training: its training settings, complete.
        place: the device.
        grid: the processes.
        settings: the experiment's record.
        source: the user's own files that it depends on.
    """
    made = provenance(place)
    return RunRecord(
        settings=settings,
        created=made.created,
        commit=made.commit,
        versions=made.versions,
        hardware=made.hardware,
        precision=resolve_precision(experiment.training, place),
        ranks=Ranks(members=grid.member_ranks, data=grid.data_ranks) if grid.size > 1 else None,
        data=describe(dataset),
        likelihood=likelihood_name(experiment.likelihood, dataset.spec, accepts=experiment.accepts),
        source=source,
        training=to_record(training) if training != experiment.training else None,
    )


def commit() -> str | None:
    """Return the commit of the checkout with this code, with ``+changes`` if it was changed; None outside a
    checkout.
    """
    here = Path(__file__).resolve().parent
    try:
        # An environment may be inside another project's checkout, so only a checkout that tracks this file counts.
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _git(here, "status", "--porcelain", "--", ":/src") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def source_of(settings: object) -> tuple[Source, ...]:
    """Return the user's own files that settings depend on, with their text and hashes; nothing if all are from
    packages.

    Args:
        settings: an experiment, or another object that contains settings. The files are those of the user's model,
            which comes first, and of all the user's classes.

    Raises:
        InputError: if a model's file or function does not exist.
    """
    model = getattr(settings, "model", settings)
    references = [name_in_record(kind) for kind in own_classes(settings)]
    if isinstance(model, CustomModel):
        load_function(model.function)  # for its errors, and to import the module
        references.insert(0, model.function)
    return read_sources(references)


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _accelerator(device: torch.device) -> str | None:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

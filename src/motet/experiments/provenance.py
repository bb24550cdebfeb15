"""Where and with what a run was made."""

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
from motet.data import Dataset, describe
from motet.distributed import Grid
from motet.experiments.experiment import Experiment
from motet.experiments.likelihood import likelihood_name
from motet.experiments.records import Hardware, Provenance, Ranks, RunRecord, Settings
from motet.models import CustomModel
from motet.training import resolve_precision


def provenance(device: torch.device) -> Provenance:
    """Versions, hardware, commit and date, for records."""
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
    place: torch.device,
    grid: Grid,
    settings: Settings,
    source: tuple[Source, ...],
) -> RunRecord:
    """The record of a run that is about to be trained on the device `place`."""
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
        likelihood=likelihood_name(experiment.likelihood, dataset.spec),
        source=source,
    )


def commit() -> str | None:
    """The commit of the checkout that this code runs from, with ``+changes`` where it was changed; None elsewhere."""
    here = Path(__file__).resolve().parent
    try:
        # An environment may lie inside somebody else's checkout: only one that tracks this file is meant.
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _git(here, "status", "--porcelain", "--", ":/src") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def source_of(settings: object) -> tuple[Source, ...]:
    """The user's own files behind some settings, with their text and their hashes; nothing where all is from packages.

    Args:
        settings: an experiment, or anything with settings in it: files of a model of the user's own, and of all classes
            of the user's own. The model's file comes first.

    Raises:
        InputError: if a model's file or function does not exist.
    """
    model = getattr(settings, "model", settings)
    references = [name_in_record(kind) for kind in own_classes(settings)]
    if isinstance(model, CustomModel):
        load_function(model.function)  # for its errors, and to have the module
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

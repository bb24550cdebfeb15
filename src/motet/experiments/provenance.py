"""Where and with what a run was made."""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

import motet
from motet._internal.loading import load_function
from motet.data import Dataset
from motet.distributed import Grid
from motet.experiments.experiment import Experiment
from motet.experiments.likelihood import likelihood_name
from motet.experiments.records import DataDescription, Hardware, Provenance, Ranks, RunRecord, Settings, Source
from motet.models import CustomModel, ModelSettings
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


def describe(dataset: Dataset) -> DataDescription:
    """A dataset's name, task, classes, sizes and fingerprint, for records and reports."""
    spec = dataset.spec
    return DataDescription(
        name=spec.name,
        task=spec.task,
        classes=spec.outputs,
        class_names=tuple(spec.class_names),
        input_shape=tuple(spec.input_shape),
        train=len(dataset.train),
        validation=len(dataset.validation),
        test=len(dataset.test),
        split=spec.split,
        notes=tuple(dataset.notes),
        fingerprint=dataset.fingerprint,
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


def source_of(model: ModelSettings) -> tuple[Source, ...]:
    """The file that the user's own model stands in, with its text and its hash; nothing for models from packages.

    Raises:
        InputError: if there is no such file or function.
    """
    if not isinstance(model, CustomModel):
        return ()
    load_function(model.function)  # for its errors, and to have the module
    place = model.function.rpartition(":")[0]
    file = Path(place).expanduser() if place.endswith(".py") else Path(sys.modules[place].__file__ or "")
    if "site-packages" in file.parts or not file.is_file():
        return ()
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return (Source(file=file.name, sha256=digest, text=content.decode("utf-8", errors="replace")),)


def changed_source(held: Sequence[Source], now: Sequence[Source]) -> Source | None:
    """The first file that is not among those that a run was made with; None if all are, or the run names no file."""
    hashes = {source.sha256 for source in held}
    return next((source for source in now if held and source.sha256 not in hashes), None)


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

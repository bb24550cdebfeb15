"""Where and with what a run was made."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import motet
from motet._internal.loading import load_function
from motet._internal.own_code import Source, name_in_record, own_classes, read_sources
from motet.models import CustomModel


def provenance(device: torch.device) -> dict[str, Any]:
    """Versions, hardware, commit and date, for a run's record."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": {
            "motet": motet.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "lightning-fabric", "numpy", "scikit-learn")},
        },
        "hardware": {
            "device": str(device),
            "processor": _accelerator(device) or _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "system": f"{platform.system()} {platform.machine()}",
            "torch": str(torch.__version__),
        },
    }


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


def source_of(settings: object) -> Source:
    """The text of the user's own files behind some settings, and their hashes; None where all is from packages.

    Args:
        settings: an experiment, or anything with settings in it: files of a model of the user's own, and of all classes
            of the user's own.

    Returns:
        One file, or a list of several, the model's first.

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

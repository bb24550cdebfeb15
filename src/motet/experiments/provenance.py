"""Where and with what a run was made."""

import hashlib
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import motet
from motet._internal.loading import load_function
from motet.models import CustomModel, ModelSettings


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


def source_of(model: ModelSettings) -> dict[str, str] | None:
    """The text of the file that the user's own model stands in, and its hash; None for models from packages.

    Raises:
        InputError: if there is no such file or function.
    """
    if not isinstance(model, CustomModel):
        return None
    load_function(model.function)  # for its errors, and to have the module
    place = model.function.rpartition(":")[0]
    file = Path(place).expanduser() if place.endswith(".py") else Path(sys.modules[place].__file__ or "")
    if "site-packages" in file.parts or not file.is_file():
        return None
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"file": file.name, "sha256": digest, "text": content.decode("utf-8", errors="replace")}


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

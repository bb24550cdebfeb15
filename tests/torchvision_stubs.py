"""Make ``import torchvision``, and timm, which needs it, work beside a build of torch that its operators do not fit.

torchvision's wheel for CUDA installs beside torch's for the CPU (``pip install`` on a machine with a CPU build of
torch does that), but its compiled operators do not load there, and its import then fails where it describes two of
them. No model needs them: they sort out the boxes of object detectors.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

_kept: list[torch.library.Library] = []  # what a library has declared goes away with it


def declare_missing_operators() -> None:
    """Declare the operators that torchvision's import describes, unless its own load; to be called before the import.

    Takes a few milliseconds, and imports nothing.
    """
    spec = find_spec("torchvision")
    if _kept or spec is None or spec.origin is None:
        return
    try:
        torch.ops.load_library(str(next(Path(spec.origin).parent.glob("_C.*"))))
    except (OSError, StopIteration):
        _kept.append(torch.library.Library("torchvision", "FRAGMENT"))
        for name in ("nms", "qnms"):
            _kept[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

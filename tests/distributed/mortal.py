"""``motet`` as ``torchrun -m motet`` runs it, but its last rank is killed in a step of the first attempt. A script."""

import os
import signal
import sys
from typing import Any

from torch import nn

from motet.cli.main import main

STEP = 20
seen = 0


def count(module: nn.Module, _: Any) -> None:
    global seen  # noqa: PLW0603
    if type(module).__name__ == "Stack" and module.training:
        seen += 1
        if seen == STEP:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        nn.modules.module.register_module_forward_pre_hook(count)
    sys.exit(main())

"""One thread per test process, seeded tests, shapes checked at run time, and fixtures that several folders use."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test needs the network, or finds what was downloaded before.
os.environ["MOTET_OFFLINE"] = "1"
os.environ["XDG_CACHE_HOME"] = os.path.join(os.sep, "nonexistent", "motet-tests")  # noqa: PTH118

from jaxtyping import install_import_hook

# Before motet is first imported: every annotated tensor shape in motet is then checked while the tests run.
install_import_hook("motet", "beartype.beartype")

import signal

import jaxtyping
import pytest
import torch

# A suite that a shell runs in the background inherits an ignored Ctrl-C, and so would what the tests start and stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
from small_data import make_blobs
from torchvision_stubs import declare_missing_operators

from motet import Dataset

declare_missing_operators()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn off jaxtyping, which runs before the library's own checks in the tests only."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def blobs() -> Dataset:
    """Three overlapping clouds of points: 70 training rows, so that batches of 16 leave an incomplete batch."""
    return make_blobs()

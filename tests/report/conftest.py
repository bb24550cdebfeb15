"""A comparison's record, and a browser to look at its page."""

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def _score(mean: float | None, error: float | None = 0.003) -> dict[str, float | None]:
    return {"mean": mean, "standard_error": error if mean is not None else None}


def _row(method: str, label: str, nll: float | None, *, latency: float = 1.0, members: int = 3) -> dict[str, Any]:
    several = members > 1
    bins = [
        {"low": at / 15, "high": (at + 1) / 15, "count": 0, "confidence": None, "accuracy": None} for at in range(15)
    ]
    bins[9] = {**bins[9], "count": 20, "confidence": 0.63, "accuracy": 0.55}
    bins[14] = {**bins[14], "count": 340, "confidence": 0.99, "accuracy": 0.985}
    return {
        "method": method,
        "label": label,
        "members": members,
        "settings": f"{label}(members={members})",
        "summary": f"what {label} shares",
        "scores": {
            "accuracy": _score(0.97),
            "nll": _score(nll),
            "ece": _score(0.018),
            "brier": _score(0.05),
            "disagreement": _score(0.02 if several else None),
            "member_accuracy": _score(0.96),
            "member_nll": _score(0.12),
            "pairwise_kl": _score(0.03 if several else None),
            "disagreement_over_error": _score(0.7 if several else None),
        },
        "cost": {
            "parameters": 38_000 * members,
            "flops": 2_100_000,
            "latency_ratio": latency,
            "latency_seconds": 0.0012 * latency,
            "train_seconds": {"mean": 3.1, "standard_error": 0.1},
        },
        "reliability": bins,
        "disagreement_matrix": [[0 if i == j else 0.02 for i in range(members)] for j in range(members)]
        if several
        else None,
        "histories": [
            [{"epoch": at, "train_loss": 1 / at, "validation_nll": math.exp(-at / 4)} for at in range(1, 11)]
            for _ in range(2)
        ],
        "runs": [f"{method}-seed0", f"{method}-seed1"],
    }


@pytest.fixture
def make_row() -> Callable[..., dict[str, Any]]:
    """``make_row(method, label, nll, latency=1.0, members=3)``: one row of a record."""
    return _row


@pytest.fixture
def record() -> dict[str, Any]:
    return {
        "motet": "0.1.0",
        "command": "motet compare digits --seeds 2",
        "created": "2026-11-21T07:00:00+00:00",
        "commit": "abc1234",
        "hardware": {"device": "cpu", "processor": "A processor", "threads": 2, "torch": "2.13.0"},
        "data": {
            "name": "digits",
            "task": "classification",
            "classes": 10,
            "class_names": [str(digit) for digit in range(10)],
            "train": 1077,
            "validation": 360,
            "test": 360,
        },
        "model": "small_cnn(width=2)",
        "training": {"epochs": 10, "batch_size": 64, "learning_rate": 0.1, "augment": None},
        "seeds": [0, 1],
        "members": 3,
        "rows": [
            _row("single", "Single", 0.092, members=1),
            _row("deep_ensemble", "Deep ensemble", 0.069, latency=2.93),
            _row("multihead", "Multihead", None, latency=1.04),
            _row("mimo", "MIMO", 0.075, latency=1.07),
        ],
    }


@pytest.fixture
def regression(record: dict[str, Any]) -> dict[str, Any]:
    """The same comparison, of a regression."""
    record["data"] = {"name": "toy", "task": "regression", "train": 100, "validation": 20, "test": 20}
    for row in record["rows"]:
        row["scores"] = {
            "rmse": _score(0.5),
            "nll": row["scores"]["nll"],
            "member_rmse": _score(0.6),
            "member_nll": _score(1.0),
        }
        row["reliability"] = row["disagreement_matrix"] = None
    return record


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[Any]:
    """A headless Chromium with an empty profile; skips where it or chromedriver is not installed."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(executable_path=programs["chromedriver"]))
    try:
        yield driver
    finally:
        driver.quit()

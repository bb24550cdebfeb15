"""Try every method on models of timm, torchvision, transformers and users; results/zoo/zoo.json keeps what came out.

    python tools/generate_zoo.py            takes half an hour; then: python tools/generate_docs.py
    python tools/generate_zoo.py --only own:                only these models
    python tools/generate_zoo.py --again --only timm:vit    these once more

The record is written after each model. Models are left out that it has from the same source of motet, so that an
interrupted run goes on where it was. The same code as in tests/zoo, which holds a part of it against the record at
every run of the tests.
"""

import argparse
import os
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "zoo")]
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
from torchvision_stubs import declare_missing_operators  # noqa: E402

declare_missing_operators()

from zoo_models import CASES, CLASSES, kept_outcome  # noqa: E402

from motet._internal.files import read_json, write_json  # noqa: E402
from motet._internal.typed_records import to_plain  # noqa: E402
from motet.experiments.provenance import provenance  # noqa: E402
from motet.methods import METHODS  # noqa: E402

RECORD = ROOT / "results" / "zoo" / "zoo.json"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--again", action="store_true", help="also models that the record has already")
    arguments.add_argument("--only", default="", help="models whose name, as in the record, begins like this")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    source = commit_of_source()
    known: dict[str, Any] = read_json(RECORD).get("models", {}) if RECORD.exists() else {}
    models = {str(case): known[str(case)] for case in CASES if str(case) in known}
    for case in sorted(CASES, key=lambda case: (case.library in ("timm", "torchvision"), case.large)):
        current = str(case) in models and models[str(case)]["source"] == source
        if not str(case).startswith(options.only) or (current and not options.again):
            continue
        begin, model = time.perf_counter(), case.make()
        outcomes = {name: kept_outcome(name, model, case) for name in METHODS}
        models[str(case)] = {
            "parameters": sum(value.numel() for value in model.parameters()),
            "source": source,
            "outcomes": outcomes,
        }
        write_record({str(each): models[str(each)] for each in CASES if str(each) in models})
        refused = [name for name, reason in outcomes.items() if reason is not None]
        taken = time.perf_counter() - begin
        print(f"{case}: {taken:.1f} s; refused by {', '.join(refused) or 'no method'}", flush=True)
    return 0


def commit_of_source() -> str:
    """The last commit that changed motet's source."""
    command = ["git", "log", "-1", "--format=%H", "--", "src"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()[:12]


def write_record(models: dict[str, Any]) -> None:
    about = to_plain(provenance(torch.device("cpu")))
    about["versions"] |= {library: version(library) for library in ("timm", "torchvision", "transformers")}
    write_json(RECORD, {**about, "classes": CLASSES, "members": 2, "models": models})


if __name__ == "__main__":
    sys.exit(main())

"""Try every method on models of timm and torchvision, and keep what came out in results/zoo/zoo.json.

    python tools/generate_zoo.py            takes some minutes; then: python tools/generate_docs.py

The same code as in tests/zoo, which holds a part of it against the record at every run of the tests.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "zoo")]

import torch  # noqa: E402
from torchvision_stubs import declare_missing_operators  # noqa: E402

declare_missing_operators()

from zoo_models import CASES, CLASSES, outcome  # noqa: E402

from motet._internal.files import write_json  # noqa: E402
from motet._internal.typed_records import to_plain  # noqa: E402
from motet.experiments.provenance import provenance  # noqa: E402
from motet.methods import METHODS  # noqa: E402


def main() -> int:
    outcomes: dict[str, dict[str, str | None]] = {}
    millions: dict[str, float] = {}
    for case in CASES:
        begin, model = time.perf_counter(), case.make()
        outcomes[str(case)] = {name: outcome(name, model, case) for name in METHODS}
        millions[str(case)] = round(sum(value.numel() for value in model.parameters()) / 1e6, 2)
        refused = [name for name, reason in outcomes[str(case)].items() if reason is not None]
        print(
            f"{case}: {time.perf_counter() - begin:.1f} s; refused by {', '.join(refused) or 'no method'}", flush=True
        )
    about = to_plain(provenance(torch.device("cpu")))
    about["versions"] |= {library: version(library) for library in ("timm", "torchvision")}
    record = {
        **about,
        "classes": CLASSES,
        "members": 2,
        "pixels": {str(case): case.size for case in CASES},
        "parameters_millions": millions,
        "outcomes": outcomes,
    }
    write_json(ROOT / "results" / "zoo" / "zoo.json", record)
    return 0


if __name__ == "__main__":
    sys.exit(main())

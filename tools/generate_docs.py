"""Write the generated parts of README.md, docs/ and benchmarks/README.md from committed records.

    python tools/generate_docs.py            write them
    python tools/generate_docs.py --check    exit with 1 if a part differs from its record

A generated part is between ``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

import importlib
import inspect
import io
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for tests, which import this file from another folder

from exits_table import exits_table
from fidelity_table import fidelity_table, frost_table
from joint_training_table import dropped_table, joint_training_protocol, joint_training_table, traffic
from layers_table import layers_table
from library_tables import checkpoint_table, features_table, pause_table, stack_table
from zoo_table import zoo_table

from motet._internal.files import read_json, write_text
from motet.cli._show import comparison_text
from motet.experiments.records import as_comparison
from motet.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "results" / "demo" / "compare.json"
ALL = ROOT / "results" / "digits-all" / "compare.json"
PAGES = (
    *("README.md", "docs/zoo.md", "docs/joint-training.md", "docs/distributed.md", "docs/adding-a-method.md"),
    *("docs/methods.md", "docs/robustness.md", "docs/layers.md", "benchmarks/README.md"),
)
BENCHMARKS = ROOT / "benchmarks" / "results"


def main() -> int:
    outdated = 0
    for name in PAGES:
        page = ROOT / name
        before = page.read_text(encoding="utf-8")
        after = generate(before)
        if "--check" in sys.argv:
            print(f"{name} is up to date" if before == after else f"{name} is out of date: run make generate")
            outdated += before != after
        else:
            write_text(page, after)
    return int(outdated > 0)


def generate(text: str) -> str:
    """Return the page with every generated part replaced."""
    parts = {
        "demo-table": lambda: table_of(DEMO),
        "demo-protocol": lambda: protocol_of(DEMO),
        "all-table": lambda: table_of(ALL),
        "all-protocol": lambda: protocol_of(ALL),
        "benchmarks": benchmarks,
        "methods": methods,
        "method-kit": method_kit,
        "zoo": zoo_table,
        "layers": layers_table,
        "joint-training-table": joint_training_table,
        "joint-training-protocol": joint_training_protocol,
        "dropped-table": dropped_table,
        "traffic": traffic,
        "stack-table": lambda: stack_table("stacked_against_vmap"),
        "stack-cuda-table": lambda: stack_table("stacked_on_cuda"),
        "checkpoint-table": checkpoint_table,
        "features-table": features_table,
        "exits-table": exits_table,
        "pause-table": pause_table,
        "fidelity-table": fidelity_table,
        "frost-table": frost_table,
    }

    def replace(match: re.Match[str]) -> str:
        return f"<!-- generated: {match[1]} -->\n{parts[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- generated: ([\w-]+) -->\n.*?<!-- end -->", replace, text, flags=re.DOTALL)


def methods() -> str:
    """Return a table with a row for each method."""
    lines = ["| method | weights and inputs of the members | paper |", "|---|---|---|"]
    for kind in METHODS.values():
        doc = (inspect.getdoc(sys.modules[kind.__module__]) or "").partition("\n")[0]
        lines.append(f"| `{kind.__name__}` | {kind.summary} | {doc.rstrip('.')} |")
    return "\n".join(lines)


KIT: dict[str, tuple[str, ...]] = {
    "motet.method": ("ConversionContext", "instance_of", "check_members"),
    "motet.surgery": (
        *("probe", "input_layers", "output_layers", "ordinary_layers", "replace_module"),
        *("cut_points", "check_points", "find_tiling", "member_stack", "head_stack", "split_kernel", "fresh_copy"),
    ),
    "motet.layers": ("MultiInput", "MultiHead", "Tile", "WrappedLayer", "Branches", "SeparateNetworks", "Layout"),
    "motet.methods.member_layers": ("member_heads", "with_member_inputs_and_heads", "replace_inputs_and_heads"),
    "motet.methods.exits": ("plan_exits",),
    "motet.methods.deep_ensemble": ("member_networks",),
    "motet.testing": ("check_method",),
}
"""The functions and classes that methods are built from, by module."""


def method_kit() -> str:
    """Return a list with the arguments and the first paragraph of the docstring of each entry of `KIT`."""
    lines = []
    for module, names in KIT.items():
        lines += [f"`{module}`", ""]
        for name in names:
            part = getattr(importlib.import_module(module), name)
            doc = " ".join((inspect.getdoc(part) or "").partition("\n\n")[0].split())
            lines.append(f"- `{name}({_arguments(part)})`: {doc}")
        lines.append("")
    return "\n".join(lines).rstrip()


def _arguments(part: Any) -> str:
    """Return the arguments without types, keyword-only ones after a star."""
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in inspect.signature(part).parameters.values()]
    shown = []
    for each in bare:
        if each.kind is each.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        plain = isinstance(each.default, str | int | float | bool | None)
        has_default = each.default is not each.empty
        shown.append(each.name + ("" if not has_default else f"={each.default!r}" if plain else "=..."))
    return ", ".join(shown)


def table_of(path: Path) -> str:
    """Return the table of a comparison."""
    return f"```\n{comparison_text(as_comparison(path)).rstrip()}\n```"


def protocol_of(path: Path) -> str:
    """Return the settings of a comparison."""
    record = as_comparison(path)
    data, hardware = record.data, record.hardware
    assert data is not None
    return (
        f"`{record.command}` on {record.created[:10]}, commit {record.commit}, {hardware.processor}, "
        f"CPU threads used: {hardware.threads}: `{record.model}`, {record.training['epochs']} epochs, "
        f"{data.train} training, {data.validation} validation and {data.test} test images. "
        f"Means over {len(record.seeds)} seeds ± standard errors; for the latency, the quartiles over rounds "
        f"of timings are in brackets. The record is `{path.relative_to(ROOT)}`."
    )


def benchmarks() -> str:
    """Return a table of measured ratios and their bounds."""
    out = io.StringIO()
    out.write("| measured | result | must be at most |\n|---|---|---|\n")
    for title, name, key, unit in (
        ("forward pass of folded MIMO (M=3) / single network", "fold_latency", "latency.mimo_folded.ratio", "x"),
        ("forward pass of a deep ensemble (M=3) / single network", "fold_latency", "latency.deep_ensemble.ratio", "x"),
        (
            "forward pass of folded BatchEnsemble (M=4) / four passes of the single network, ResNet-18",
            "batch_ensemble",
            "latency.folded.ratio",
            "x",
        ),
        (
            "forward pass of folded MixtureEnsembles (M=4) / four passes of the single network, WRN-16-4",
            "mixture_ensembles",
            "latency.mixture_folded.ratio",
            "x",
        ),
        (
            "(forward pass of folded MIMMO (M=2) / single network) / (their operations in the paper: 172.82 / 109.85)",
            "mimmo_cost",
            "latency_over_papers_ratio.mimmo_folded",
            "x",
        ),
        (
            "training step of 256 MLPs 784-4-10, stacked / of one MLP 784-1024-10",
            "deep_ensemble",
            "mlp_256_of_4.stacked.ratio",
            "x",
        ),
        (
            "training step of 256 MLPs 784-4-10, stacked / in a loop",
            "deep_ensemble",
            "mlp_256_of_4.stacked_over_loop",
            "x",
        ),
        (
            "training step of 16 MLPs 784-64-10, stacked / of one MLP 784-1024-10",
            "deep_ensemble",
            "mlp_16_of_64.stacked.ratio",
            "x",
        ),
        (
            "forward pass of a deep ensemble of 4 WRN-16-1, batch 16 / a loop over 4 networks: 8x8 images",
            "deep_ensemble",
            "wrn_16_1_digits.forward.ensemble.ratio",
            "x",
        ),
        ("the same: 32x32 images", "deep_ensemble", "wrn_16_1_cifar.forward.ensemble.ratio", "x"),
        (
            "training step with the modular loss / with independent losses: 256 MLPs 784-4-10",
            "modular_loss",
            "mlp_256x4.modular.ratio",
            "x",
        ),
        ("the same: 16 MLPs 784-64-10", "modular_loss", "mlp_16x64.modular.ratio", "x"),
        (
            "training step of 256 MLPs on two processes / on one process",
            "joint_distributed",
            "time_over_one_process",
            "x",
        ),
        (
            "first anytime prediction of a deep ensemble / prediction of one member: WRN-16-4",
            "anytime",
            "wrn_16_4.stacked.ratio",
            "x",
        ),
        ("the same: an MLP (0.25 ms)", "anytime", "mlp.stacked.ratio", "x"),
        ("CIFAR batch with augmentation / training step of WRN-16-4", "data", "beside_a_step.batch.ratio", "x"),
        ("step of `fit` / step of the shortest loop in plain torch: MLP", "fit_overhead", "mlp.fit.ratio", "x"),
        ("the same: small CNN", "fit_overhead", "small_cnn.fit.ratio", "x"),
        ("the same: WRN-10-1", "fit_overhead", "wrn_10_1.fit.ratio", "x"),
        (
            "training step of a small CNN with all CPU threads / with one thread: idle machine",
            "threads",
            "idle.all_threads.ratio",
            "x",
        ),
        ("the same: busy machine (so small runs use one thread)", "threads", "busy.all_threads.ratio", "x"),
        ("`motet --help`", "startup", "seconds.motet_help", " s"),
        ("`import motet`, in addition to `import torch`", "startup", "import_motet_more_than_torch", " s"),
    ):
        record = read_json(BENCHMARKS / f"{name}.json")
        bound = record["bounds"].get(key, {}).get("at_most")
        out.write(
            f"| {title} | {_at(record['result'], key):.2f}{unit} | {'' if bound is None else f'{bound:.4g}{unit}'} |\n"
        )
    about = read_json(BENCHMARKS / "fold_latency.json")
    out.write(
        f"\nMeasured on {about['hardware']['processor']}, {about['hardware']['cores']} cores, {about['created'][:10]}; "
        "x: the time before the slash divided by the time after it, a median over rounds; both are measured in turn in "
        "one process. Scripts and records: "
        "[`benchmarks/`](benchmarks/README.md)."
    )
    return out.getvalue()


def _at(value: Any, key: str) -> float:
    for part in key.split("."):
        value = value[part]
    return float(value)


if __name__ == "__main__":
    sys.exit(main())

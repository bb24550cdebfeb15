"""Choose the methods' own settings for `motet compare digits` on validation data, and keep what was tried.

    python tools/select_digits_methods.py              writes results/digits-defaults/methods.json
    python tools/select_digits_methods.py METHOD ...   for these only: results/digits-defaults/METHOD-....json

At the training settings that select_digits_defaults.py chose, every candidate is trained with every seed; only the
validation split is scored. For each method the candidate with the lowest mean NLL stands in
`motet.experiments.defaults`. The test split is never looked at.
"""

import math
import sys
from pathlib import Path
from statistics import fmean, stdev

import torch
from select_digits_defaults import MODEL, validation_score

import motet
from motet._internal.files import write_json
from motet._internal.typed_records import to_plain
from motet.errors import TrainingDivergedError
from motet.experiments.defaults import defaults_for
from motet.experiments.provenance import provenance

OUT = Path(__file__).resolve().parent.parent / "results" / "digits-defaults" / "methods.json"
SEEDS = range(10, 13)  # not those that the comparison runs with
M = 3
REPEATED = {"members": M, "batch_repetition": 2}
CANDIDATES: dict[str, tuple[motet.Method, ...]] = {
    "single": (motet.Single(),),
    "mc-dropout": tuple(motet.MCDropout(members=M, rate=rate) for rate in (0.02, 0.05, 0.1)),
    "tree-net": (motet.TreeNet(members=M),),
    "batch-ensemble": (
        *(
            motet.BatchEnsemble(members=M, fast_std=std, fast_weight_lr_scale=rate)
            for std in (0.1, 0.5)
            for rate in (0.5, 1.0)
        ),
        motet.BatchEnsemble(members=M, fast_init="signs"),
    ),
    # The small CNN's layers all differ in shape: one blob serves them all. It has no norms.
    "mixture-ensembles": tuple(
        motet.MixtureEnsembles(members=M, templates_per_layer=templates, coefficient_lr_scale=rate)
        for templates in (2, 5)
        for rate in (0.01, 0.1, 1.0)
    ),
    "mimo": tuple(motet.MIMO(**REPEATED, input_repetition=rho) for rho in (0.5, 0.7)),
    "mixmo": tuple(
        motet.MixMo(**REPEATED, input_repetition=rho, mixing=mixing)
        for rho in (0.0, 0.7)
        for mixing in ("auto", "linear")
    ),
    "datamux": tuple(
        motet.DataMUX(**REPEATED, input_repetition=rho, transform=transform)
        for rho in (0.25, 0.7)
        for transform in ("learned", "gaussian")
    ),
    "early-exit": tuple(motet.EarlyExit(gamma=gamma) for gamma in (0.0, 0.3)),
    "dun": tuple(motet.DUN(alpha=alpha) for alpha in (1.0, 100.0)),
    "mimmo": tuple(
        motet.MIMMO(**REPEATED, input_repetition=rho, alpha=alpha) for rho in (0.5, 0.7) for alpha in (1.0, 100.0)
    ),
}


def main() -> int:
    torch.set_num_threads(1)
    data = motet.data.digits()
    training = defaults_for("digits").training
    wanted = sys.argv[1:] or list(CANDIDATES)
    rows = []
    for name in wanted:
        for method in CANDIDATES[name]:
            try:
                scores = [validation_score(method, training, seed, data) for seed in SEEDS]
            except TrainingDivergedError as error:
                rows.append(
                    {"method": name, "settings": str(method), "diverged": str(error), "validation_nll": math.inf}
                )
                print(rows[-1], flush=True)
                continue
            nll = [one["nll"] for one in scores]
            row = {
                "method": name,
                "settings": str(method),
                "validation_nll": fmean(nll),
                "validation_nll_standard_error": stdev(nll) / len(nll) ** 0.5,
                "validation_accuracy": fmean(one["accuracy"] for one in scores),
            }
            print(row, flush=True)
            rows.append(row)
    best = {
        name: min((row for row in rows if row["method"] == name), key=lambda row: row["validation_nll"])["settings"]
        for name in wanted
    }
    settings = {"model": str(MODEL), "training": str(training), "seeds": list(SEEDS), "split": "validation"}
    for row in rows:  # JSON has no infinity
        if "diverged" in row:
            row["validation_nll"] = None
    out = OUT if wanted == list(CANDIDATES) else OUT.with_name(f"{'-'.join(wanted)}.json")
    write_json(out, {**to_plain(provenance(torch.device("cpu"))), "settings": settings, "rows": rows, "chosen": best})
    return 0


if __name__ == "__main__":
    sys.exit(main())

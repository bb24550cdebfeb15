"""Choose the defaults of `motet compare digits` on validation data, and keep what was tried.

    python tools/select_digits_defaults.py        writes results/digits-defaults/selection.json

Every method is trained with every setting and seed; only the validation split is scored. The test split is never looked
at. The chosen settings stand in `motet.experiments.defaults`, with the reason.
"""

import itertools
import sys
from pathlib import Path
from statistics import fmean, stdev

import torch

import motet
from motet._internal.files import write_json
from motet._internal.typed_records import to_plain
from motet.errors import TrainingDivergedError
from motet.evaluation import predict_split
from motet.experiments.provenance import provenance
from motet.metrics import score
from motet.models import SmallCNN

OUT = Path(__file__).resolve().parent.parent / "results" / "digits-defaults" / "selection.json"
MODEL = SmallCNN(width=2)
LEARNING_RATES = (0.02, 0.05)
WEIGHT_DECAYS = (5e-4, 2e-3)
EPOCHS = 30
SEEDS = range(4)
METHODS = (
    motet.Single(),
    motet.DeepEnsemble(members=3),
    motet.Multihead(members=3),
    *(motet.MIMO(members=3, batch_repetition=2, input_repetition=rho) for rho in (0.0, 0.5, 0.7)),
)


def main() -> int:
    torch.set_num_threads(1)
    data = motet.data.digits()
    rows = []
    for rate, decay in itertools.product(LEARNING_RATES, WEIGHT_DECAYS):
        training = motet.Training(epochs=EPOCHS, batch_size=32, learning_rate=rate, weight_decay=decay, warmup_epochs=1)
        for method in METHODS:
            try:
                scores = [validation_score(method, training, seed, data) for seed in SEEDS]
            except TrainingDivergedError as error:
                rows.append(
                    {"method": str(method), "learning_rate": rate, "weight_decay": decay, "diverged": str(error)}
                )
                continue
            nll = [one["nll"] for one in scores]
            row = {
                "method": str(method),
                "learning_rate": rate,
                "weight_decay": decay,
                "validation_nll": fmean(nll),
                "validation_nll_standard_error": stdev(nll) / len(nll) ** 0.5,
                "validation_accuracy": fmean(one["accuracy"] for one in scores),
            }
            print(row, flush=True)
            rows.append(row)
    settings = {"model": str(MODEL), "epochs": EPOCHS, "batch_size": 32, "seeds": list(SEEDS), "split": "validation"}
    write_json(OUT, {**to_plain(provenance(torch.device("cpu"))), "settings": settings, "rows": rows})
    return 0


def validation_score(
    method: motet.Method, training: motet.Training, seed: int, data: motet.Dataset
) -> dict[str, float]:
    torch.manual_seed(seed)
    spec = data.spec
    ensemble = method.wrap(
        lambda: MODEL.build(input_shape=spec.input_shape, outputs=spec.outputs),
        example=data.prepare(data.train.inputs[:1]),
    )
    motet.fit(ensemble, data, training, seed=seed, progress=False)
    return score(predict_split(ensemble, data, data.validation))


if __name__ == "__main__":
    sys.exit(main())

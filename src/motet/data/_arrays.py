"""Training data that are not a `motet.Dataset`: arrays, torch's data sets and loaders."""

from typing import Any

import torch
from torch import Tensor

from motet.data._dataset import Dataset
from motet.data._holdout import hold_out
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.inference.inputs import as_inputs, as_targets, batches

HELD_OUT = 0.1
"""The fraction of the rows that are held out for validation."""

_TASKS: dict[str | None, Any] = {"count": "counts", "binary": "multilabel"}


def as_dataset(data: Any, ensemble: Ensemble, *, seed: int) -> Dataset:
    """Return training data as a data set; a data set as it is.

    A tenth of the rows, at least one, is held out for validation, stratified by class. A `torch.utils.data.Dataset` or
    a loader is read once, into memory: random changes that it makes to its rows are the same in every epoch.

    Args:
        data: a `motet.Dataset`; or the pair ``(inputs, targets)``, a `torch.utils.data.Dataset` of pairs, or a
            `DataLoader` of pairs.
        ensemble: the ensemble that will be trained.
        seed: the seed of the rows that are held out.

    Raises:
        InputError: for other data, without targets, or with fewer than two rows.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, Tensor) or not isinstance(data, tuple | torch.utils.data.Dataset | torch.utils.data.DataLoader):
        raise _wrong(f"an object of type {type(data).__name__}")
    inputs, targets = list[Any](), list[Tensor]()
    for x, y in batches(data, None, None, ensemble.input_form):
        if y is None:
            raise _wrong("inputs without targets")
        inputs.append(as_inputs(x, ensemble.network, ensemble.input_form).cpu())
        targets.append(as_targets(y, ensemble.likelihood, ensemble.network).cpu())
    rows = sum(map(len, inputs))
    if rows < 2 or rows != sum(map(len, targets)):
        raise _wrong(f"{rows} inputs and {sum(map(len, targets))} targets")
    x, y = torch.cat(inputs), torch.cat(targets)
    labels = y if y.dtype == torch.int64 and y.ndim == 1 else torch.zeros(rows, dtype=torch.int64)
    kept, held = hold_out(labels, min(rows - 1, max(1, round(HELD_OUT * rows))), seed=seed % 2**32)
    one, kind = ensemble.predict(x[:1].to(_device(ensemble))).outputs_BMC, ensemble.likelihood.target_kind
    outputs = one.shape[-1]
    if one.ndim > 3 and kind != "class":
        raise InputError(
            "fit needs class labels if the model predicts at positions",
            got=f"the likelihood {ensemble.likelihood}",
            fix="Train in a loop of your own with ensemble.loss(x, y), which accepts all targets at positions",
        )
    return Dataset.from_tensors(
        "the data passed to fit",
        train=(x[kept], y[kept]),
        validation=(x[held], y[held]),
        test=(x[held], y[held]),
        outputs=outputs if kind == "class" else None,
        task=_TASKS.get(kind),
        ignored_label=ensemble.likelihood.ignored_label,
        class_names=tuple(map(str, range(y.shape[-1] if y.ndim > 1 else 1))) if kind == "binary" else (),
    )


def _device(ensemble: Ensemble) -> torch.device:
    return next((each.device for each in ensemble.parameters()), torch.device("cpu"))


def _wrong(got: str) -> InputError:
    return InputError(
        "training data must be a motet.Dataset, the pair (inputs, targets) with two rows or more, or a torch data set "
        "or loader of such pairs",
        got=got,
        fix="Pass (x, y), or motet.Dataset.from_tensors(...) to choose the validation rows",
    )

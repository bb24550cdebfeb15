"""Several targets of a table: numbers, counts, or binary labels; and the same from tensors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motet.data import DataOptions, Dataset, DataSpec, load
from motet.data.sources.table_targets import target_columns
from motet.errors import InputError
from motet.likelihoods import Bernoulli, Gaussian, Poisson

ROWS = 40
COLUMNS: dict[str, list[Any]] = {
    "a": [(7 * row) % ROWS for row in range(ROWS)],
    "price": [1000.0 + 10.5 * row for row in range(ROWS)],
    "weight": [1e-3 * ((3 * row) % ROWS) + 5e-4 for row in range(ROWS)],
    "first": [row % 2 for row in range(ROWS)],
    "second": [int(row % 3 == 0) for row in range(ROWS)],
    "told": ["true" if row % 4 else "false" for row in range(ROWS)],
    "visits": [row % 7 for row in range(ROWS)],
    "calls": [row % 25 for row in range(ROWS)],
    "word": ["xyz"[row % 3] for row in range(ROWS)],
}


@pytest.fixture
def table(tmp_path: Path) -> Any:
    def read(target: str, change: dict[str, list[Any]] | None = None, **options: Any) -> Dataset:
        columns = COLUMNS | (change or {})
        lines = [",".join(f'"{name}"' for name in columns)]
        lines += [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
        (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
        return load(str(tmp_path / "t.csv"), options=DataOptions(target=target, **options))

    return read


def all_targets(dataset: Dataset) -> torch.Tensor:
    return torch.cat([split.targets for split in (dataset.train, dataset.validation, dataset.test)])


def test_several_numbers_are_standardised_separately(table: Any) -> None:
    dataset = table("price,weight")
    spec = dataset.spec
    assert (spec.task, spec.outputs, spec.class_names) == ("regression", 2, ())
    assert spec.target_names == ("price", "weight")
    assert spec.likelihood == Gaussian()
    assert not {"price", "weight"} & set(spec.feature_names)
    torch.testing.assert_close(dataset.train.targets.mean(dim=0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(dataset.train.targets.std(dim=0, correction=0), torch.ones(2))
    mean, std = (torch.tensor(each, dtype=torch.float64) for each in (spec.target_mean, spec.target_std))
    own = all_targets(dataset).double() * std + mean
    rows = sorted(map(tuple, own.tolist()))
    expected = sorted(zip(COLUMNS["price"], COLUMNS["weight"], strict=True))
    np.testing.assert_allclose(rows, expected, rtol=1e-5)
    torch.testing.assert_close(spec.target_scale.restore(all_targets(dataset)), own)
    # One target is as it was: one number each.
    assert isinstance(table("price").spec.target_std, float)


def test_the_split_does_not_depend_on_the_targets(table: Any) -> None:
    one, two = table("price"), table("price,weight")
    price = two.spec.target_scale.restore(two.test.targets)[:, 0]
    torch.testing.assert_close(one.spec.target_scale.restore(one.test.targets)[:, 0], price, rtol=1e-6, atol=0)


@pytest.mark.parametrize("target", ["first,second", "first , second", "first,second,told"])
def test_several_labels(table: Any, target: str) -> None:
    dataset = table(target)
    names = tuple(name.strip() for name in target.split(","))
    assert (dataset.spec.task, dataset.spec.outputs, dataset.spec.class_names) == ("multilabel", len(names), names)
    assert dataset.spec.likelihood == Bernoulli()
    assert dataset.spec.target_names == ()
    assert dataset.spec.target_scale is None
    columns = [[float(value in (1, "true")) for value in COLUMNS[name]] for name in names]
    assert sorted(map(tuple, all_targets(dataset).tolist())) == sorted(zip(*columns, strict=True))


def test_one_label_can_be_asked_for(table: Any) -> None:
    spec = table("first", task="multilabel").spec
    assert (spec.task, spec.outputs, spec.class_names) == ("multilabel", 1, ("first",))
    assert table("first").spec.task == "classification"


def test_several_counts(table: Any) -> None:
    dataset = table("visits,calls", task="counts")
    assert (dataset.spec.task, dataset.spec.outputs, dataset.spec.likelihood) == ("counts", 2, Poisson())
    assert dataset.spec.target_scale is None
    expected = sorted(zip(COLUMNS["visits"], COLUMNS["calls"], strict=True))
    assert sorted(map(tuple, all_targets(dataset).tolist())) == expected
    guessed = table("visits,calls")
    assert guessed.spec.task == "regression"
    assert "predicted as numbers: visits (--task counts predicts counts)" in guessed.notes


@pytest.mark.parametrize(
    ("target", "task", "message"),
    [
        ("price,first", None, "one kind.*price: numbers; first: labels 0 and 1. .*--task regression"),
        ("first,word", None, "one kind.*first: labels 0 and 1; word: text. Predict them in separate runs\\.$"),
        ("price,word,first", None, "price: numbers; word: text; first: labels"),
        ("word,word2", None, "word: text; word2: text"),
        ("price,word", "regression", "must hold numbers, but got price: numbers; word: text. Leave out .*: word"),
        ("price,first", "multilabel", "labels 0 and 1, but got price: numbers; .*Leave out of --target: price"),
        ("word", "multilabel", "but got word: text. Leave --task out"),
        ("first,second", "classification", "has one target, but got 2 targets.*--task multilabel"),
        ("visits,price", "counts", "'price' must hold counts, integers of at least 0"),
        ("price,price", None, "different columns"),
        ("price,wieght", None, "must be a column of t.csv, but got 'wieght'. Did you mean 'weight'"),
        ("price,", None, "must be a column of t.csv, but got ''"),
    ],
)
def test_what_cannot_be_predicted_together(table: Any, target: str, task: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        table(target, {"word2": COLUMNS["word"]}, task=task)


def test_mixed_kinds_can_be_asked_for_as_numbers(table: Any) -> None:
    assert table("price,first", task="regression").spec.outputs == 2


@pytest.mark.parametrize("target", ["price,weight", "first,second"])
def test_rows_without_any_of_the_targets_are_left_out(table: Any, target: str) -> None:
    one, two = target.split(",")
    change = {one: ["", *COLUMNS[one][1:]], two: [*COLUMNS[two][:-2], "NA", ""]}
    dataset = table(target, change)
    assert len(all_targets(dataset)) == ROWS - 3
    assert f"3 of {ROWS} rows left out that have no {one} or no {two}" in dataset.notes


def test_constant_targets_are_refused(table: Any) -> None:
    with pytest.raises(InputError, match="'weight' must vary in the training rows"):
        table("price,weight", {"weight": [2.5] * ROWS})
    with pytest.raises(InputError, match="'second' must vary, but got 1 in every row"):
        table("first,second", {"second": [1] * ROWS})


def test_too_few_rows_and_no_features(table: Any) -> None:
    with pytest.raises(InputError, match="at least 3 rows, but got 2 with a price and a weight"):
        table("price,weight", {"weight": [0.1, 0.2, *[""] * (ROWS - 2)]})
    with pytest.raises(InputError, match="at least one column must be left"):
        table("price,weight", drop=tuple(name for name in COLUMNS if name not in ("price", "weight")))
    with pytest.raises(InputError, match="the target must stay, but got --drop weight"):
        table("price,weight", drop=("weight",))


def test_a_column_whose_name_has_a_comma_comes_first() -> None:
    columns = ["a", "b", "a,b", "c, d", "e"]
    assert target_columns("a,b", columns, where="t") == ("a,b",)
    assert target_columns("a", columns, where="t") == ("a",)
    assert target_columns("b,a", columns, where="t") == ("b", "a")
    assert target_columns("e,c, d", columns, where="t") == ("e", "c, d")
    assert target_columns("e,a,b", columns, where="t") == ("e", "a,b")


def tensors(y: torch.Tensor) -> dict[str, Any]:
    split = (torch.randn(len(y), 2), y)
    return {"train": split, "validation": split, "test": split}


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.uint8, torch.float32, torch.float64])
def test_labels_from_tensors(dtype: torch.dtype, unchecked: None) -> None:
    y = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    dataset = Dataset.from_tensors("own", **tensors(y), task="multilabel", class_names=("x", "y", "z"))
    assert dataset.spec.outputs == 3
    assert dataset.train.targets.dtype == torch.float32
    assert torch.equal(dataset.train.targets, y.float())
    assert Dataset.from_tensors("own", **tensors(y[:, 0]), task="multilabel").spec.outputs == 1
    with pytest.raises(InputError, match="in the train split, binary labels must be 0 or 1"):
        Dataset.from_tensors("own", **tensors(torch.tensor([[0, 2], [1, 1]])), task="multilabel")


def test_standardised_targets_from_tensors() -> None:
    dataset = Dataset.from_tensors(
        "own", **tensors(torch.randn(4, 2)), target_mean=(1.0, 2.0), target_std=(3.0, 4.0), target_names=("u", "v")
    )
    assert dataset.spec.target_scale is not None
    assert dataset.spec.target_scale.std == (3.0, 4.0)
    with pytest.raises(InputError, match="one for each of the 2 targets, but got 3 numbers"):
        Dataset.from_tensors("own", **tensors(torch.randn(4, 2)), target_std=(3.0, 4.0, 5.0))
    with pytest.raises(InputError, match="name each of the 2 targets"):
        Dataset.from_tensors("own", **tensors(torch.randn(4, 2)), target_names=("u",))
    with pytest.raises(InputError, match="classes are never standardised"):
        Dataset.from_tensors("own", **tensors(torch.tensor([0, 1])), target_std=2.0)


def test_scores_of_several_targets_are_not_mixed() -> None:
    """NLLs shift by the sum of the logarithms; errors stay in standard deviations, as each target has its own unit."""
    spec = DataSpec(
        name="own", input_shape=(1,), outputs=2, task="regression", target_mean=(0.0, 5.0), target_std=(10.0, 0.1)
    )
    scores = {"rmse": 0.5, "nll": 1.0, "crps": 0.2, "coverage_90": 0.9, "interval_width": 2.0}
    assert spec.in_own_units(scores) == scores | {"nll": pytest.approx(1.0 + np.log(10.0) + np.log(0.1))}
    shared = DataSpec(name="own", input_shape=(1,), outputs=2, task="regression", target_std=10.0)
    assert shared.in_own_units(scores)["rmse"] == 5.0
    assert shared.in_own_units(scores)["nll"] == pytest.approx(1.0 + 2 * np.log(10.0))

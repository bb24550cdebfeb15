"""Tables: how columns become features, that nothing leaks from held-out rows, and every kind of bad table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.version import Version

from motet.data import DataOptions, Dataset, load, table
from motet.data.sources.table_features import standardisation
from motet.errors import InputError

ROWS = 60
Y = DataOptions(target="y")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(columns: dict[str, Any], name: str = "mine.csv", separator: str = ",") -> Path:
        lines = [separator.join(columns)]
        lines += [separator.join(str(value) for value in row) for row in zip(*columns.values(), strict=True)]
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def numbers(seed: int = 0, rows: int = ROWS) -> list[float]:
    return np.random.RandomState(seed).randn(rows).round(3).tolist()


def columns(**changes: Any) -> dict[str, Any]:
    return {"a": numbers(0), "b": numbers(1), "y": numbers(2)} | changes


def test_numbers_are_standardised_by_the_training_rows(write: Any) -> None:
    data = table(write(columns()), Y)
    assert (len(data.train), len(data.validation), len(data.test)) == (42, 6, 12)
    assert data.spec.feature_names == ("a", "b")
    assert (data.spec.name, data.spec.task, data.spec.outputs) == ("mine", "regression", 1)
    x = data.train.inputs[:]
    torch.testing.assert_close(x.mean(dim=0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.std(dim=0, correction=0), torch.ones(2))
    y = data.train.targets
    assert abs(float(y.mean())) < 1e-6
    own = torch.cat([s.targets for s in (data.train, data.validation, data.test)]) * data.spec.target_std
    assert sorted((own + data.spec.target_mean).flatten().tolist()) == pytest.approx(sorted(numbers(2)), abs=1e-5)
    again = table(write(columns()), Y)
    assert torch.equal(again.train.inputs[:], x)
    other = table(write(columns()), DataOptions(target="y", split_seed=1))
    assert not torch.equal(other.train.inputs[:], x)


def held_out_rows(data: Dataset, keys: list[float]) -> list[int]:
    """The numbers of the rows that are not in the train split, told by a column of different numbers."""
    own = {round(float(v) * data.spec.target_std + data.spec.target_mean) for v in data.train.targets}
    return [row for row, key in enumerate(keys) if round(key) not in own]


@pytest.mark.parametrize("poison", [1e9, -3.5, ""])
def test_held_out_rows_change_nothing_in_training(write: Any, poison: Any) -> None:
    keys = [float(row) for row in range(ROWS)]
    words = [("red", "blue")[row % 2] for row in range(ROWS)]
    clean = columns(y=keys, word=words, same=[1.5] * ROWS)
    before = table(write(clean), Y)
    out = held_out_rows(before, keys)
    assert len(out) == 18
    poisoned = {name: list(values) for name, values in clean.items()}
    for row in out:
        poisoned["a"][row], poisoned["word"][row], poisoned["y"][row] = poison, f"new {row}", keys[row] * 1e6 + 0.25
        poisoned["same"][row] = row
    after = table(write(poisoned), Y)
    assert torch.equal(before.train.inputs[:], after.train.inputs[:])
    assert torch.equal(before.train.targets, after.train.targets)
    fitted = ("feature_names", "mean", "std", "target_mean", "target_std")
    assert [getattr(before.spec, name) for name in fitted] == [getattr(after.spec, name) for name in fitted]
    assert "same" not in after.spec.feature_names, "a column that only varies elsewhere is none"
    words_out = after.test.inputs[:][:, -2:]
    assert torch.equal(words_out, torch.zeros_like(words_out)), "words that training has not seen count as none"


def test_words_and_missing_values(write: Any) -> None:
    a = ["" if row % 5 == 0 else value for row, value in enumerate(numbers(0))]
    word = [("red", "blue", "NA")[row % 3] for row in range(ROWS)]
    flag = [("True", "False")[row % 2] for row in range(ROWS)]
    data = table(write({"a": a, "word": word, "flag": flag, "y": numbers(2)}), Y)
    names = data.spec.feature_names
    assert names == ("a", "a missing", "word=(missing)", "word=blue", "word=red", "flag=false", "flag=true")
    x = data.train.inputs[:]
    missing = x[:, 1] == 1
    assert 0 < int(missing.sum()) < len(x)
    assert set(x[missing, 0].tolist()) == {0.0}
    assert abs(float(x[~missing, 0].mean())) < 1e-6
    assert torch.equal(x[:, 2:5].sum(dim=1), torch.ones(len(x)))


def test_constant_columns_are_left_out_and_said(write: Any) -> None:
    data = table(write(columns(c=[7] * ROWS, d=[""] * ROWS, e=["same"] * ROWS)), Y)
    assert data.spec.feature_names == ("a", "b")
    assert data.notes == ("left out because constant in the training rows: c, d, e",)
    with pytest.raises(InputError, match=r"at least one column other than the target must vary.*'c'"):
        table(write({"c": [7] * ROWS, "y": numbers(2)}), Y)


def test_rows_without_a_target_and_columns_without_a_name(write: Any) -> None:
    y = ["" if row < 10 else value for row, value in enumerate(numbers(2))]
    data = table(write({"": list(range(ROWS)), "a": numbers(0), "y": y}), Y)
    assert sum(map(len, (data.train, data.validation, data.test))) == 50
    assert data.notes == ("left out: a column without a name", "10 of 60 rows left out that have no y")


@pytest.mark.parametrize(
    ("y", "task", "names"),
    [
        ([row % 3 for row in range(ROWS)], "classification", ("0", "1", "2")),
        ([float(row % 3) for row in range(ROWS)], "classification", ("0", "1", "2")),
        ([("no", "yes")[row % 2] for row in range(ROWS)], "classification", ("no", "yes")),
        ([bool(row % 2) for row in range(ROWS)], "classification", ("false", "true")),
        ([row % 21 for row in range(ROWS)], "regression", ()),
        ([row % 2 + 0.5 for row in range(ROWS)], "regression", ()),
    ],
)
def test_the_task_is_told_from_the_target(write: Any, y: Any, task: str, names: tuple[str, ...]) -> None:
    spec = table(write(columns(y=y)), Y).spec
    assert (spec.task, spec.class_names) == (task, names)


def test_the_task_can_be_said(write: Any) -> None:
    whole = write(columns(y=[row % 3 for row in range(ROWS)]))
    assert table(whole, DataOptions(target="y", task="regression")).spec.outputs == 1
    many = write(columns(y=[row % 25 for row in range(ROWS)]))
    data = table(many, DataOptions(target="y", task="classification"))
    assert (data.spec.outputs, data.spec.class_names[10]) == (25, "10"), "in the order of the numbers"


def test_classes_are_split_in_proportion(write: Any) -> None:
    data = table(write(columns(y=["rare" if row % 6 == 0 else "usual" for row in range(ROWS)])), Y)
    counts = [split.targets.bincount(minlength=2).tolist() for split in (data.train, data.validation, data.test)]
    assert counts == [[7, 35], [1, 5], [2, 10]]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators(write: Any, separator: str) -> None:
    data = table(write(columns(), separator=separator), Y)
    assert data.spec.feature_names == ("a", "b")


def test_parquet_is_the_same_as_csv(write: Any, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    word = [("red", "blue", None)[row % 3] for row in range(ROWS)]
    held = {"a": numbers(0), "n": list(range(ROWS)), "word": word, "y": numbers(2)}
    path = tmp_path / "mine.parquet"
    parquet.write_table(pa.table(held | {"word": pa.array(word).dictionary_encode()}), path)
    from_csv = load(str(write(held | {"word": [value or "" for value in word]})), options=Y)
    from_parquet = load(str(path), options=Y)
    assert from_csv.spec == from_parquet.spec
    assert torch.equal(from_csv.test.inputs[:], from_parquet.test.inputs[:])
    parquet.write_table(pa.table(held | {"list": [[1]] * ROWS}), path)
    with pytest.raises(InputError, match=r"must hold numbers, text.*'list' of type list.*--drop list"):
        table(path, Y)
    assert table(path, DataOptions(target="y", drop=("list",))).spec.feature_names[0] == "a"
    path.write_bytes(b"PAR1 rubbish")
    with pytest.raises(InputError, match=r"must be a readable Parquet file"):
        table(path, Y)


def test_dates_are_numbers(write: Any) -> None:
    days = [f"2024-01-{1 + row % 28:02d}" for row in range(ROWS)]
    data = table(write(columns(day=days)), Y)
    assert data.spec.feature_names == ("a", "b", "day")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "must hold a table, but got an empty file"),
        ("a,y\n", "must have rows, but got 0 rows"),
        ("a,b,a,y\n1,2,3,4\n", "different names, but got 'a' more than once"),
        ("a,y\n1,2\n3,4,5\n", "as many fields in every row.*separator seems to be ','"),
        ("1.5,2,3\n4,5,6\n", "first line of bad.csv must hold the names"),
        ('a,y\n"1,5",2\n"2,5",3\n', "numbers or words, not both, but got 2 of 2.*'1,5' in row 1.*decimal comma"),
        ("a,b,y", "must have rows, but got 0 rows"),
        ("\n \n\n", "must hold a table, but got only blank lines"),
        ("a:b:y\n1:2:3\n", "at least 2 columns, but got one, 'a:b:y'"),
        ("a b,y, a  b\n1,2,3\n", "different names, but got 'a b' more than once"),
        ("a,b,y\n1;2;3\n", "Row #2: Expected 3 columns, got 1.*separator seems to be ','"),
        ("a,y\n1,2\n3\n", "as many fields in every row.*Row #3: Expected 2 columns, got 1"),
        ('a,y\n"1,2\n3,4\n', "as many fields in every row"),
        ("y,\n1,2\n3,4\n", "at least one column must be left.*none with a name"),
        ("a,y\n1%,2\n2%,3\n", "numbers or words, not both, but got 2 of 2.*'1%' in row 1.*remove signs"),
        ('a,y\n"1,000",2\n"2,000.5",3\n', "numbers or words, not both.*'1,000' in row 1.*thousands separators"),
        ("a,y\n1,\n2,NA\n3,?\n", "needs at least 3 rows, but got 0 with a y"),
        ("a,y\n1,2\n", "needs at least 3 rows, but got 1 with a y"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=match):
        table(path, Y)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_a_file_in_another_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "own.csv"
    text = "größe,y\n" + "".join(f"{'äöü'[row % 3]},{row % 7 / 2}\n" for row in range(9000))
    path.write_bytes(text.encode(encoding))
    data = table(path, Y)
    assert data.spec.feature_names == ("größe=ä", "größe=ö", "größe=ü")
    assert data.notes == (("read as Windows-1252 (cp1252), because it is not UTF-8",) if encoding == "cp1252" else ())


def test_files_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(b"a,y\n\x81\x8d,1\n")  # undefined in Windows-1252 too
    with pytest.raises(InputError, match=r"must be text in UTF-8, but got .* at byte \d+. Save it as UTF-8"):
        table(path, Y)
    path.write_bytes(b"a,y\n" + b"1,2\n" * 500 + b"\0")
    with pytest.raises(InputError, match="must be text, but got null characters"):
        table(path, Y)


def test_spellings_of_the_same_table(write: Any, tmp_path: Path) -> None:
    word = [("red hat", "blue")[row % 2] for row in range(ROWS)]
    plain = write({"a": numbers(0), "word": word, "y": numbers(2)})
    expected = table(plain, Y)
    text = plain.read_text()
    spellings = {
        "byte order mark": "\ufeff" + text,
        "Windows lines": text.replace("\n", "\r\n"),
        "spaces around": text.replace(",", " , "),
        "blank lines": "\n\n" + text.replace("\n", "\n\n"),
        "line break in quotes": text.replace("red hat", '" red\nhat"'),
        "separator in a quoted name": text.replace(",", ";").replace("word;", '"word";', 1),
    }
    for what, spelling in spellings.items():
        path = tmp_path / "mine.csv"
        path.write_bytes(spelling.encode())
        data = table(path, Y)
        assert data.spec == expected.spec, what
        assert torch.equal(data.test.inputs[:], expected.test.inputs[:]), what
    (tmp_path / "mine.csv").write_text(text.replace(",", ";").replace("word;", '"a word, or two, or three";', 1))
    assert table(tmp_path / "mine.csv", Y).spec.feature_names[1] == "a word, or two, or three=blue"


def test_parquet_columns_of_every_kind(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    counted = np.random.RandomState(0).permutation(ROWS)
    whole = pa.array(counted, type=pa.int64())
    path = tmp_path / "mine.parquet"
    kinds = {
        "moment": pa.array([1000 * row + 1 for row in counted]).cast(pa.timestamp("ns")),
        "day": whole.cast(pa.int32()).cast(pa.date32()),
        "time": whole.cast(pa.int32()).cast(pa.time32("s")),
        "lasting": whole.cast(pa.duration("ms")),
        "exact": whole.cast(pa.decimal128(30, 3)),
        "half": pa.array(counted.astype(np.float16)),
    }
    for name, column in kinds.items():
        parquet.write_table(pa.table({name: column, "n": whole, "y": numbers(2)}), path)
        data = table(path, Y)
        assert data.spec.feature_names == (name, "n")
        torch.testing.assert_close(data.train.inputs[:, 0], data.train.inputs[:, 1])
    words = pa.array([("red", "blue")[row % 2] for row in range(ROWS)])
    kinds_of_text = [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
    if Version(pa.__version__) >= Version("21"):  # older versions cannot write it
        kinds_of_text.append(pa.string_view())
    for kind in kinds_of_text:
        parquet.write_table(pa.table({"word": words.cast(kind), "y": numbers(2)}), path)
        assert table(path, Y).spec.feature_names == ("word=blue", "word=red")


def test_a_text_column_of_missing_values_in_a_parquet_file_is_left_out(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "mine.parquet"
    held = {"a": numbers(0), "note": pa.array([None] * ROWS, type=pa.string()), "y": numbers(2)}
    parquet.write_table(pa.table(held), path)
    data = table(path, Y)
    assert (data.spec.feature_names, data.notes) == (("a",), ("left out because constant in the training rows: note",))
    with pytest.raises(InputError, match="at least 3 rows, but got 0 with a note"):
        table(path, DataOptions(target="note"))


@pytest.mark.parametrize("nested", [{"u": 1}, [1, 2], b"bytes"], ids=["struct", "list", "bytes"])
def test_nested_columns_of_a_parquet_file(tmp_path: Path, nested: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "mine.parquet"
    parquet.write_table(pa.table({"a": numbers(0), "nested": [nested] * ROWS, "y": numbers(2)}), path)
    with pytest.raises(InputError, match=r"must hold numbers, text, booleans or dates.*--drop nested"):
        table(path, Y)
    assert table(path, DataOptions(target="y", drop=("nested",))).spec.feature_names == ("a",)


def test_names_that_a_parquet_file_has_twice_and_row_numbers(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "mine.parquet"
    parquet.write_table(pa.table([pa.array(numbers(0))] * 3, names=["a", "a", "y"]), path)
    with pytest.raises(InputError, match=r"different names, but got 'a' more than once"):
        table(path, Y)
    parquet.write_table(pa.table({"a": numbers(0), "y": numbers(1), "__index_level_0__": range(ROWS)}), path)
    data = table(path, Y)
    assert (data.spec.feature_names, data.notes) == (("a",), ("left out: a column without a name",))


@pytest.mark.parametrize("column", ["a", "y"])
def test_numbers_that_float32_cannot_hold(write: Any, column: str) -> None:
    keys = [float(row) for row in range(ROWS)]
    out = held_out_rows(table(write(columns(y=keys)), Y), keys)[0]
    held = columns(y=keys)
    held[column] = [1e300 if row == out else value for row, value in enumerate(held[column])]
    with pytest.raises(InputError, match=rf"column '{column}' must hold numbers of similar size.*got 1 beyond"):
        table(write(held), Y)


def test_the_nearest_of_many_columns_is_named(write: Any) -> None:
    held = {f"column {number}": numbers(number) for number in range(40)} | {"price": numbers(99)}
    with pytest.raises(InputError, match=r"got 'prize'. Did you mean 'price'\? Known: column 0, .*column 29, \.\.\."):
        table(write(held), DataOptions(target="prize"))


def test_the_nearest_of_the_files_in_the_folder_is_named(write: Any) -> None:
    path = write(columns())
    with pytest.raises(
        InputError,
        match=r"must exist, but got /.*mime.csv: there is no file or folder /.*mime.csv. Did you mean /.*mine.csv",
    ):
        load(str(path.with_name("mime.csv")), options=Y)


@pytest.mark.parametrize(
    ("changes", "options", "match"),
    [
        ({}, {"target": None}, "must be named, but got no --target. Pass --target with one of a, b, y"),
        ({}, {"target": "Y"}, "must be a column of mine.csv, but got 'Y'. Did you mean 'y'"),
        ({}, {"drop": ("c",)}, "--drop must name a column, but got 'c'"),
        ({}, {"drop": ("y",)}, "the target must stay"),
        ({}, {"drop": ("a", "b")}, r"at least one column must be left.*dropped ones \(a, b\)"),
        ({}, {"image_size": 8}, "--image-size must be left out for the table mine.csv"),
        ({}, {"task": "classification"}, "must hold classes.*60 different numbers with fractions"),
        ({"y": ["a", "b"] * 30}, {"task": "regression"}, "must hold numbers for a regression, but got text"),
        ({"y": ["a"] * ROWS}, {}, "at least 2 classes, but got a in every row"),
        ({"y": [1.5] * ROWS}, {}, "must vary in the training rows, but got 1.5"),
        ({"y": [f"id {row}" for row in range(ROWS)]}, {}, "at least 2 rows on average, but got 60 classes in 60 rows"),
        ({"a": ["inf", *numbers(0)[1:]]}, {}, "column 'a' must hold finite numbers, but got 1 infinite.*row 1"),
        ({"a": ["oops", *numbers(0)[1:]]}, {}, "column 'a' must hold numbers or words.*1 of 60.*'oops' in row 1"),
    ],
)
def test_columns_that_do_not_fit(write: Any, changes: dict[str, Any], options: dict[str, Any], match: str) -> None:
    said = DataOptions(**({"target": "y"} | options))
    with pytest.raises(InputError, match=match):
        table(write(columns(**changes)), said)


@pytest.mark.parametrize("seed", range(5))
def test_classes_of_few_rows_are_trained_on(write: Any, seed: int) -> None:
    y = ["a"] * 32 + ["once"] + ["b"] * 25 + ["twice"] * 2
    data = table(write(columns(y=y)), DataOptions(target="y", split_seed=seed))
    assert data.spec.class_names == ("a", "b", "once", "twice")
    assert data.train.targets.bincount(minlength=4)[2] == 1
    assert data.train.targets.bincount(minlength=4)[3] >= 1
    assert sum(map(len, (data.train, data.validation, data.test))) == ROWS
    assert data.notes == ("only trained on, because the class has a single row: once",)


def test_words_that_are_names(write: Any) -> None:
    rows = 200
    names, places = [f"person {row}" for row in range(rows)], [f"town {row % 90}" for row in range(rows)]
    held = {"a": numbers(0, rows), "who": names, "town": places, "y": numbers(1, rows)}
    data = table(write(held), Y)
    assert data.spec.feature_names == ("a",)
    assert data.notes == ("left out because their words are nearly all different: who, town",)
    kept = table(write(held), DataOptions(target="y", keep=("town",)))
    assert 1 + 60 < len(kept.spec.feature_names) <= 1 + 90
    with pytest.raises(InputError, match=r"must vary in the training rows, but got 'who', words.*--keep who"):
        table(write({name: held[name] for name in ("who", "y")}), Y)


def test_too_few_rows(write: Any) -> None:
    with pytest.raises(InputError, match=r"at least 3 rows, but got 2"):
        table(write({"a": [1, 2], "y": [0.5, 1.5]}), Y)


def test_standardisation_by_hand() -> None:
    assert standardisation([1.0, 3.0]) == (2.0, 1.0)
    assert standardisation([0.0, 0.0]) == (0.0, 0.0)
    assert standardisation([0.1] * 7)[1] == 0.0
    mean, std = standardisation([1e200, 3e200])
    assert (mean, std) == (pytest.approx(2e200), pytest.approx(1e200))


def test_scores_come_back_in_the_targets_unit(write: Any) -> None:
    spec = table(write(columns(y=[1000 * value for value in numbers(2)])), Y).spec
    scores = spec.in_own_units({"rmse": 0.5, "nll": 1.0})
    assert scores["rmse"] == pytest.approx(0.5 * spec.target_std)
    # The density of y is that of its standardised value, divided by the standard deviation.
    normal = torch.distributions.Normal(0.0, spec.target_std)
    own = -normal.log_prob(torch.tensor(0.5 * spec.target_std))
    stored = -torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(0.5))
    assert spec.in_own_units({"nll": float(stored)})["nll"] == pytest.approx(float(own), rel=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"task": "sorting"}, {"image_size": 0}, {"validation_share": 1.0}, {"split_seed": -1}]
)
def test_options_that_cannot_be(wrong: dict[str, Any], unchecked: None) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        DataOptions(**wrong)


def test_columns_to_drop_may_be_joined_by_commas(write: Any) -> None:
    held = {name: numbers(number) for number, name in enumerate("abcdy")}
    assert table(write(held), DataOptions(target="y", drop=("a,b", "d"))).spec.feature_names == ("c",)
    with pytest.raises(InputError, match=r"--drop must name a column, but got 'a,e'"):
        table(write(held), DataOptions(target="y", drop=("a,e",)))

"""Tables as people have them: spellings, separators, missing values, row numbers, dates; compared with pandas."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motet.data import DataOptions, Dataset, table
from motet.data.formats import table_columns
from motet.data.formats.table_columns import MISSING
from motet.data.formats.table_file import TableFile
from motet.errors import InputError

ROWS = 60
Y = DataOptions(target="y")
Load = Callable[..., Dataset]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str, name: str = "own.csv", **options: Any) -> Dataset:
        (tmp_path / name).write_text(text)
        return table(tmp_path / name, DataOptions(**({"target": "y"} | options)))

    return load


def rows(fields: Callable[[int], str], head: str = "x,y") -> str:
    return f"{head}\n" + "".join(f"{fields(row)}\n" for row in range(ROWS))


def value(row: int) -> float:
    return row * 37 % 17 + 0.5


def label(row: int) -> str:
    return ("no", "yes")[row % 2]


def size(data: Dataset) -> int:
    return len(data.train) + len(data.validation) + len(data.test)


# -- missing values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [*sorted(MISSING), "NA", "N/A", "NaN", "NULL", "None", "#N/A", " ", " NA ", " ? "])
@pytest.mark.parametrize("quoted", [False, True])
def test_spellings_of_missing_values(load: Load, spelling: str, quoted: bool) -> None:
    written = f'"{spelling}"' if quoted else spelling
    number = load(rows(lambda row: f"{written if row % 8 == 0 else value(row)},{label(row)}"))
    assert number.spec.feature_names == ("x", "x missing")
    word = load(rows(lambda row: f"{written if row % 8 == 0 else 'ab'[row % 3 % 2]},{label(row)}"))
    assert word.spec.feature_names == ("x=(missing)", "x=a", "x=b")
    target = load(rows(lambda row: f"{value(row)},{written if row % 5 == 0 else label(row)}"))
    assert target.spec.class_names == ("no", "yes")
    assert target.notes == ("12 of 60 rows left out that have no y",)


def test_spellings_in_parquet_are_those_of_csv(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    x = [" ? " if row % 8 == 0 else str(value(row)) for row in range(ROWS)]
    y = ["#N/A" if row % 5 == 0 else label(row) for row in range(ROWS)]
    parquet.write_table(pa.table({"x": x, "y": y}), tmp_path / "own.parquet")
    data = table(tmp_path / "own.parquet", Y)
    assert (data.spec.feature_names, data.spec.class_names) == (("x", "x missing"), ("no", "yes"))


@pytest.mark.parametrize("sign", [".", "-", "--"])
def test_signs_mark_missing_numbers_but_are_words_among_words(load: Load, sign: str) -> None:
    data = load(rows(lambda row: f"{sign if row % 8 == 0 else value(row)},{label(row)}"))
    assert data.spec.feature_names == ("x", "x missing")
    data = load(rows(lambda row: f"{sign if row % 3 == 0 else 'ab'[row % 2]},{label(row)}"))
    assert data.spec.feature_names == (f"x={sign}", "x=a", "x=b")


def test_other_words_for_missing_numbers_are_named_and_can_be_passed(load: Load) -> None:
    text = rows(lambda row: f"{['tbd', 'not known', value(row)][min(row % 9, 2)]},{label(row)}")
    with pytest.raises(InputError, match=r"'tbd' \(7\), 'not known' \(7\).*--missing tbd 'not known'.*--category x"):
        load(text)
    assert load(text, missing=("tbd", "not known")).spec.feature_names == ("x", "x missing")
    assert len(load(text, category=("x",)).spec.feature_names) > 10


# -- classes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("1_10", "11_0", "2_1"),
        ("1", "01"),
        ("1", "1.0", "1e0"),
        ("0x1", "1"),
        ("12", "\uff11\uff12"),
        ("a", "A"),
        ("1,0", "10"),
        ("01", "02", "03"),
        ("nano", "nan1"),
    ],
)
def test_classes_are_the_same_only_if_they_are_written_the_same(load: Load, names: tuple[str, ...]) -> None:
    data = load(rows(lambda row: f'{value(row)},"{names[row % len(names)]}"'), task="classification")
    assert set(data.spec.class_names) == set(names)


def test_many_codes_are_classes(load: Load) -> None:
    data = load(rows(lambda row: f"{value(row)},{row % 29:03d}"))
    assert (data.spec.task, data.spec.outputs, data.spec.class_names[7]) == ("classification", 29, "007")


def test_coded_categories(load: Load) -> None:
    text = rows(lambda row: f"{('0', '1', '2', '3+')[row % 4]},{('9', '10', '11', 'K')[row % 4]}")
    with pytest.raises(InputError, match=r"2 errors: \(1\) column 'x'.*--category x.*\(2\) column 'y'.*--category y"):
        load(text)
    data = load(text, category=("x,y",))
    assert data.spec.feature_names == ("x=0", "x=1", "x=2", "x=3+")
    assert set(data.spec.class_names) == {"9", "10", "11", "K"}
    numbers = load(rows(lambda row: f"{row % 3},{label(row)}"), category=("x",))
    assert numbers.spec.feature_names == ("x=0", "x=1", "x=2")


def test_the_target_of_a_declared_classification_may_mix_numbers_and_words(load: Load) -> None:
    text = rows(lambda row: f"{value(row)},{('9', '10', '11', 'K')[row % 4]}")
    assert len(load(text, task="classification").spec.class_names) == 4


@pytest.mark.parametrize(
    ("target", "note"),
    [
        (lambda row: row % 5, "y is predicted as classes (--task regression or --task counts predicts numbers)"),
        (lambda row: row * 7 % 41, "y is predicted as a number (--task counts predicts counts)"),
    ],
)
def test_a_target_that_could_be_another_task(load: Load, target: Callable[[int], int], note: str) -> None:
    assert load(rows(lambda row: f"{value(row)},{target(row)}")).notes == (note,)


# -- columns that are left out -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("Unnamed: 0", lambda row: row),
        ("Unnamed: 0", lambda row: row % 30),
        ("n", lambda row: row),
        ("n", lambda row: row + 1),
        ("n", lambda row: ROWS - row),
        ("id", lambda row: row * 37 % 101),
        ("PassengerId", lambda row: 1000 + row * 7),
        ("row_number", lambda row: row + 17),
        ("#", lambda row: row + 17),
    ],
)
def test_row_numbers(load: Load, name: str, numbers: Callable[[int], int]) -> None:
    text = rows(lambda row: f"{numbers(row)},{value(row)},{'abc'[row // 20]}", f'"{name}",x,y')
    data = load(text)
    assert data.spec.feature_names == ("x",)
    assert name in data.notes[0]
    assert "--keep uses it" in data.notes[0]
    assert load(text, keep=(name,)).spec.feature_names == (name, "x")


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("year", lambda row: 1900 + row),
        ("humid", lambda row: row * 37 % 101),
        ("id", lambda row: row % 7),
        ("id", value),
        ("number", lambda row: row * 37 % 101),
        ("n", lambda row: 2 * row),
    ],
)
def test_numbers_that_are_not_row_numbers(load: Load, name: str, numbers: Callable[[int], float]) -> None:
    data = load(rows(lambda row: f"{numbers(row)},{value(row)},{label(row)}", f"{name},x,y"))
    assert (data.spec.feature_names, data.notes) == ((name, "x"), ())


def test_the_only_column_is_used_although_it_counts_the_rows(load: Load) -> None:
    data = load(rows(lambda row: f"{row},{label(row)}"))
    assert data.spec.feature_names == ("x",)
    assert data.notes == ("counts the rows, but there is no other column: x",)


def test_columns_can_be_kept(load: Load) -> None:
    text = rows(lambda row: f"7,person {row},{value(row)},{label(row)}", "c,who,x,y")
    data = load(text)
    assert data.spec.feature_names == ("x",)
    assert data.notes == (
        "left out because constant in the training rows: c",
        "left out because their words are nearly all different: who",
    )
    assert len(load(text, keep=("c,who",)).spec.feature_names) == 1 + 42 + 1
    with pytest.raises(InputError, match=r"--keep must name a column, but got 'whom'. Did you mean 'who'"):
        load(text, keep=("whom",))
    with pytest.raises(InputError, match=r"either dropped or used, but got who in both"):
        load(text, keep=("who",), drop=("who",))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(st.sampled_from(["1", "+1.50", "-.5", "5.", "1e3", "inf", " 7 ", *MISSING, ".", "-", "--", "gone"]))
    )
)
def test_the_fast_way_to_numbers_is_the_slow_way(fields: list[str]) -> None:
    """Columns whose values are all numbers are converted by Arrow; by the slow way each text is."""
    import pyarrow as pa

    spelling = table_columns.Spelling(missing=("gone",))
    column = pa.array(fields, type=pa.large_string())
    fast = table_columns._plain_numbers(column, spelling)
    words = table_columns.text_values(column, spelling)
    slow = [float("nan") if word is None or word in {".", "-", "--"} else float(word) for word in words]
    if fast is None:
        assert all(np.isnan(slow))
    else:
        np.testing.assert_array_equal(fast, slow)


# -- dates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("notation", ["%Y/%m/%d", "%d.%m.%Y", "%d-%b-%y", "%B %d, %Y", "%m/%d/%Y %H:%M", "%d/%m/%Y"])
def test_dates_are_numbers_with_a_note(load: Load, notation: str) -> None:
    days = pd.date_range("2012-01-01", periods=ROWS, freq="31h")
    data = load(rows(lambda row: f'"{days[row].strftime(notation)}",{label(row)}'))
    assert data.spec.feature_names == ("x",)
    assert data.notes == ("read as dates and times, in seconds: x",)
    expected = pd.to_datetime([day.strftime(notation) for day in days], format=notation)
    own = np.sort(np.concatenate([split.inputs[:].numpy()[:, 0] for split in (data.train, data.validation, data.test)]))
    seconds = np.sort((expected - pd.Timestamp(0)).total_seconds().to_numpy())
    np.testing.assert_allclose(np.corrcoef(own, seconds)[0, 1], 1.0)


def test_dates_that_can_be_read_both_ways(load: Load, unchecked: None) -> None:
    text = rows(lambda row: f"{row % 12 + 1:02}/{row % 11 + 1:02}/2012,{label(row)}")
    with pytest.raises(InputError, match=r"order of day and month in column 'x' must be clear.*--dates dayfirst"):
        load(text)
    assert load(text, dates="dayfirst").spec.feature_names == ("x",)
    with pytest.raises(InputError, match=r"dates must be dayfirst or monthfirst, but got 'first'"):
        DataOptions(dates="first")  # type: ignore[arg-type]


def test_some_words_among_dates(load: Load) -> None:
    text = rows(lambda row: f"{'later' if row % 9 == 0 else f'2012-01-{row % 28 + 1:02}'},{label(row)}")
    with pytest.raises(InputError, match=r"dates or words, not both, but got 7 of 60.*'later' \(7\).*--missing later"):
        load(text)
    assert load(text, missing=("later",)).spec.feature_names == ("x", "x missing")


# -- files ---------------------------------------------------------------------------------------------------------

PLAIN = rows(lambda row: f"{value(row)},{'ab'[row % 3 % 2]},{label(row)}", "x,w,y")
R_TABLE = rows(lambda row: f'"{row + 1}" {value(row)} "{"ab"[row % 3 % 2]}" "{label(row)}"', '"x" "w" "y"')
LAYOUTS = {
    "empty trailing columns": PLAIN.replace("\n", ",,\n"),
    "fields left empty in the rows": PLAIN.replace("\n", ",\n").replace("y,\n", "y\n", 1),
    "spaces": PLAIN.replace(",", " "),
    "runs of spaces": "  " + PLAIN.replace(",", "   ").replace("\n", " \n  "),
    "tabs and spaces": PLAIN.replace(",", " \t"),
    "names of rows without a header field": R_TABLE,
    "R's write.csv2": PLAIN.replace(",", ";").replace(".", ","),
    "sep=": "sep=;\n" + PLAIN.replace(",", ";"),
    "quoted sep=": '"sep=|"\n' + PLAIN.replace(",", "|"),
    "comments": "# made by hand\n#\n" + PLAIN.replace("0.5", "0.5", 1) + "# the end\n",
    "names in a comment": "# a table\n# " + PLAIN,
    "old Mac lines": PLAIN.replace("\n", "\r"),
    "quotes after spaces": rows(lambda row: f'{value(row)}, "{"ab"[row % 3 % 2]}", "{label(row)}"', "x, w, y"),
    "rows of separators": PLAIN + ",,\n,,\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_the_same_table(load: Load, layout: str) -> None:
    expected, data = load(PLAIN), load(LAYOUTS[layout])
    assert data.spec == expected.spec
    for split in ("train", "validation", "test"):
        own, other = getattr(data, split), getattr(expected, split)
        if layout != "rows of separators" or len(own):
            assert own.inputs[:].tolist() == other.inputs[:].tolist()
            assert own.targets.tolist() == other.targets.tolist()


@pytest.mark.parametrize("name", ["own.csv.gz", "own.csv.bz2", "own.tsv.xz", "own.csv.zip", "own.txt", "OWN.CSV.GZ"])
def test_compressed_files(tmp_path: Path, name: str) -> None:
    from motet.data import load

    content = PLAIN.encode()
    path = tmp_path / name
    if name.endswith(".zip"):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("own.csv", content)
        path.write_bytes(archive.getvalue())
    else:
        compress = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
        path.write_bytes(compress.get(path.suffix.lower(), bytes)(content))
    data = load(str(path), options=Y)
    assert (data.spec.name.lower(), data.spec.class_names, size(data)) == ("own", ("no", "yes"), ROWS)
    if path.suffix != ".txt":
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(InputError, match=r"must be a complete .* file"):
            load(str(path), options=Y)


def test_all_faults_are_named_at_once(load: Load) -> None:
    text = rows(
        lambda row: f"{'oops' if row == 3 else value(row)},{'inf' if row == 5 else value(row)},01/02/2012,{label(row)}",
        "a,b,d,y",
    )
    with pytest.raises(InputError) as caught:
        load(text)
    for fault in ("3 errors", "'oops' in row 4", "1 infinite, the first in row 6", "order of day and month"):
        assert fault in str(caught.value)


def test_all_wrong_options_are_named_at_once(load: Load) -> None:
    with pytest.raises(InputError, match=r"4 errors: \(1\) --drop.*'a'.*\(2\) --keep.*'b'.*'c'.*must be a column.*'z'"):
        load(rows(lambda row: f"{value(row)},{label(row)}"), drop=("a",), keep=("b", "c"), target="z")


# -- any spelling, against pandas ----------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: f"{number:.4f}"),
    st.floats(1e-9, 1e9).map(lambda number: f"{number:.3e}"),
    st.sampled_from(["+1.5", ".5", "5.", "-0", "1E3"]),
)
WORDS = st.text(st.sampled_from("abcxyzÄéß _,;|'\"\t-/#"), min_size=1, max_size=8).filter(
    lambda word: (
        any(map(str.isalpha, word)) and word.strip().lower() not in MISSING and not word.strip().startswith("#")
    )
)
GONE = st.sampled_from(["", "NA", "?", "null", "NaN", "#N/A", "None", "<NA>", "n/a"])


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, str, dict[str, list[str | None]]]:
    """A CSV text, its separator, and the fields of each column: text, or None if missing."""
    separator = draw(st.sampled_from(",;\t|"))
    count = draw(st.integers(2, 12))
    columns: dict[str, list[str | None]] = {}
    shown: dict[str, list[str]] = {}
    for place in range(draw(st.integers(2, 5))):
        name = f"c{place}"
        kind = draw(st.sampled_from([NUMBERS, WORDS]))
        columns[name], shown[name] = [], []
        for _ in range(count):
            missing = draw(st.integers(0, 5)) == 0
            text = draw(GONE if missing else kind)
            spaces = draw(st.sampled_from(["", "", " "]))
            quoted = draw(st.booleans()) or any(sign in text for sign in separator + '"\n' + "'")
            field = '"' + text.replace('"', '""') + '"' if quoted else f"{spaces}{text}{spaces}"
            columns[name].append(None if missing else " ".join(text.split()))
            shown[name].append(field)
    lines = [separator.join(columns)] + [separator.join(fields) for fields in zip(*shown.values(), strict=True)]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join(lines) + end, separator, columns


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables())
def test_any_table_is_read_as_pandas_reads_it(tmp_path: Path, drawn: tuple[str, str, dict[str, Any]]) -> None:
    text, separator, columns = drawn
    path = tmp_path / "own.csv"
    path.write_bytes(text.encode())
    file = TableFile(path)
    frame = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
    assert file.names == list(columns) == list(frame.columns)
    for place, (name, expected) in enumerate(columns.items()):
        by_pandas = [" ".join(each.split()) for each in frame[name]]
        by_pandas = [None if each.lower() in MISSING else each for each in by_pandas]
        assert by_pandas == expected
        texts = file.texts(place)
        assert texts is not None
        assert list(texts) == by_pandas
        numbers = pd.to_numeric(pd.Series(by_pandas, dtype=object), errors="coerce")
        if numbers.notna().sum() == sum(each is not None for each in by_pandas):
            np.testing.assert_allclose(file.read(place).values, numbers.astype(float).to_numpy(), rtol=1e-12)

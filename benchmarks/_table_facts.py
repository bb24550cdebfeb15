"""What motet's `Features` and scikit-learn's transformers do with odd tables, each fact found by a run."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow
from _table_ways import Blocks, Columns, Motet, made, one_hot
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from motet.data.sources.table_features import Features, _Categorical, _Numeric


def fitted(way: Any, columns: Columns) -> Any:
    way.fit(columns)
    return way


def words(*values: str | None) -> Any:
    return np.array(values, dtype=object)


def encoded(way: Any, train: Columns, other: Columns) -> list[list[float]]:
    values: list[list[float]] = fitted(way, train).encode(other).tolist()
    return values


NUMBER = np.array([1.0, 2.0, 3.0])
WORD = words("a", "b", "a")


def huge(way: Any) -> list[list[float]]:
    return encoded(way, {"n": 1e200 * NUMBER, "w": WORD}, {"n": 1e200 * NUMBER, "w": WORD})


def motet_from_json() -> bool:
    columns = made(100)
    way = fitted(Motet(), columns)
    text = json.dumps(dataclasses.asdict(way.features))
    stored = json.loads(text)
    parts = [
        _Categorical(part["name"], tuple(part["words"])) if "words" in part else _Numeric(**part)
        for part in stored["columns"]
    ]
    again = Features(tuple(parts), tuple(stored["constant"]))
    row = made(1, seed=2)
    return bool((again.encode(row) == way.features.encode(row)).all())


def sklearn_from_json() -> bool:
    columns, row = made(100), made(1, seed=2)
    way = fitted(Blocks(), columns)
    scaler, imputer = way.scaler
    text = json.dumps({
        "mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist(), "flags": imputer.indicator_.features_.tolist(),
        "words": [category.tolist() for category in way.encoder.categories_],
    })  # fmt: skip
    stored = json.loads(text)
    # No documented way leads back: attributes are set, and the others are fitted again on rows made up to suit.
    again = StandardScaler()
    again.mean_, again.scale_ = np.array(stored["mean"]), np.array(stored["scale"])
    again.n_features_in_ = len(again.mean_)
    rows = np.zeros((2, len(again.mean_)))
    rows[0, stored["flags"]] = np.nan
    flags = SimpleImputer(strategy="constant", fill_value=0.0, add_indicator=True).fit(rows)
    hot = [np.array(category, dtype=object) for category in stored["words"]]
    encoder = OneHotEncoder(categories=hot, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    encoder.fit(np.array([[category[0] for category in hot]], dtype=object))
    numbers = flags.transform(again.transform(way.block(row, way.numbers))).astype(np.float32)
    out = np.concatenate([numbers, encoder.transform(way.block(row, way.words))], axis=1)
    return bool((out == way.encode(row)).all())


def columns_of_arrow() -> bool:
    table = pyarrow.table({"n": NUMBER, "w": ["a", "b", "a"]})
    return bool(ColumnTransformer([("n", StandardScaler(), ["n"]), ("w", one_hot(), ["w"])]).fit(table))


MANY: Columns = {"n": np.arange(101.0), "w": words(*map(str, range(101)))}
TRAIN: Columns = {"n": NUMBER, "w": WORD}
FACTS: dict[str, Callable[[], object]] = {
    "motet_word_not_seen": lambda: encoded(Motet(), TRAIN, {"n": NUMBER[:1], "w": words("z")}),
    "sklearn_word_not_seen": lambda: encoded(Blocks(), TRAIN, {"n": NUMBER[:1], "w": words("z")}),
    "motet_word_missing_that_never_was": lambda: encoded(Motet(), TRAIN, {"n": NUMBER[:1], "w": words(None)}),
    "sklearn_word_missing_that_never_was": lambda: encoded(Blocks(), TRAIN, {"n": NUMBER[:1], "w": words(None)}),
    "motet_number_missing_that_never_was": lambda: encoded(Motet(), TRAIN, {"n": np.array([np.nan]), "w": words("a")}),
    "sklearn_number_missing_that_never_was": lambda: encoded(
        Blocks(), TRAIN, {"n": np.array([np.nan]), "w": words("a")}
    ),
    "motet_booleans": lambda: encoded(Motet(), TRAIN | {"n": NUMBER > 1}, TRAIN | {"n": NUMBER > 1}),
    "sklearn_booleans": lambda: encoded(Blocks(), TRAIN | {"n": NUMBER > 1}, TRAIN | {"n": NUMBER > 1}),
    "motet_names_with_a_constant_number_and_word": lambda: (
        fitted(Motet(), TRAIN | {"c": 0 * NUMBER + 0.1, "k": words("x", "x", "x")}).names
    ),
    "sklearn_names_with_a_constant_number_and_word": lambda: (
        fitted(Blocks(), TRAIN | {"c": 0 * NUMBER + 0.1, "k": words("x", "x", "x")}).names
    ),
    "motet_numbers_of_1e200": lambda: huge(Motet()),
    "sklearn_numbers_of_1e200": lambda: huge(Blocks()),
    "motet_number_beyond_float32": lambda: encoded(Motet(), TRAIN, {"n": np.array([1e60]), "w": words("a")}),
    "sklearn_number_beyond_float32": lambda: encoded(Blocks(), TRAIN, {"n": np.array([1e60]), "w": words("a")}),
    "motet_101_words": lambda: len(fitted(Motet(), MANY).names),
    "sklearn_101_words": lambda: len(fitted(Blocks(), MANY).names),
    "motet_through_json_and_one_row": motet_from_json,
    "sklearn_through_json_and_one_row": sklearn_from_json,
    "column_transformer_takes_a_pyarrow_table": columns_of_arrow,
}

"""From a table's columns to features: motet's `Features`, and scikit-learn's transformers set up to do the same."""

from typing import Any

import numpy as np
import pyarrow
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from motet.data.sources.table_features import Features

NUMBERS, MISSING = 8, 2
WORDS = (3, 10, 50)
Columns = dict[str, Any]


def made(rows: int, *, seed: int = 0) -> Columns:
    random = np.random.default_rng(seed)
    columns: Columns = {f"n{i}": random.normal(10.0 * i, 1.0 + i, rows) for i in range(NUMBERS)}
    for i in range(MISSING):
        columns[f"n{i}"][random.random(rows) < 0.1] = np.nan
    for count in WORDS:
        words = np.array([f"word {i:02}" for i in range(count)], dtype=object)
        columns[f"w{count}"] = words[random.integers(count, size=rows)]
    columns["w3"][random.random(rows) < 0.1] = None
    return columns


class Motet:
    def given(self, columns: Columns) -> Columns:
        return columns

    def fit(self, columns: Columns) -> None:
        self.features = Features.fit(columns)

    def encode(self, columns: Columns) -> Any:
        return self.features.encode(columns).numpy()

    @property
    def names(self) -> list[str]:
        return [name.replace(" missing", "?").replace("=(missing)", "=None") for name in self.features.names]


def numeric() -> Any:
    """StandardScaler leaves NaN, which becomes 0; a feature says so where the training rows have any."""
    return make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=0.0, add_indicator=True))


def one_hot() -> Any:
    return OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)


class Sklearn:
    """What both ways share: the names of scikit-learn's features, brought to motet's."""

    numbers: list[str]
    words: list[str]

    def named(self, scaler: Any, encoder: Any) -> list[str]:
        flags = [f"{self.numbers[i]}?" for i in scaler[1].indicator_.features_]
        words = zip(self.words, encoder.categories_, strict=True)
        return [*self.numbers, *flags, *(f"{name}={word}" for name, category in words for word in category)]


class Whole(Sklearn):
    def given(self, columns: Columns) -> Any:
        return pyarrow.table(columns)

    def fit(self, table: Any) -> None:
        types = pyarrow.types
        self.words = [field.name for field in table.schema if types.is_string(field.type)]
        self.numbers = [field.name for field in table.schema if field.name not in self.words]
        self.transformer = ColumnTransformer([("numbers", numeric(), self.numbers), ("words", one_hot(), self.words)])
        self.transformer.fit(table)

    def encode(self, table: Any) -> Any:
        return self.transformer.transform(table).astype(np.float32)

    @property
    def names(self) -> list[str]:
        parts = self.transformer.named_transformers_
        return self.named(parts["numbers"], parts["words"])


class Blocks(Sklearn):
    def given(self, columns: Columns) -> Columns:
        return columns

    def fit(self, columns: Columns) -> None:
        self.numbers = [name for name, column in columns.items() if column.dtype != object]
        self.words = [name for name, column in columns.items() if column.dtype == object]
        self.scaler = numeric().fit(self.block(columns, self.numbers))
        self.encoder = one_hot().fit(self.block(columns, self.words))

    def block(self, columns: Columns, names: list[str]) -> Any:
        return np.stack([columns[name] for name in names], axis=1)

    def encode(self, columns: Columns) -> Any:
        numbers = self.scaler.transform(self.block(columns, self.numbers)).astype(np.float32)
        return np.concatenate([numbers, self.encoder.transform(self.block(columns, self.words))], axis=1)

    @property
    def names(self) -> list[str]:
        return self.named(self.scaler, self.encoder)

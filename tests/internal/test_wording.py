"""The wording of messages."""

import pytest

from motet._internal.wording import with_article


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Linear", "a Linear"),
        ("Ensemble", "an Ensemble"),
        ("int", "an int"),
        ("objective", "an objective"),
        ("User", "a User"),
        ("NoneType", "a NoneType"),
        ("", "a "),
    ],
)
def test_the_first_letter_decides_the_article(name: str, expected: str) -> None:
    assert with_article(name) == expected

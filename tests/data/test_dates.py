"""Dates in the usual notations, against Python's own parser, and those that can be read both ways."""

from datetime import UTC, datetime

import pytest

from motet.data.formats.dates import is_date, seconds
from motet.errors import InputError

MOMENT = datetime(2020, 1, 23, 15, 4, 5, tzinfo=UTC)
DAYS = [
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y", "%d.%m.%y"),
    *("%m/%d/%y", "%d/%m/%y", "%d-%b-%y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%B %d, %Y", "%b %d, %Y", "%b %d %Y"),
    *("%Y-%b-%d", "%d%b%Y", "%a, %d %b %Y", "%A, %B %d, %Y", "%d/%b/%Y", "%b-%d-%Y"),
]
TIMES = ["%H:%M:%S", "%I:%M:%S %p", "%H:%M:%SZ", "%H:%M:%S+00:00", "%H:%M:%S.000"]


@pytest.mark.parametrize("notation", DAYS)
def test_days_and_moments(notation: str) -> None:
    day = MOMENT.replace(hour=0, minute=0, second=0)
    texts = [MOMENT.strftime(notation)] + [MOMENT.strftime(f"{notation} {time}") for time in TIMES]
    assert all(map(is_date, texts))
    assert seconds("d", texts, None) == [day.timestamp()] + [MOMENT.timestamp()] * len(TIMES)
    assert is_date(MOMENT.strftime(notation).upper())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-01-23T15:04:05+01:00", "2020-01-23T14:04:05"),
        ("2020-01-23T15:04:05-0530", "2020-01-23T20:34:05"),
        ("2020-01-23 15:04", "2020-01-23T15:04:00"),
        ("2020-01", "2020-01-01T00:00:00"),
        ("1974Q2", "1974-04-01T00:00:00"),
        ("1974-Q4", "1974-10-01T00:00:00"),
        ("Jan 2020", "2020-01-01T00:00:00"),
        ("1st February 2020", "2020-02-01T00:00:00"),
        ("1969-12-31", "1969-12-31T00:00:00"),
        ("31-Dec-69", "1969-12-31T00:00:00"),
        ("31-Dec-68", "2068-12-31T00:00:00"),
        ("0099-03-01", "0099-03-01T00:00:00"),
        ("2020-01-01 12:00 AM", "2020-01-01T00:00:00"),
        ("2020-01-01 12:00 PM", "2020-01-01T12:00:00"),
    ],
)
def test_single_dates(text: str, expected: str) -> None:
    assert is_date(text)
    assert seconds("d", [text], None) == [datetime.fromisoformat(f"{expected}+00:00").timestamp()]


def test_times_of_day() -> None:
    assert seconds("t", ["00:00", "09:05", "9:05:01", "11:59 pm"], None) == [0, 32700, 32701, 86340]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2020-13-01",
            "2020-02-30",
            "32/01/2020",
            "13/13/2020",
            "25:61",
            "13:00 PM",
            "2020",
            "20200123",
            "1.5",
            "may",
        ),
        *("Mayor 5", "12", "1-2", "3/4", "1.2.3.4", "v1.2.3", "555-1234", "10-20", "Q1 2020", "", "\u0661/\u0661/2020"),
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert not is_date(text)


def test_the_order_of_day_and_month() -> None:
    second_of_january = datetime(2020, 1, 2, tzinfo=UTC).timestamp()
    first_of_february = datetime(2020, 2, 1, tzinfo=UTC).timestamp()
    assert seconds("d", ["02/01/2020"], "dayfirst") == [second_of_january]
    assert seconds("d", ["02/01/2020"], "monthfirst") == [first_of_february]
    assert seconds("d", ["02/01/2020", "13/01/2020"], None)[0] == second_of_january
    assert seconds("d", ["02/01/2020", "01/13/2020"], None)[0] == first_of_february
    with pytest.raises(InputError, match=r"clear, but got .*'02/01/2020'. Pass --dates dayfirst or --dates monthfirst"):
        seconds("d", ["02/01/2020", "2020-01-13"], None)
    with pytest.raises(InputError, match=r"same order, but got '13/01/2020' and '01/13/2020'"):
        seconds("d", ["13/01/2020", "01/13/2020"], None)
    with pytest.raises(InputError, match=r"--dates monthfirst and '13/01/2020'. Pass --dates dayfirst"):
        seconds("d", ["13/01/2020"], "monthfirst")

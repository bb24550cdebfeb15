import copy
import pickle
from signal import SIGINT, SIGTERM

import pytest

from motet.errors import InputError, RunInterrupted, nearest


def test_an_input_error_is_one_line_with_its_three_parts() -> None:
    error = InputError("x must\nhold", got="a\n\n  b", fix="Do c")
    assert str(error) == "x must hold, but got a b. Do c."
    assert isinstance(error, ValueError)
    assert (error.requirement, error.got, error.fix) == ("x must\nhold", "a\n\n  b", "Do c")


def test_errors_survive_going_to_another_process() -> None:
    error = InputError("x must hold", got="y", fix="Do z")
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(twin) is InputError
        assert str(twin) == str(error)
        assert (twin.requirement, twin.got, twin.fix) == ("x must hold", "y", "Do z")
    stop = pickle.loads(pickle.dumps(RunInterrupted("stopped at step 3", SIGTERM)))
    assert str(stop) == "stopped at step 3"
    assert stop.signal is SIGTERM
    assert 128 + RunInterrupted("", SIGINT).signal == 130


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("mino", ["single", "mimo"], "Did you mean 'mimo'? Known: single, mimo"),
        ("MIMO", ["single", "mimo"], "Did you mean 'mimo'? Known: single, mimo"),
        ("small-cnn", ["small_cnn"], "Did you mean 'small_cnn'? Known: small_cnn"),
        ("zzz", ["single", "mimo"], "Known: single, mimo"),
        ("", ["a"], "Known: a"),
        ("x", [], "Known: none"),
    ],
)
def test_nearest(name: str, known: list[str], hint: str) -> None:
    assert nearest(name, known) == hint
    assert nearest(name, iter(known)) == hint

"""Files of tensors notice every change to what they say."""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from motet._internal.tensor_file import read_tensors, write_tensors

KEY = "motet.test"
ERRORS = (ValueError, LookupError, SafetensorError, TypeError, AttributeError)


def tensors() -> dict[str, torch.Tensor]:
    shared = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    return {
        "a.weight": shared,
        "a.tied": shared,
        "half": shared.to(torch.bfloat16),
        "number": torch.tensor(3),
        "empty": torch.zeros(0, 2),
        "mask": shared > 0,
        "transposed": shared.t(),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_tensors(tmp_path / "t", tensors(), {"best": float("inf"), "text": "ä", "rows": {"1": [0.1, None]}}, key=KEY)
    return tmp_path / "t"


def rewrite(path: Path, changed: dict[str, torch.Tensor] | None = None, **about: object) -> None:
    with safe_open(path, framework="pt") as file:
        plain = json.loads(file.metadata()[KEY])
    plain = {name: value for name, value in (plain | about).items() if value is not None}
    save_file(load_file(path) | (changed or {}), path, metadata={KEY: json.dumps(plain)})


def test_what_is_written_is_read(path: Path) -> None:
    about, found = read_tensors(path, key=KEY)
    assert about["best"] == float("inf")
    assert about["rows"] == {"1": [0.1, None]}
    assert found.keys() == tensors().keys()
    assert all(
        torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in tensors().items()
    )
    _, some = read_tensors(path, key=KEY, only=lambda name: name == "number")
    assert some.keys() == {"number"}


def test_equal_content_makes_equal_files(path: Path, tmp_path: Path) -> None:
    about = {"best": float("inf"), "text": "ä", "rows": {"1": [0.1, None]}}
    for name in ("second", "third", "fourth"):
        write_tensors(tmp_path / name, tensors(), about, key=KEY)
        assert (tmp_path / name).read_bytes() == path.read_bytes()


def test_every_single_flipped_bit_is_noticed_or_changes_nothing(path: Path) -> None:
    whole, (about, expected) = path.read_bytes(), read_tensors(path, key=KEY)
    bits = list(range(len(whole) * 8))
    draw = random.Random(0)
    noticed = 0
    for bit in draw.sample(bits, 1500) + bits[-8 * 60 :]:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(damaged))
        try:
            found_about, found = read_tensors(path, key=KEY)
        except ERRORS:
            noticed += 1
            continue
        # A space of the text became another one, for example.
        assert found_about == about
        assert found.keys() == expected.keys()
        assert all(
            torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in expected.items()
        )
    assert noticed > 1500


@pytest.mark.parametrize(
    "changed",
    [
        {"number": torch.tensor(4)},
        {"number": torch.tensor(3, dtype=torch.int32)},
        {"number": torch.tensor([3])},
        {"a.weight": torch.zeros(4, 3)},
        {"another": torch.zeros(1)},
        {"half": tensors()["half"].view(torch.int16)},
    ],
)
def test_another_value_type_shape_or_name_is_noticed(path: Path, changed: dict[str, torch.Tensor]) -> None:
    rewrite(path, changed)
    with pytest.raises(ValueError, match="changed or damaged"):
        read_tensors(path, key=KEY)


@pytest.mark.parametrize("about", [{"best": 1.0}, {"checksums": None}, {"new": 1}, {"text": None}])
def test_another_description_is_noticed(path: Path, about: dict[str, object]) -> None:
    rewrite(path, **about)
    with pytest.raises(ValueError, match="changed or damaged"):
        read_tensors(path, key=KEY)


def test_what_is_not_asked_for_is_not_checked(path: Path) -> None:
    rewrite(path, {"number": torch.tensor(4)})
    read_tensors(path, key=KEY, only=lambda name: name != "number")


def test_a_file_of_an_older_version_is_read(path: Path) -> None:
    rewrite(path, checksums=None, format=None)
    about, found = read_tensors(path, key=KEY)
    assert about["text"] == "ä"
    assert found.keys() == tensors().keys()


def test_another_kind_of_file_is_refused(path: Path) -> None:
    with pytest.raises(LookupError):
        read_tensors(path, key="motet.other")

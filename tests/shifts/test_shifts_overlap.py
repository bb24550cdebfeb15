"""Images that stand in two sets."""

import pytest
import torch

from motet import InputError
from motet.data import Split
from motet.shifts import overlapping, without_overlap


def split(inputs: torch.Tensor) -> Split:
    return Split(inputs=inputs, targets=torch.arange(len(inputs)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_equal_rows_are_found_and_dropped(dtype: torch.dtype) -> None:
    known = torch.randint(256, (50, 3, 4, 4)).to(dtype)
    fresh = torch.randint(256, (6, 3, 4, 4)).to(dtype)
    mixed = torch.cat((fresh[:2], known[7:8], fresh[2:5], known[:1].clone(), fresh[5:]))
    assert overlapping(mixed, known).nonzero().flatten().tolist() == [2, 6]
    nearly = known[:1].clone()
    nearly[0, 0, 0, 0] = 255 - nearly[0, 0, 0, 0]
    assert not overlapping(nearly, known).any()
    kept, dropped = without_overlap(split(mixed), split(known[:5]), split(known[5:]))
    assert dropped == 2
    assert torch.equal(kept.inputs, fresh)
    assert kept.targets.tolist() == [0, 1, 3, 4, 5, 7]


def test_views_are_compared_by_value() -> None:
    known = torch.randint(256, (5, 4, 4, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    assert overlapping(known.contiguous(), known).all()


def test_sets_that_cannot_overlap_or_do_so_wholly(unchecked: None) -> None:
    known = torch.randint(256, (5, 3, 4, 4), dtype=torch.uint8)
    with pytest.raises(InputError, match="the same shape and dtype"):
        overlapping(known, known.float())
    with pytest.raises(InputError, match="the same shape and dtype"):
        overlapping(known, known[:, :1])
    with pytest.raises(InputError, match="5 rows, which all occur in the other sets"):
        without_overlap(split(known), split(known))

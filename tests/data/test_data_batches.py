"""Batches: an order that depends on (seed, epoch) alone, and every row at its time."""

import pytest
import torch
from torch import Tensor

from motet.data import Split, batches, in_order, steps_per_epoch
from motet.errors import InputError


def numbered(rows: int) -> Split:
    """Rows whose inputs and targets both tell their number."""
    return Split(inputs=torch.arange(rows).float().view(-1, 1).expand(-1, 3), targets=torch.arange(rows))


def order(rows: int = 103, *, batch_size: int = 10, seed: int = 0, epoch: int = 0, skip: int = 0) -> list[list[int]]:
    every = batches(numbered(rows), batch_size=batch_size, seed=seed, epoch=epoch, skip=skip)
    return [targets.tolist() for _, targets in every]


def flat(batched: list[list[int]]) -> list[int]:
    return [row for batch in batched for row in batch]


def test_inputs_and_targets_stay_together_and_batches_are_whole() -> None:
    found = list(batches(numbered(103), batch_size=10, seed=0, epoch=0))
    assert len(found) == 10
    for inputs, targets in found:
        assert inputs.shape == (10, 3)
        assert torch.equal(inputs[:, 0].long(), targets)


def test_no_row_comes_twice_and_the_partial_batch_is_dropped() -> None:
    rows = flat(order())
    assert len(rows) == len(set(rows)) == 100
    assert sorted(flat(order(100))) == list(range(100))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    first = order(seed=3, epoch=2)
    torch.manual_seed(99)
    torch.rand(5)
    assert order(seed=3, epoch=2) == first


def test_seeds_and_epochs_give_different_orders_even_where_their_low_bits_agree() -> None:
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (0, 2), (2**32, 0), (0, 2**32), (2**64 - 1, 0), (2**32 + 1, 1)]
    orders = {tuple(flat(order(seed=seed, epoch=epoch))) for seed, epoch in pairs}
    assert len(orders) == len(pairs)


def test_the_order_is_the_same_everywhere() -> None:
    assert flat(order(12, batch_size=4, seed=7, epoch=1)) == [11, 3, 9, 1, 6, 2, 5, 4, 8, 0, 7, 10]


@pytest.mark.slow
def test_rows_are_shuffled_evenly() -> None:
    # Where row 0 lands over 2,000 epochs: each of 10 places about 200 times, standard deviation 13.
    places = torch.tensor([flat(order(10, batch_size=10, epoch=epoch)).index(0) for epoch in range(2_000)])
    assert int((places.bincount(minlength=10) - 200).abs().max()) < 60


def test_dropped_rows_come_in_other_epochs() -> None:
    seen = {row for epoch in range(8) for row in flat(order(19, batch_size=10, epoch=epoch))}
    assert seen == set(range(19))


@pytest.mark.parametrize("skip", [0, 1, 7, 10])
def test_skip_leaves_the_tail_of_the_same_epoch(skip: int) -> None:
    assert order(skip=skip) == order()[skip:]


def test_batches_come_from_the_splits_device() -> None:
    meta = numbered(10).to("meta")
    inputs, targets = next(iter(batches(meta, batch_size=4, seed=0, epoch=0)))
    assert inputs.device.type == targets.device.type == "meta"


def test_changing_a_batch_leaves_the_split_alone() -> None:
    split = Split(inputs=torch.zeros(4, 1), targets=torch.zeros(4, dtype=torch.long))
    for inputs, _ in batches(split, batch_size=2, seed=0, epoch=0):
        inputs.add_(1)
    assert not split.inputs.any()


def test_steps_per_epoch_counts_the_whole_batches() -> None:
    assert [steps_per_epoch(numbered(10), size) for size in (1, 3, 5, 6, 10)] == [10, 3, 2, 1, 1]


def test_a_batch_larger_than_the_split_names_both_numbers() -> None:
    match = "batch_size must be at most the 10 rows of the split, but got batch_size=11"
    with pytest.raises(InputError, match=match):
        batches(numbered(10), batch_size=11, seed=0, epoch=0)
    with pytest.raises(InputError, match=match):
        steps_per_epoch(numbered(10), 11)


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_needs_a_row(size: int) -> None:
    for call in (
        lambda: batches(numbered(10), batch_size=size, seed=0, epoch=0),
        lambda: in_order(numbered(10), size),
        lambda: steps_per_epoch(numbered(10), size),
    ):
        with pytest.raises(InputError, match=f"batch_size must be at least 1, but got batch_size={size}"):
            call()


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"skip": 11}, r"skip must lie in 0\.\.10.*skip=11"),
        ({"skip": -1}, "skip=-1"),
        ({"seed": -1}, "seed must lie in .*seed=-1"),
        ({"seed": 2**64}, "seed must lie in"),
        ({"epoch": -1}, "epoch must lie in .*epoch=-1"),
    ],
)
def test_numbers_out_of_range_are_refused_at_the_call(changed: dict[str, int], match: str) -> None:
    # No next(): the error must not wait for the first batch.
    with pytest.raises(InputError, match=match):
        batches(numbered(103), **({"batch_size": 10, "seed": 0, "epoch": 0} | changed))


@pytest.mark.parametrize("size", [1, 4, 10, 11, 100])
def test_in_order_covers_every_row_once(size: int) -> None:
    split = numbered(11)
    parts: list[tuple[Tensor, Tensor]] = list(in_order(split, size))
    assert torch.equal(torch.cat([inputs for inputs, _ in parts]), split.inputs)
    assert torch.equal(torch.cat([targets for _, targets in parts]), split.targets)
    assert all(len(targets) == size for _, targets in parts[:-1])

import math
from collections import Counter

import pytest
import torch
from torch import Generator, Tensor

from motet.errors import InputError
from motet.grouping import Permuted, Shared, Split


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def examples(unique: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets that say which example they are."""
    return torch.arange(unique).view(-1, 1, 1).expand(-1, 2, 3).float(), torch.arange(unique)


def test_shared_deals_the_batch_as_it_is() -> None:
    x, y = examples(5)
    batch = Shared().deal(x, y, members=3)
    assert batch.inputs is x
    assert not batch.distinct
    assert batch.targets_BM.tolist() == [[k, k, k] for k in range(5)]
    real = torch.randn(5, 2)
    assert torch.equal(Shared().deal(x, real, members=3).targets_BM, torch.stack([real] * 3, dim=1))
    assert Shared().deal(x[:1], y[:1], members=1).targets_BM.tolist() == [[0]]


@pytest.mark.parametrize(
    ("unique", "members", "parts"),
    [
        (6, 3, [[0, 1], [2, 3], [4, 5]]),
        (7, 3, [[0, 1, 2], [3, 4, 5], [6, 0, 1]]),
        (5, 4, [[0, 1], [2, 3], [4, 0], [1, 2]]),
        (2, 3, [[0], [1], [0]]),
        (1, 3, [[0], [0], [0]]),
        (3, 1, [[0, 1, 2]]),
    ],
)
def test_split_cuts_the_batch_in_as_many_parts_as_members(unique: int, members: int, parts: list[list[int]]) -> None:
    x, y = examples(unique)
    batch = Split().deal(x, y, members=members, generator=seeded())
    assert batch.distinct
    assert batch.inputs.shape == (len(parts[0]), members, 2, 3)
    assert batch.targets_BM.T.tolist() == parts
    assert batch.inputs[..., 1, 2].T.tolist() == parts
    real = Split().deal(x, torch.stack([y, -y], dim=1).float(), members=members)
    assert real.targets_BM[..., 1].T.tolist() == [[-k for k in part] for part in parts]


@pytest.mark.parametrize("unique", range(1, 12))
@pytest.mark.parametrize("members", range(1, 6))
def test_split_leaves_nothing_out_and_gives_no_member_an_example_twice(unique: int, members: int) -> None:
    parts = Split().deal(*examples(unique), members=members).targets_BM.T.tolist()
    assert {k for part in parts for k in part} == set(range(unique))
    assert all(len(set(part)) == len(part) for part in parts)
    assert sum(map(len, parts)) - unique < members


@pytest.mark.parametrize("unique", [1, 2, 7])
@pytest.mark.parametrize("repetition", [1, 4])
@pytest.mark.parametrize("rho", [0.0, 0.25, 0.6, 1.0])
@pytest.mark.parametrize("members", [1, 3])
def test_permuted_follows_the_paper(unique: int, repetition: int, rho: float, members: int) -> None:
    grouping = Permuted(batch_repetition=repetition, input_repetition=rho)
    indices = grouping.indices(unique, members=members, generator=seeded()).tolist()
    rows = unique * repetition
    assert len(indices) == rows
    permuted = int(rows * (1 - rho) + 1e-9)
    assert all(len(set(row)) == 1 for row in indices[permuted:])
    for member in range(members):
        column = [row[member] for row in indices]
        assert Counter(column) == dict.fromkeys(range(unique), repetition)
        # The permuted rows are a permutation of the same rows for every member.
        assert sorted(column[:permuted]) == sorted(row[0] for row in indices[:permuted])
    x, y = examples(unique)
    batch = grouping.deal(x, y, members=members, generator=seeded())
    assert batch.distinct
    assert batch.inputs.shape == (rows, members, 2, 3)
    assert batch.targets_BM.tolist() == indices
    assert batch.inputs[..., 0, 0].tolist() == indices
    assert batch.inputs[..., 1, 2].tolist() == indices


def test_members_have_permutations_of_their_own_the_first_included() -> None:
    indices = Permuted().indices(200, members=3, generator=seeded())
    # With independent permutations of n rows, two members agree in one row on average.
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert int((indices[:, one] == indices[:, other]).sum()) < 8
    generator = seeded()
    shuffled = torch.randperm(200, generator=generator)
    assert not torch.equal(indices[:, 0], shuffled)
    assert torch.equal(indices[:, 0], shuffled[torch.randperm(200, generator=generator)])


@pytest.mark.parametrize(
    ("unique", "repetition", "rho", "permuted"),
    [
        (10, 1, 0.9, 1),  # 10 * (1 - 0.9) is 0.9999999999999998 in floats
        (10, 1, 0.8, 2),
        (10, 1, 0.7, 3),
        (10, 10, 0.99, 1),
        (128, 4, 0.6, 204),  # int(204.8)
        (512, 2, 0.6, 409),  # int(409.6)
        (3, 1, 0.5, 1),  # int(1.5)
        (1, 1, 0.5, 0),
        (7, 1, 1.0, 0),
        (7, 1, 0.0, 7),
    ],
)
def test_the_fraction_is_exact(unique: int, repetition: int, rho: float, permuted: int) -> None:
    grouping = Permuted(batch_repetition=repetition, input_repetition=rho)
    # Forty members: rows that are permuted differ somewhere, rows that are not agree everywhere.
    indices = grouping.indices(unique, members=40, generator=seeded())
    agree = (indices == indices[:, :1]).all(dim=1)
    assert agree[permuted:].all()
    if permuted > 1:
        assert not agree[:permuted].any()


@pytest.mark.slow
@pytest.mark.parametrize("rows", range(1, 60))
def test_every_fraction_of_every_batch_is_exact(rows: int) -> None:
    for same in range(rows + 1):
        indices = Permuted(input_repetition=same / rows).indices(rows, members=40, generator=seeded())
        agree = int((indices == indices[:, :1]).all(dim=1).sum())
        assert agree == (rows if rows - same == 1 else same)  # a permutation of one row leaves it


def test_coincidences_have_the_papers_probability() -> None:
    # With rho = 0 two members see the same example in a row with probability b / n = 1 / u.
    unique, grouping, generator = 16, Permuted(batch_repetition=4), seeded()
    draws = [grouping.indices(unique, members=2, generator=generator) for _ in range(300)]
    share = torch.cat([(indices[:, 0] == indices[:, 1]).double() for indices in draws]).mean().item()
    rows = 300 * 64
    assert abs(share - 1 / unique) < 4 * math.sqrt(1 / unique * (1 - 1 / unique) / rows)


def test_the_generator_decides() -> None:
    grouping = Permuted(batch_repetition=2, input_repetition=0.5)
    one, same, other = (grouping.indices(20, members=2, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    before = torch.get_rng_state()
    grouping.indices(20, members=2, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    first = grouping.indices(20, members=2)
    torch.manual_seed(5)
    assert torch.equal(first, grouping.indices(20, members=2))


def test_one_generator_gives_another_grouping_each_time() -> None:
    generator = seeded()
    assert not torch.equal(*(Permuted().indices(20, members=2, generator=generator) for _ in range(2)))


def test_labels_stay_with_their_inputs() -> None:
    x, y = torch.randn(9, 4), torch.randn(9, 2)
    batch = Permuted(batch_repetition=3, input_repetition=0.4).deal(x, y, members=4, generator=seeded())
    pairs = {tuple(a): tuple(b) for a, b in zip(x.tolist(), y.tolist(), strict=True)}
    for inputs, targets in zip(
        batch.inputs.flatten(0, 1).tolist(), batch.targets_BM.flatten(0, 1).tolist(), strict=True
    ):
        assert pairs[tuple(inputs)] == tuple(targets)


@pytest.mark.parametrize("rho", [-0.1, 1.0001, math.nan, math.inf])
def test_input_repetition_lies_between_0_and_1(rho: float) -> None:
    with pytest.raises(InputError, match=r"input_repetition \(rho\) must lie in \[0, 1\]"):
        Permuted(input_repetition=rho)


@pytest.mark.parametrize("repetition", [0, -3])
def test_batch_repetition_is_at_least_1(repetition: int) -> None:
    with pytest.raises(InputError, match=f"batch_repetition={repetition}"):
        Permuted(batch_repetition=repetition)

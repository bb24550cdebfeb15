"""Mixed batches against loops over rows, and the distributions of what is drawn."""

import math
from collections import Counter

import pytest
import torch
from torch import Generator, Tensor

from motet.errors import InputError
from motet.grouping import Permuted
from motet.grouping.mixed import Mixed, _boxes, _masks
from motet.types import Batch, Progress


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def images(unique: int, size: tuple[int, int] = (8, 6)) -> tuple[Tensor, Tensor]:
    return torch.randn(unique, 2, *size, dtype=torch.float64), torch.arange(unique)


def deal(
    members: int, unique: int = 16, *, seed: int = 0, progress: Progress | None = None, **settings: float
) -> Batch:
    x, y = images(unique)
    return Mixed(**settings).deal(x, y, members=members, generator=seeded(seed), progress=progress)


@pytest.mark.parametrize("members", [2, 3])
@pytest.mark.parametrize("cut", [0.0, 1.0])
@pytest.mark.parametrize("alpha", [2.0, 0.3, 0.0, -1.0])
@pytest.mark.slow
def test_shares_and_weights_add_up(members: int, cut: float, alpha: float) -> None:
    batch = deal(members, cut_probability=cut, alpha=alpha)
    assert batch.distinct
    assert batch.mixing is not None
    assert batch.weights_BM is not None
    assert batch.inputs.shape == (64, members, 2, 8, 6)
    assert batch.mixing.shape == ((64, members, 8, 6) if cut else (64, members))
    assert (batch.mixing >= 0).all()
    torch.testing.assert_close(batch.mixing.sum(dim=1), torch.ones_like(batch.mixing[:, 0]), rtol=0, atol=1e-12)
    torch.testing.assert_close(batch.weights_BM.sum(dim=1), torch.full((64,), members).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("repetition", [1, 4])
def test_examples_are_dealt_as_in_mimo(members: int, repetition: int) -> None:
    x, y = images(5)
    for cut in (0.0, 1.0):
        mixed = Mixed(cut_probability=cut, batch_repetition=repetition, input_repetition=0.4)
        batch = mixed.deal(x, y, members=members, generator=seeded())
        other = Permuted(batch_repetition=repetition, input_repetition=0.4)
        expected = other.deal(x, y, members=members, generator=seeded())
        assert torch.equal(batch.inputs, expected.inputs)
        assert torch.equal(batch.targets_BM, expected.targets_BM)
        for column in batch.targets_BM.T.tolist():
            assert Counter(column) == dict.fromkeys(range(5), repetition)


def test_one_member_has_nothing_to_be_mixed_with() -> None:
    batch = deal(1, cut_probability=1.0)
    assert batch.mixing is None
    assert batch.weights_BM is None


@pytest.mark.parametrize("members", [2, 3, 5])
@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_shares_have_the_moments_of_a_dirichlet_distribution(members: int, alpha: float) -> None:
    shares = deal(members, 5000, cut_probability=0.0, alpha=alpha).mixing
    assert shares is not None
    variance = (members - 1) / (members**2 * (members * alpha + 1))
    error = math.sqrt(variance / 20000)
    torch.testing.assert_close(shares.mean(dim=0), torch.full((members,), 1 / members).double(), rtol=0, atol=5 * error)
    torch.testing.assert_close(shares.var(dim=0), torch.full((members,), variance).double(), rtol=0.06, atol=0)
    assert len(shares.unique(dim=0)) == len(shares)  # every row has its own


def test_equal_shares_for_an_alpha_of_0_or_less() -> None:
    for alpha in (0.0, -3.0):
        batch = deal(4, cut_probability=0.0, alpha=alpha)
        assert torch.equal(batch.mixing, torch.full((64, 4), 0.25).double())
        torch.testing.assert_close(batch.weights_BM, torch.ones(64, 4).double(), rtol=0, atol=1e-12)


def slow_mask(share: float, centre: tuple[int, int], height: int, width: int) -> list[list[float]]:
    """CutMix's box, pixel by pixel, as methods of this kind define it."""
    cut_height, cut_width = int(height * math.sqrt(share)), int(width * math.sqrt(share))
    top, bottom = max(0, centre[0] - cut_height // 2), min(height, centre[0] + cut_height // 2)
    left, right = max(0, centre[1] - cut_width // 2), min(width, centre[1] + cut_width // 2)
    return [[float(top <= i < bottom and left <= j < right) for j in range(width)] for i in range(height)]


@pytest.mark.parametrize("members", [2, 3, 4])
@pytest.mark.parametrize("size", [(8, 6), (5, 5), (1, 1), (1, 7)])
def test_masks_equal_a_loop_over_pixels(members: int, size: tuple[int, int]) -> None:
    shares = torch.distributions.Dirichlet(torch.full((members,), 2.0).double()).sample((20,))
    shares[0] = 1.0 / members
    shares[1] = torch.eye(members)[0]  # nothing left for the others
    shares[2] = torch.eye(members)[1]
    centres = [[int(c) for c in torch.randint(length, (20,), generator=seeded(1))] for length in size]
    corners, generator = _boxes(shares[:, 0], *size, seeded(1)), seeded(1)
    drawn = [torch.randint(length, (20,), generator=generator).tolist() for length in size]
    masks = _masks(shares, corners, *size)
    assert centres[0] == drawn[0]
    for row in range(20):
        inside = slow_mask(float(shares[row, 0]), (drawn[0][row], drawn[1][row]), *size)
        rest = sum(float(share) for share in shares[row, 1:])
        for i in range(size[0]):
            for j in range(size[1]):
                assert masks[row, 0, i, j] == inside[i][j]
                for m in range(1, members):
                    part = float(shares[row, m]) / rest if rest else 1 / (members - 1)
                    assert masks[row, m, i, j].item() == pytest.approx((1 - inside[i][j]) * part, abs=1e-12)


def test_boxes_by_hand() -> None:
    # A quarter of 8 x 8 has sides of 4. Whatever leaves the image is cut off.
    seen = set()
    for seed in range(300):
        top, bottom, left, right = _boxes(torch.tensor([0.25]), 8, 8, seeded(seed))[0].tolist()
        seen.add((top, bottom))
        assert 0 <= left < right <= 8
    assert seen == {(0, 2), (0, 3), (0, 4), (1, 5), (2, 6), (3, 7), (4, 8), (5, 8)}
    # Odd sides lose a pixel, as in CutMix: 0.4 of 8 x 8 has int(5.06) = 5, half of which is 2.
    assert {tuple(_boxes(torch.tensor([0.4]), 8, 8, seeded(s))[0, :2].tolist()) for s in range(99)} == seen
    assert _boxes(torch.tensor([0.0]), 8, 8, seeded())[0].diff()[[0, 2]].tolist() == [0, 0]


def test_the_mean_area_of_boxes() -> None:
    # A side of s pixels around a centre that may be any of n pixels loses h (h + 1) / 2 of them at the lower border and
    # h (h - 1) / 2 at the upper one, h being s // 2, so that it has 2 h - h^2 / n on average.
    n, rows = 32, 40000
    for share in (0.1, 0.3, 0.6):
        corners = _boxes(torch.full((rows,), share), n, n, seeded(3)).double()
        sides = corners[:, [1, 3]] - corners[:, [0, 2]]
        half = int(n * math.sqrt(share)) // 2
        expected = 2 * half - half**2 / n
        error = sides.std(dim=0) / math.sqrt(rows)
        assert ((sides.mean(dim=0) - expected).abs() < 5 * error).all()
        area = (sides[:, 0] * sides[:, 1]).mean() / n**2
        assert abs(area - (expected / n) ** 2) < 0.01
        assert area < share


@pytest.mark.parametrize("members", [2, 3])
def test_who_is_in_the_box_is_drawn_once_a_step_and_shares_follow_the_mask(members: int) -> None:
    in_box = Counter()
    for seed in range(60):
        batch = deal(members, 4, seed=seed, cut_probability=1.0)
        assert batch.mixing is not None
        ones = batch.mixing == 1
        boxes = (ones.any(dim=3).unsqueeze(3) & ones.any(dim=2).unsqueeze(2)) == ones  # one rectangle each
        binary = ones | (batch.mixing == 0)
        (member,) = (boxes & binary).flatten(2).all(dim=2).all(dim=0).nonzero().flatten().tolist()
        in_box[member] += 1
        lambda_BM = batch.mixing.flatten(2).mean(dim=2)
        rooted = [[float(share) ** (1 / 3) for share in row] for row in lambda_BM]
        expected = [[members * value / sum(row) for value in row] for row in rooted]
        torch.testing.assert_close(batch.weights_BM, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
    assert all(in_box[m] > 8 for m in range(members))


def test_a_box_has_its_own_size_and_place_in_every_row() -> None:
    batch = deal(2, cut_probability=1.0)
    assert batch.mixing is not None
    assert len(batch.mixing[:, 0].flatten(1).unique(dim=0)) > 20
    assert len(batch.mixing.flatten(2).mean(dim=2).unique(dim=0)) > 8


@pytest.mark.parametrize(("root", "expected"), [(1.0, [0.25, 0.75]), (2.0, [0.5, math.sqrt(0.75)])])
def test_weights_by_hand(root: float, expected: list[float]) -> None:
    weights = Mixed(weight_root=root).weights(torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.0, 1.0]]))
    first = [2 * value / sum(expected) for value in expected]
    torch.testing.assert_close(weights, torch.tensor([first, [1.0, 1.0], [0.0, 2.0]]))


def test_the_probability_of_a_cut_falls_at_the_end() -> None:
    mixed = Mixed(cut_probability=0.4)
    assert mixed.cut_probability_at(None) == 0.4
    for epoch, expected in [(0.0, 0.4), (6.0, 0.4), (10.9, 0.4), (11.0, 0.4), (11.5, 0.2), (11.75, 0.1), (12.0, 0.0)]:
        progress = Progress(epoch=epoch, epochs=12)
        assert mixed.cut_probability_at(progress) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("progress", "expected"), [(None, 0.5), (Progress(epoch=11.5, epochs=12), 0.25)])
@pytest.mark.slow
def test_steps_cut_as_often_as_they_should(progress: Progress | None, expected: float) -> None:
    steps = 400
    cuts = sum(deal(2, 1, seed=seed, progress=progress).mixing.ndim == 4 for seed in range(steps))
    assert abs(cuts / steps - expected) < 4 * math.sqrt(expected * (1 - expected) / steps)
    end = Progress(epoch=12.0, epochs=12)
    assert all(deal(2, 1, seed=seed, progress=end, cut_probability=1.0).mixing.ndim == 2 for seed in range(20))


def test_the_generator_decides() -> None:
    for cut in (0.0, 0.5, 1.0):
        one, same, other = (deal(3, seed=seed, cut_probability=cut) for seed in (1, 1, 2))
        assert torch.equal(one.mixing, same.mixing)
        assert torch.equal(one.weights_BM, same.weights_BM)
        assert one.mixing.shape != other.mixing.shape or not torch.equal(one.mixing, other.mixing)
    x, y = images(4)
    before = torch.get_rng_state()
    Mixed(cut_probability=1.0).deal(x, y, members=3, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    first = Mixed().deal(x, y, members=2)
    torch.manual_seed(5)
    assert torch.equal(first.mixing, Mixed().deal(x, y, members=2).mixing)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.slow
def test_types_and_devices(dtype: torch.dtype) -> None:
    for cut in (0.0, 1.0):
        for device in ("cpu", "meta"):
            x, y = torch.zeros(3, 1, 4, 4, dtype=dtype, device=device), torch.zeros(3, dtype=torch.long, device=device)
            batch = Mixed(cut_probability=cut).deal(x, y, members=3)
            for value in (batch.mixing, batch.weights_BM):
                assert value.dtype == (dtype if dtype.itemsize > 2 else torch.float32)
                assert value.device.type == device


def test_vectors_are_mixed_linearly_and_cannot_be_cut() -> None:
    x, y = torch.randn(3, 4), torch.arange(3)
    assert Mixed(cut_probability=0.0).deal(x, y, members=2).mixing.shape == (12, 2)
    assert Mixed(cut_probability=0.5).deal(x, y, members=1).mixing is None
    for inputs in (x, x.unsqueeze(1), torch.randn(3, 1, 2, 2, 2)):
        with pytest.raises(InputError, match=r"needs images.*cut_probability=0"):
            Mixed(cut_probability=0.5).deal(inputs, y, members=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": math.nan}, "alpha=nan"),
        ({"alpha": math.inf}, "alpha=inf"),
        ({"cut_probability": -0.1}, "cut_probability=-0.1"),
        ({"cut_probability": 1.1}, "cut_probability=1.1"),
        ({"cut_probability": math.nan}, "cut_probability=nan"),
        ({"weight_root": 0.0}, "weight_root=0"),
        ({"weight_root": -1.0}, "weight_root=-1"),
        ({"weight_root": math.inf}, "weight_root=inf"),
        ({"batch_repetition": 0}, "batch_repetition=0"),
        ({"input_repetition": 2.0}, "input_repetition=2"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str, unchecked: None) -> None:
    with pytest.raises(InputError, match=message):
        Mixed(**settings)

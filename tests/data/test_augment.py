"""Augmentation against loops over rows, and its laws."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

from motet.data import Augmentation, DataSpec
from motet.data.augment import cutmix, cutout, mixup, random_crop, random_flip, step_seed
from motet.errors import InputError
from motet.grouping import Grouping, Permuted, Shared, augment_dealt
from motet.grouping.mixed import Mixed

SPEC = DataSpec(name="images", input_shape=(3, 8, 6), outputs=4, task="classification", mean=(0.5,), std=(0.25,))


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def images(rows: int = 40) -> Tensor:
    return torch.randint(256, (rows, 3, 8, 6), dtype=torch.uint8, generator=generator(7))


@pytest.mark.parametrize(("padding", "mode"), [("zeros", "constant"), ("reflect", "reflect")])
def test_every_crop_is_a_window_of_the_padded_image(padding: str, mode: Any) -> None:
    x = images()
    cropped = random_crop(x, 2, padding=padding, generator=generator())
    assert cropped.dtype == torch.uint8
    places = set()
    for row, window in zip(x, cropped, strict=True):
        pad = [(0, 0), (2, 2), (2, 2)]
        padded = torch.from_numpy(np.pad(row.numpy(), pad, mode=mode))
        found = [(t, k) for t in range(5) for k in range(5) if torch.equal(padded[:, t : t + 8, k : k + 6], window)]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 10
    assert {t for t, _ in places} == {k for _, k in places} == set(range(5))


def test_half_of_the_rows_are_mirrored_whole() -> None:
    x = images(400)
    flipped = random_flip(x, generator())
    mirrored = [torch.equal(a.flip(-1), b) for a, b in zip(x, flipped, strict=True)]
    assert all(m or torch.equal(a, b) for m, a, b in zip(mirrored, x, flipped, strict=True))
    assert 150 < sum(mirrored) < 250


def test_cutout_blanks_a_square_that_may_reach_over_the_border() -> None:
    blank = cutout(torch.ones(500, 3, 8, 6), 4, generator()) == 0
    assert torch.equal(blank.any(dim=1), blank.all(dim=1)), "every channel alike"
    areas = blank[:, 0].sum(dim=(1, 2))
    assert int(areas.max()) == 16
    assert int(areas.min()) == 4  # a corner: two rows and two columns are inside
    for mask in blank[:, 0]:
        rows, columns = mask.any(dim=1).nonzero().flatten(), mask.any(dim=0).nonzero().flatten()
        assert int(mask.sum()) == len(rows) * len(columns)
    hit = blank[:, 0].float().mean(dim=0)
    assert float(hit.min()) > 0


def test_mixup_mixes_inputs_and_targets_alike() -> None:
    x = F.one_hot(torch.arange(30), 30).float().view(30, 1, 5, 6)
    targets = torch.eye(30)
    mixed, mixed_targets = mixup(x, targets, 1.0, generator())
    torch.testing.assert_close(mixed.flatten(1), mixed_targets)
    torch.testing.assert_close(mixed_targets.sum(dim=1), torch.ones(30))
    assert len(set(mixed_targets.diagonal().tolist())) > 20, "each row has a share of its own"


def test_cutmix_takes_a_box_and_its_share_of_pixels() -> None:
    x = torch.arange(30.0).view(30, 1, 1, 1).expand(30, 2, 10, 10).clone()
    mixed, targets = cutmix(x, torch.eye(30), 1.0, generator())
    for row in range(30):
        foreign = mixed[row, 0] != row
        share = float(foreign.float().mean())
        assert float(targets[row, row]) == pytest.approx(1 - share, abs=1e-6)
        if share:
            (partner,) = mixed[row, 0][foreign].unique().tolist()
            assert float(targets[row, int(partner)]) == pytest.approx(share, abs=1e-6)
            box = [mask.nonzero().flatten() for mask in (foreign.any(dim=1), foreign.any(dim=0))]
            assert int(foreign.sum()) == len(box[0]) * len(box[1])
    assert torch.equal(mixed[:, 0], mixed[:, 1])


def test_normalisation_comes_after_padding_and_before_cutout() -> None:
    x = torch.full((50, 3, 8, 6), 255, dtype=torch.uint8)
    everything = Augmentation(crop=3, cutout=4).bind(SPEC, generator())
    prepared, _ = everything(x, torch.zeros(50, dtype=torch.long))
    assert set(prepared.unique().tolist()) == {-2.0, 0.0, 2.0}  # black padding, the cut square, white


def test_a_seed_repeats_every_draw() -> None:
    settings = Augmentation(crop=2, flip=True, cutout=3, mixup=0.3, cutmix=1.0, mix_probability=0.7)
    y = torch.arange(40) % 4

    def once(seed: int) -> tuple[Tensor, Tensor]:
        return settings.bind(SPEC, generator(seed))(images(), y)

    for seed in range(6):
        assert all(torch.equal(a, b) for a, b in zip(once(seed), once(seed), strict=True))
    assert not torch.equal(once(0)[0], once(1)[0])


def test_both_mixtures_and_none_take_their_turns() -> None:
    y = torch.arange(40) % 4
    kinds = set()
    for seed in range(60):
        _, targets = Augmentation(mixup=1.0, cutmix=1.0, mix_probability=0.6).bind(SPEC, generator(seed))(images(), y)
        shares = targets[targets > 0]
        pixels = shares * 48
        whole = bool(((pixels - pixels.round()).abs() < 1e-4).all())
        kinds.add("none" if bool((shares == 1).all()) else "cutmix" if whole else "mixup")
    assert kinds == {"none", "cutmix", "mixup"}


def test_steps_have_seeds_of_their_own() -> None:
    seeds = {step_seed(seed, epoch, step) for seed in (0, 2**64 - 1) for epoch in range(20) for step in range(50)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert step_seed(3, 1, 4) == step_seed(3, 1, 4)


@pytest.mark.parametrize(
    "grouping", [Shared(), Permuted(batch_repetition=3), Mixed(batch_repetition=2, cut_probability=0.0)]
)
def test_rows_of_members_are_augmented_by_themselves(grouping: Grouping) -> None:
    x, y = torch.arange(8.0).view(8, 1), torch.arange(8)
    batch = grouping.deal(x, y, members=2, generator=generator())
    counted = iter(range(1000))

    def augment(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.tensor([next(counted) / 1000 for _ in a]).view(-1, 1)
        return a + noise, F.one_hot(b, 8).float()

    changed = augment_dealt(batch, augment)
    assert changed.inputs.shape == batch.inputs.shape
    assert torch.equal(changed.targets_BM.argmax(dim=-1), batch.targets_BM)
    assert torch.equal(changed.inputs.long(), batch.inputs.long())
    assert len(set(changed.inputs.flatten().tolist())) == changed.inputs.numel()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"crop": -1}, "crop must not be negative"),
        ({"cutout": -1}, "cutout must not be negative"),
        ({"padding": "reflct"}, "Did you mean 'reflect'"),
        ({"mixup": -0.5}, "mixup must be finite"),
        ({"cutmix": float("inf")}, "cutmix must be finite"),
        ({"resized_crop": 1.5}, "resized_crop must lie"),
        ({"mix_probability": -0.1}, "mix_probability must lie"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        Augmentation(**wrong)


@pytest.mark.parametrize(
    ("settings", "spec", "match"),
    [
        ({"flip": True}, {"input_shape": (8,), "mean": (), "std": ()}, r"needs images.*inputs of shape \(8,\)"),
        ({"crop": 6, "padding": "reflect"}, {}, "smaller than the image, but got crop=6 for 8x6 pixels"),
        ({"mixup": 1.0}, {"task": "regression"}, "mixup and cutmix need classes"),
        ({"resized_crop": 0.1}, {}, "needs images that are streamed from files"),
    ],
)
def test_data_that_cannot_be_augmented(settings: dict[str, Any], spec: dict[str, Any], match: str) -> None:
    known = {"name": "images", "input_shape": (3, 8, 6), "outputs": 4, "task": "classification"}
    with pytest.raises(InputError, match=match):
        Augmentation(**settings).check(DataSpec(**(known | spec)), streamed=False)

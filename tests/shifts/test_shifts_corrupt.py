"""`corrupt` for all corruptions: reproducible, monotone, of the right shape, and clear about what it cannot take."""

from itertools import pairwise

import pytest
import torch
from slow_corruptions import photographs
from torch import Tensor

from motet import InputError
from motet.shifts import CORRUPTIONS, SETS, SEVERITIES, corrupt, corruptions

NINETEEN = SETS["cifar-c-19"]
RANDOM = (
    "gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog",
    "elastic_transform", "speckle_noise", "spatter", "mimmo_translation",
)  # fmt: skip


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.slow
def test_an_image_is_corrupted_alike_in_every_batch(name: str, images: Tensor) -> None:
    for severity in (2, 4):
        whole = corrupt(images, name, severity=severity, seed=3)
        assert torch.equal(corrupt(images, name, severity=severity, seed=3), whole)
        index = torch.tensor([2, 0])
        assert torch.equal(corrupt(images[index], name, severity=severity, seed=3, index=index), whole[index])


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.slow
def test_seed_and_index_matter_where_chance_does(name: str, images: Tensor) -> None:
    twice = images[:1].repeat(2, 1, 1, 1)
    for severity in (3, 5):
        first, second = corrupt(twice, name, severity=severity)
        other = corrupt(images[:1], name, severity=severity, seed=1)[0]
        if name in RANDOM:
            others = [corrupt(images[:1], name, severity=severity, seed=seed)[0] for seed in range(1, 5)]
            assert any(not torch.equal(first, other) for other in [second, *others])
        else:
            assert torch.equal(first, second)
            assert torch.equal(first, other)


# Where a constant that does the harm grows with severity, and nothing that weakens it changes against it.
MONOTONE = {
    "cifar": (
        "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "motion_blur", "zoom_blur", "snow", "fog",
        "brightness", "contrast", "pixelate", "jpeg_compression", "speckle_noise", "gaussian_blur",
    ),
    "imagenet": (
        "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "motion_blur", "zoom_blur",
        "brightness", "contrast", "pixelate", "jpeg_compression", "speckle_noise", "gaussian_blur",
    ),
    "mimmo": ("mimmo_translation", "mimmo_brightness", "mimmo_contrast", "mimmo_scale"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "name"), [(source, name) for source, names in MONOTONE.items() for name in names])
@pytest.mark.slow
def test_the_mean_absolute_change_grows_with_severity(source: str, name: str) -> None:
    x = photographs(24, 3, 32, 32) if source != "imagenet" else photographs(4, 3, 96, 96)
    constants = None if source == "mimmo" else source
    change = [
        float((corrupt(x, name, severity=severity, constants=constants).float() - x.float()).abs().mean())
        for severity in SEVERITIES
    ]
    # Motion blur's radius alone grows from severity 3 to 4, and the Gaussian has ended before either.
    slack = 0.98 if name == "motion_blur" else 1.0
    assert all(after > slack * before for before, after in pairwise(change))
    assert change[4] > change[0] > 0


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_shapes_dtype_and_input_left_alone(name: str) -> None:
    for shape in ((2, 1, 28, 28), (1, 3, 64, 64), (2, 3, 20, 36), (1, 1, 4, 4)):
        x = photographs(*shape)
        before = x.clone()
        out = corrupt(x, name, severity=5)
        assert out.shape == x.shape
        assert out.dtype == torch.uint8
        assert out.is_contiguous()
        assert torch.equal(x, before)
        strided = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # channels last in memory
        assert torch.equal(corrupt(strided, name, severity=5), out)


@pytest.mark.parametrize("name", ["glass_blur", "frost", "elastic_transform", "zoom_blur"])
def test_large_images_take_imagenets_constants(name: str) -> None:
    x = photographs(1, 3, 224, 224)
    assert torch.equal(corrupt(x, name, severity=4), corrupt(x, name, severity=4, constants="imagenet"))
    assert not torch.equal(corrupt(x, name, severity=4), corrupt(x, name, severity=4, constants="cifar"))


@pytest.mark.parametrize("name", NINETEEN)
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_images(name: str, level: int) -> None:
    """0 / 0 is near: no hue, no contrast, no brightest value."""
    x = torch.full((1, 3, 16, 16), level, dtype=torch.uint8)
    for severity in SEVERITIES:
        out = corrupt(x, name, severity=severity)
        if name in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "contrast", "gaussian_blur", "pixelate"):
            assert torch.equal(out, x)  # a mean of equal values is that value, truncated or not


def test_many_images_are_corrupted_in_parts(images: Tensor) -> None:
    many = images.repeat(70, 1, 1, 1)  # more than are worked on at once
    out = corrupt(many, "gaussian_noise", severity=2)
    assert torch.equal(out[200:], corrupt(many[200:], "gaussian_noise", severity=2, index=torch.arange(200, 210)))


def test_glass_blur_copies_chains_as_the_walk_does() -> None:
    # tested against the walk itself in test_shifts_references; here that no value is invented
    x = torch.arange(4096).remainder(251).to(torch.uint8).view(1, 1, 64, 64)
    from motet.shifts import Draws
    from motet.shifts.glass_blur import glass_blur

    out = glass_blur(x, Draws(seed=0, index_B=torch.tensor([0]), stream="glass"), 0.0, 4.0, 2.0)
    assert set(out.flatten().tolist()) <= set(x.flatten().tolist())
    assert not torch.equal(out, x)


def test_the_catalogue() -> None:
    assert len(SETS["cifar-c"]) == 15
    assert len(NINETEEN) == 19
    assert NINETEEN[:15] == SETS["cifar-c"]
    assert len(SETS["mimmo"]) == 5
    assert sorted({*NINETEEN, *SETS["mimmo"]}) == sorted(CORRUPTIONS)
    for name, each in CORRUPTIONS.items():
        assert each.name == name
        assert all(len(levels) == 5 for levels in each.levels.values())
    assert [each.name for each in corruptions("mimmo")] == list(SETS["mimmo"])
    assert [each.name for each in corruptions("fog")] == ["fog"]
    with pytest.raises(InputError, match="Did you mean 'cifar-c'"):
        corruptions("cifarc")
    with pytest.raises(InputError, match="Known: cifar-c, "):
        corruptions("amble")


@pytest.mark.usefixtures("unchecked")
class TestBadInput:
    good = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)

    def refused(self, match: str, images: Tensor | None = None, name: str = "fog", **more: object) -> None:
        with pytest.raises(InputError, match=match):
            corrupt(self.good if images is None else images, name, **{"severity": 1, **more})  # type: ignore[arg-type]

    def test_float_images(self) -> None:
        self.refused("images must be uint8.*float32.*to\\(torch.uint8\\)", torch.rand(2, 3, 8, 8))

    @pytest.mark.parametrize("shape", [(2, 2, 8, 8), (2, 4, 8, 8), (3, 8, 8), (2, 3, 8, 8, 1)])
    def test_channels_and_axes(self, shape: tuple[int, ...]) -> None:
        self.refused("must have shape \\(batch, channels", torch.zeros(shape, dtype=torch.uint8))

    def test_channels_last(self) -> None:
        self.refused("permute\\(0, 3, 1, 2\\)", torch.zeros(2, 8, 8, 3, dtype=torch.uint8))

    def test_too_small(self) -> None:
        self.refused("at least 4 pixels", torch.zeros(2, 3, 3, 8, dtype=torch.uint8))

    def test_no_images(self) -> None:
        self.refused("at least one image", self.good[:0])

    @pytest.mark.parametrize("severity", [0, 6, -1, 2.5, True, "3"])
    def test_severity(self, severity: object) -> None:
        self.refused("severity must be an integer from 1 to 5", severity=severity)

    def test_unknown_name(self) -> None:
        self.refused("Did you mean 'gaussian_noise'", name="gausian-noise")

    def test_unknown_constants(self) -> None:
        self.refused("constants must be one of cifar, imagenet", constants="tiny")

    def test_index(self) -> None:
        self.refused("index must hold an integer for each of the 2", index=torch.arange(3))
        self.refused("index must hold an integer for each", index=torch.rand(2))

    def test_seed(self) -> None:
        self.refused("seed must lie in", seed=-1)

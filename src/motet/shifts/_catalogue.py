"""The corruptions by name, and sets of them."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from jaxtyping import Int64, Shaped, UInt8
from torch import Tensor

from motet.errors import InputError, nearest
from motet.shifts import blur, colour, digital, elastic, fog, frost, glass_blur, mimmo, motion, noise, snow, spatter
from motet.shifts._corruption import Constants, Corruption, Family, apply

Levels = tuple[tuple[float, ...], ...]


def _made(  # noqa: PLR0917  (a table's columns)
    name: str, family: Family, function: object, cifar: Levels, imagenet: Levels | None, description: str
) -> Corruption:
    assert callable(function)
    levels = {"mimmo": cifar} if imagenet is None else {"cifar": cifar, "imagenet": imagenet}
    return Corruption(
        name=name, family=family, description=description, apply=function, levels=MappingProxyType(levels)
    )


_ALL = (
    _made("gaussian_noise", "noise", noise.gaussian_noise, noise.GAUSSIAN_CIFAR, noise.GAUSSIAN_IMAGENET,
          "normal noise on every value"),
    _made("shot_noise", "noise", noise.shot_noise, noise.SHOT_CIFAR, noise.SHOT_IMAGENET,
          "Poisson noise, as from few photons"),
    _made("impulse_noise", "noise", noise.impulse_noise, noise.IMPULSE_CIFAR, noise.IMPULSE_IMAGENET,
          "salt and pepper"),
    _made("defocus_blur", "blur", blur.defocus_blur, blur.DEFOCUS_CIFAR, blur.DEFOCUS_IMAGENET,
          "out of focus: blurred with a disk"),
    _made("glass_blur", "blur", glass_blur.glass_blur, glass_blur.CIFAR, glass_blur.IMAGENET,
          "frosted glass: near pixels are swapped"),
    _made("motion_blur", "blur", motion.motion_blur, motion.CIFAR, motion.IMAGENET,
          "motion of the camera"),
    _made("zoom_blur", "blur", blur.zoom_blur, blur.ZOOM_CIFAR, blur.ZOOM_IMAGENET,
          "motion of the camera towards the object"),
    _made("snow", "weather", snow.snow, snow.CIFAR, snow.IMAGENET,
          "snowflakes, and paler colours"),
    _made("frost", "weather", frost.frost, frost.CIFAR, frost.IMAGENET,
          "ice on the lens"),
    _made("fog", "weather", fog.fog, fog.CIFAR, fog.IMAGENET,
          "a fractal cloud"),
    _made("brightness", "weather", colour.brightness, colour.BRIGHTNESS_CIFAR, colour.BRIGHTNESS_IMAGENET,
          "brighter, with hue and saturation kept"),
    _made("contrast", "digital", colour.contrast, colour.CONTRAST_CIFAR, colour.CONTRAST_IMAGENET,
          "less contrast"),
    _made("elastic_transform", "digital", elastic.elastic_transform, elastic.CIFAR, elastic.IMAGENET,
          "stretched and warped"),
    _made("pixelate", "digital", digital.pixelate, digital.PIXELATE_CIFAR, digital.PIXELATE_IMAGENET,
          "fewer pixels"),
    _made("jpeg_compression", "digital", digital.jpeg_compression, digital.JPEG_CIFAR, digital.JPEG_IMAGENET,
          "JPEG of low quality"),
    _made("speckle_noise", "noise", noise.speckle_noise, noise.SPECKLE_CIFAR, noise.SPECKLE_IMAGENET,
          "normal noise proportional to brightness"),
    _made("gaussian_blur", "blur", blur.gaussian_blur, blur.GAUSSIAN_CIFAR, blur.GAUSSIAN_IMAGENET,
          "blurred with a Gaussian"),
    _made("spatter", "weather", spatter.spatter, spatter.CIFAR, spatter.IMAGENET,
          "drops of water, then splashes of mud"),
    _made("saturate", "digital", colour.saturate, colour.SATURATE_CIFAR, colour.SATURATE_IMAGENET,
          "paler colours, then stronger ones"),
    _made("mimmo_translation", "mimmo", mimmo.translation, mimmo.TRANSLATION, None,
          "moved along one axis, black elsewhere"),
    _made("mimmo_rotation", "mimmo", mimmo.rotation, mimmo.ROTATION, None,
          "rotated by 0 to 180 degrees"),
    _made("mimmo_brightness", "mimmo", mimmo.brightness, mimmo.BRIGHTNESS, None,
          "darker"),
    _made("mimmo_contrast", "mimmo", mimmo.contrast, mimmo.CONTRAST, None,
          "less contrast"),
    _made("mimmo_scale", "mimmo", mimmo.scale, mimmo.SCALE, None,
          "shrunk (an interpretation, because the name is garbled in the paper)"),
)  # fmt: skip

CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType({each.name: each for each in _ALL})
"""All corruptions by name, in the papers' order."""

SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cifar-c": tuple(CORRUPTIONS)[:15],
        "cifar-c-19": tuple(CORRUPTIONS)[:19],
        "mimmo": tuple(CORRUPTIONS)[19:],
    }
)
"""Names by set: CIFAR-C's 15 (over which means are taken), these and its 4 extra ones, MIMMO's five."""


def corruption(name: str) -> Corruption:
    """Return the corruption with this name.

    Raises:
        InputError: if there is none, with the nearest name.
    """
    if name not in CORRUPTIONS:
        raise InputError("a corruption must be one of motet's", got=repr(name), fix=nearest(name, CORRUPTIONS))
    return CORRUPTIONS[name]


def corruptions(names: str) -> tuple[Corruption, ...]:
    """Return the corruptions of a set, or the one corruption with this name.

    Raises:
        InputError: if there is neither, with the nearest name.
    """
    if names in CORRUPTIONS:
        return (CORRUPTIONS[names],)
    if names not in SETS:
        raise InputError(
            "shifts must be a set of corruptions, or one of them",
            got=repr(names),
            fix=nearest(names, [*SETS, *CORRUPTIONS]),
        )
    return tuple(CORRUPTIONS[name] for name in SETS[names])


def frost_from(folder: str | Path) -> Corruption:
    """Return the corruption "frost" with your own photographs, all equally likely.

    If the folder holds frost1.png, frost2.png, frost3.png, frost4.jpg and frost5.jpg, the photographs of the original,
    only these five are drawn: the original never draws its sixth, frost6.jpg.

    Raises:
        InputError: if the folder contains no image file, or one that cannot be read.
    """
    known = CORRUPTIONS["frost"]
    return Corruption(
        name=known.name,
        family=known.family,
        description=known.description,
        apply=frost.frost_of_photos(Path(folder)),
        levels=known.levels,
    )


def corrupt(
    images: Shaped[Tensor, "..."],
    name: str | Corruption,
    *,
    severity: int,
    seed: int = 0,
    index: Int64[Tensor, "..."] | None = None,
    constants: Constants | None = None,
) -> UInt8[Tensor, "batch channel height width"]:
    """Corrupt images on their own device, in parts of the batch so that little memory is needed.

    An image's corruption depends only on its pixels, `seed`, its `index`, the corruption and the severity, and not on
    the batch. Different severities have independent random numbers, as in CIFAR-10-C. The result has the distribution
    of the original programs, but not their exact values, because they use an unseeded generator.

    Args:
        images: ``(B, C, H, W)`` in uint8, with 1 channel (grey) or 3 (RGB).
        name: a key of `CORRUPTIONS`, or a corruption itself (such as that of `frost_from`).
        severity: from 1 (mild) to 5.
        seed: the seed of the random numbers.
        index: a number for each image, ``(B,)``; by default 0 to B - 1. Pass the rows in the data set to corrupt it in
            batches.
        constants: "cifar" for CIFAR-10-C's, made for images of 32x32, "imagenet" for ImageNet-C's, for 224x224. By
            default ImageNet's if the shorter side has at least 128 pixels. Radii in pixels do not depend on the image;
            ice, fog and elastic fields grow with it.

    Returns:
        The corrupted images, of the same shape, in uint8.

    Raises:
        InputError: for images that are not uint8, have another shape, are smaller than 4x4, or are none; a severity
            outside 1..5; an unknown name (with the nearest); an index that does not fit.

    >>> import torch
    >>> grey = torch.full((2, 3, 32, 32), 128, dtype=torch.uint8)
    >>> corrupt(grey, "brightness", severity=3)[0, :, 0, 0]
    tensor([166, 166, 166], dtype=torch.uint8)
    """
    chosen = name if isinstance(name, Corruption) else corruption(name)
    return apply(chosen, images, severity=severity, seed=seed, index=index, constants=constants)

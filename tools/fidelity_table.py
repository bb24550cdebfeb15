"""docs/robustness.md's tables of how close the corruptions are to the original, from benchmarks/results."""

from pathlib import Path
from typing import Any

from motet._internal.files import read_json

RECORD = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "corruption_fidelity.json"
_FORMULA = "rounding; ImageMagick itself was not run, only its formula"
NOTES = {
    "shot_noise": "counts with a probability below 2^-24 are left out",
    "impulse_noise": "nothing",
    "defocus_blur": "rounding: at severity 4, a mean of five pixels is often nearly a whole number",
    "glass_blur": "rounding, twice: at severity 4, the blur changes many values by less than a thousandth of a level",
    "motion_blur": _FORMULA,
    "snow": _FORMULA,
    "frost": "rounding, with the photographs (`frost_from`); for generated ice, see below",
    "brightness": "rounding: at severity 4, a whole number of levels is added (51)",
    "pixelate": "nothing",
    "jpeg_compression": "nothing; other versions of the JPEG library can differ",
    "elastic_transform": "rounding; positions are in 32nds of a pixel as in OpenCV 3 and 4 (in OpenCV 5 they are not)",
    "spatter": "rounding, so that a pixel may be on the other side of the threshold; without any drop the original "
    "divides 0 by 0, and motet leaves the image as it is",
    "saturate": "rounding: at severity 3, the highest and the lowest channel of a pixel are often whole numbers",
}  # fmt: skip


def fidelity_table() -> str:
    """A row a corruption: how much of an image differs from the original's, at the worst severity, and why."""
    record: dict[str, Any] = read_json(RECORD)
    lines = [
        "| corruption | severity | differ by more than 1 level | differ | mean difference | mean change "
        "| what differs and why |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for name, row in record["result"]["corruptions"].items():
        cells = (
            f"`{name}`", str(row["worst_severity"]),
            _percent(row["share_beyond_one"]), _percent(row["share_different"]),
            f"{row['mean_difference']:.4f}", f"{row['mean_change']:.1f}", NOTES.get(name, "rounding"),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n" + _made(record)


def frost_table() -> str:
    """The mean change of an image at each severity, by generated frost and by the original with its photographs."""
    record: dict[str, Any] = read_json(RECORD)
    strength = record["result"]["frost_strength"]
    lines = ["| frost, mean change in levels | 1 | 2 | 3 | 4 | 5 |", "|---|--:|--:|--:|--:|--:|"]
    for name, title in (("photographs", "the original, with its photographs"), ("generated", "motet, generated")):
        lines.append(f"| {title} | {' | '.join(f'{value:.1f}' for value in strength[name])} |")
    ratios = zip(strength["generated"], strength["photographs"], strict=True)
    lines.append(f"| difference | {' | '.join(f'{100 * (got / want - 1):+.1f} %' for got, want in ratios)} |")
    return "\n".join(lines)


def _percent(share: float) -> str:
    return "0" if share == 0 else f"{100 * share:.4f} %" if share < 0.0001 else f"{100 * share:.2f} %"


def _made(record: dict[str, Any]) -> str:
    settings, hardware = record["settings"], record["hardware"]
    libraries = ", ".join(
        f"{name} {settings[key]}"
        for name, key in (
            ("OpenCV", "opencv"), ("scikit-image", "scikit-image"), ("SciPy", "scipy"), ("Pillow", "pillow"),
        )
    )  # fmt: skip
    return (
        f"`benchmarks/results/corruption_fidelity.json`: {settings['data']} ({settings['images']}; for the strength of "
        f"frost {settings['frost_images']:,}), seed {settings['seed']}, {libraries}; {hardware['processor']}, torch "
        f"{hardware['torch']}, {record['created'][:10]}, commit {record['commit']}."
    )

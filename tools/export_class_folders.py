"""Write some images of a data set to class folders: python tools/export_class_folders.py cifar10 DIR [--per-class 200]

DIR/train, DIR/val and DIR/test get a folder for each class, with up to --per-class, a tenth and a fifth of that many
PNG files, the first of each class in the data set's own order. ``motet compare DIR`` reads them.
"""

import argparse
import re
import sys
from pathlib import Path

from PIL import Image

from motet.data import load
from motet.errors import InputError


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a data set of images by name, see motet data")
    parser.add_argument("folder", type=Path, help="where to; must be new or empty")
    parser.add_argument("--per-class", type=int, default=200, help="training images of each class")
    parser.add_argument("--data-dir", type=Path, default=None, help="where the data's files lie")
    said = parser.parse_args(argv)
    try:
        data = load(said.data, said.data_dir, say=print)
        if said.per_class < 1 or len(data.spec.input_shape) != 3 or not data.spec.class_names:
            raise InputError(
                "images of named classes and a number from 1 are needed",
                got=f"{said.data} and --per-class {said.per_class}",
                fix="Pass cifar10, for example",
            )
        if said.folder.exists() and any(said.folder.iterdir()):
            raise InputError("the folder must be new or empty", got=str(said.folder), fix="Choose another")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    written = 0
    names = [re.sub(r"[^\w.-]+", "-", name) for name in data.spec.class_names]
    for split, rows, share in (
        ("train", data.train, 1.0),
        ("val", data.validation, 0.1),
        ("test", data.test, 0.2),
    ):
        most = max(1, round(said.per_class * share))
        for label, name in enumerate(names):
            place = said.folder / split / name
            place.mkdir(parents=True)
            for row in (rows.targets == label).nonzero().flatten()[:most].tolist():
                pixels = data.spec.to_bytes(rows.inputs[row : row + 1])[0].permute(1, 2, 0).numpy()
                Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(place / f"{row:05d}.png")
                written += 1
    print(f"{written:,} images of {len(names)} classes in {said.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Draw each method's answer to the four questions: docs/img/methods/NAME.svg.

    python tools/draw_methods.py

Grey is shared by all members, a colour is one member's own; time runs from left to right.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from motet.methods import METHODS
from motet.plots.style import LIGHT, style

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "img" / "methods"
MEMBERS = (LIGHT["series-1"], LIGHT["series-2"], LIGHT["series-3"])
SHARED = "#d3d9df"
LANES = (20.0, 10.0, 0.0)  # heights of the three members' rows
MIDDLE = LANES[1]


class Picture:
    """A drawing with boxes of height 7 around the heights that it is told."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes

    def box(
        self, x: float, y: float, width: float, text: str = "", *, color: str = SHARED, height: float = 7.0
    ) -> None:
        ink = LIGHT["ink"] if color == SHARED else "#ffffff"
        self.axes.add_patch(
            FancyBboxPatch(
                (x, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.9",
                facecolor=color, edgecolor="none",
            )
        )  # fmt: skip
        self.axes.text(x + width / 2, y - 0.15, text, ha="center", va="center", color=ink, fontsize=9.5)

    def strip(self, x: float, y: float, color: str, height: float = 7.0) -> None:
        self.axes.add_patch(Rectangle((x, y - height / 2), 1.3, height, facecolor=color, edgecolor="none"))

    def arrow(self, start: tuple[float, float], end: tuple[float, float], color: str = LIGHT["muted"]) -> None:
        self.axes.add_patch(
            FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=8, color=color, linewidth=1.1,
                            shrinkA=0.5, shrinkB=0.5)
        )  # fmt: skip

    def text(
        self, x: float, y: float, text: str, color: str = LIGHT["ink"], *, size: float = 9.5, ha: str = "center"
    ) -> None:
        self.axes.text(x, y, text, ha=ha, va="center", color=color, fontsize=size)

    def input(self, y: float, text: str, color: str = LIGHT["ink"]) -> None:
        self.text(3, y, text, color)

    def outputs(self, x: float, heights: Sequence[float] = LANES, mean: str = "mean", at: float = MIDDLE) -> None:
        """One prediction from each height, and their combination."""
        for height, color in zip(heights, MEMBERS, strict=False):
            self.axes.add_patch(Circle((x, height), 1.2, facecolor=color, edgecolor="none"))
            self.arrow((x + 1.6, height), (x + 8.5, at), color)
        self.text(x + 9, at, mean, ha="left")

    def dots(self, x: float, y: float, width: float, seed: int) -> None:
        """Dropped units: white dots on a box."""
        for step in range(int(width // 2) - 1):
            for row in range(3):
                if (step * 7 + row * 5 + seed * 3) % 4 == 0:
                    self.axes.add_patch(
                        Circle((x + 2.0 + 2 * step, y - 2 + 2 * row), 0.55, facecolor="#ffffff", edgecolor="none")
                    )

    def bars(self, x: float, y: float, heights: Sequence[float], color: str) -> None:
        """A posterior over depths."""
        for index, height in enumerate(heights):
            self.axes.add_patch(Rectangle((x + 1.5 * index, y), 1.1, height, facecolor=color, edgecolor="none"))


def single(p: Picture) -> None:
    p.input(MIDDLE, "x")
    p.arrow((5, MIDDLE), (11, MIDDLE))
    for x, width, text in ((11, 12, "input layer"), (27, 30, "body"), (61, 12, "head")):
        p.box(x, MIDDLE, width, text)
    p.arrow((23, MIDDLE), (27, MIDDLE))
    p.arrow((57, MIDDLE), (61, MIDDLE))
    p.arrow((73, MIDDLE), (79, MIDDLE))
    p.text(80, MIDDLE, "p(y | x)", ha="left")


def deep_ensemble(p: Picture) -> None:
    p.input(MIDDLE, "x")
    for y, color in zip(LANES, MEMBERS, strict=True):
        p.arrow((5, MIDDLE), (11, y), color)
        for x, width, text in ((11, 12, "input layer"), (27, 30, "body"), (61, 12, "head")):
            p.box(x, y, width, text, color=color)
        p.arrow((23, y), (27, y), color)
        p.arrow((57, y), (61, y), color)
        p.arrow((73, y), (77, y), color)
    p.outputs(79)


def modular_network(p: Picture) -> None:
    p.input(MIDDLE, "x")
    for y, color, number in zip(LANES, MEMBERS, "123", strict=True):
        p.arrow((5, MIDDLE), (9, y), color)
        p.box(9, y, 27, "a whole network", color=color)
        p.arrow((36, y), (40, y), color)
        p.text(41, y, f"logits {number}", color, ha="left")
        p.arrow((50, y), (59, MIDDLE), color)
        if y != MIDDLE:
            p.text(55, y, "(1 \N{MINUS SIGN} \N{GREEK SMALL LETTER LAMDA}) own loss", color, size=8.5, ha="left")
    p.text(60, MIDDLE, "mean of logits", ha="left")
    p.arrow((75.5, MIDDLE), (81, MIDDLE))
    p.text(82, MIDDLE, "p(y | x)", ha="left")
    p.text(82, MIDDLE - 4.5, "\N{GREEK SMALL LETTER LAMDA} joint loss", size=8.5, ha="left")


def ncl(p: Picture) -> None:
    p.input(MIDDLE, "x")
    for y, color, number in zip(LANES, MEMBERS, "123", strict=True):
        p.arrow((5, MIDDLE), (9, y), color)
        p.box(9, y, 27, "a whole network", color=color)
        p.arrow((36, y), (40, y), color)
        p.text(41, y, f"mean {number}", color, ha="left")
        p.arrow((50, y), (59, MIDDLE), color)
        if y != MIDDLE:
            p.text(55, y, "own squared error", color, size=8.5, ha="left")
    p.text(60, MIDDLE, "mean", ha="left")
    p.arrow((67, MIDDLE), (81, MIDDLE))
    p.text(82, MIDDLE, "p(y | x)", ha="left")
    p.text(72, MIDDLE - 4.5, "less \N{GREEK SMALL LETTER GAMMA} times the squared distance", size=8.5)


def _trunk(p: Picture, y: float = MIDDLE) -> None:
    p.input(y, "x")
    p.arrow((5, y), (11, y))
    p.box(11, y, 12, "input layer")
    p.arrow((23, y), (27, y))


def _heads(p: Picture, start: float = 57) -> None:
    for y, color in zip(LANES, MEMBERS, strict=True):
        p.arrow((start, MIDDLE), (61, y), color)
        p.box(61, y, 12, "head", color=color)
        p.arrow((73, y), (77, y), color)
    p.outputs(79)


def multihead(p: Picture) -> None:
    _trunk(p)
    p.box(27, MIDDLE, 30, "body")
    _heads(p)


def tree_net(p: Picture) -> None:
    _trunk(p)
    p.box(27, MIDDLE, 13, "trunk")
    for y, color in zip(LANES, MEMBERS, strict=True):
        p.arrow((40, MIDDLE), (44, y), color)
        p.box(44, y, 13, "branch", color=color)
        p.arrow((57, y), (61, y), color)
        p.box(61, y, 12, "head", color=color)
        p.arrow((73, y), (77, y), color)
    p.outputs(79)


def batch_ensemble(p: Picture) -> None:
    p.input(MIDDLE, "x")
    for y, color in zip(LANES, MEMBERS, strict=True):
        p.arrow((5, MIDDLE), (11, y), color)
        for x, width, text in ((11, 12, "input"), (27, 30, "body"), (61, 12, "head")):
            p.box(x, y, width, text)
            p.strip(x, y, color)
            p.strip(x + width - 1.3, y, color)
        p.arrow((23, y), (27, y), color)
        p.arrow((57, y), (61, y), color)
        p.arrow((73, y), (77, y), color)
    p.text(42, 27, "one weight W; each member has vectors that scale its inputs and outputs", LIGHT["muted"], size=9)
    p.outputs(79)


def mixture_ensembles(p: Picture) -> None:
    p.input(MIDDLE, "x")
    for y, color in zip(LANES, MEMBERS, strict=True):
        p.arrow((5, MIDDLE), (11, y), color)
        for index, x in enumerate((11.0, 23.0, 35.0, 47.0)):
            p.box(x, y, 10, "", color=color)
            for template in range(4):
                share = (0.9, 0.3, 0.6, 0.15)[(template + index + int(y)) % 4]
                p.axes.add_patch(
                    Rectangle(
                        (x + 1.2 + 2 * template, y - 2.2), 1.5, 4.4 * share, facecolor="#ffffff", edgecolor="none"
                    )
                )
            p.arrow((x + 10, y), (x + 12, y), color)
        p.box(59, y, 12, "head")
        p.arrow((71, y), (77, y), color)
    p.text(8, 28.5, "templates", LIGHT["muted"], size=9)
    for template in range(4):
        p.box(15 + 9.5 * template, 28.5, 8, f"T{template + 1}", height=4.4)
    p.text(53.5, 28.5, "each member's layers mix them in shares of its own", LIGHT["muted"], size=9, ha="left")
    p.outputs(79)


def mc_dropout(p: Picture) -> None:
    p.input(MIDDLE, "x")
    for seed, (y, color) in enumerate(zip(LANES, MEMBERS, strict=True)):
        p.arrow((5, MIDDLE), (11, y), color)
        for x, width in ((11, 12), (27, 30), (61, 12)):
            p.box(x, y, width)
            p.dots(x, y, width, seed + 1)
        p.arrow((23, y), (27, y), color)
        p.arrow((57, y), (61, y), color)
        p.arrow((73, y), (77, y), color)
    p.text(42, 27, "one network, another mask of dropped units for each sample", LIGHT["muted"], size=9)
    p.outputs(79)


def _own_inputs(p: Picture) -> None:
    for index, (y, color) in enumerate(zip(LANES, MEMBERS, strict=True)):
        p.input(y, f"x{index + 1}", color)
        p.arrow((5, y), (11, y), color)


def mimo(p: Picture) -> None:
    _own_inputs(p)
    for y, color in zip(LANES, MEMBERS, strict=True):
        p.box(11, y, 12, "kernel", color=color)
        p.arrow((23, y), (31, MIDDLE), color)
    p.text(33, MIDDLE, "+", size=13)
    p.arrow((34.5, MIDDLE), (37, MIDDLE))
    p.box(37, MIDDLE, 20, "body")
    _heads(p)


def mixmo(p: Picture) -> None:
    _own_inputs(p)
    for y, color in zip(LANES, MEMBERS, strict=True):
        p.box(11, y, 12, "kernel", color=color)
        p.arrow((23, y), (28, MIDDLE + (y - MIDDLE) * 0.3), color)
    p.axes.add_patch(Rectangle((28, MIDDLE - 4), 8, 8, facecolor=MEMBERS[0], edgecolor="none"))
    p.axes.add_patch(Rectangle((28, MIDDLE - 4), 8, 2.4, facecolor=MEMBERS[2], edgecolor="none"))
    p.axes.add_patch(Rectangle((31.5, MIDDLE - 0.5), 3.5, 3.5, facecolor=MEMBERS[1], edgecolor="none"))
    p.text(32, 17.3, "mix or cut", LIGHT["muted"], size=9)
    p.arrow((36, MIDDLE), (40, MIDDLE))
    p.box(40, MIDDLE, 17, "body")
    _heads(p)


def datamux(p: Picture) -> None:
    _own_inputs(p)
    for index, (y, color) in enumerate(zip(LANES, MEMBERS, strict=True)):
        p.box(11, y, 14, f"transform {index + 1}", color=color)
        p.arrow((25, y), (31, MIDDLE + (y - MIDDLE) * 0.2), color)
    p.box(31, MIDDLE, 9, "input\nlayer")
    p.arrow((40, MIDDLE), (44, MIDDLE))
    p.box(44, MIDDLE, 13, "body")
    _heads(p)


def _depths(p: Picture, y: float, head: Callable[[float, float], None], text: str) -> None:
    for index, x in enumerate((27.0, 42.0, 57.0)):
        p.box(x, y, 11, f"stage {index + 1}")
        if index < 2:
            p.arrow((x + 11, y), (x + 15, y))
        p.arrow((x + 5.5, y + 3.5), (x + 5.5, y + 8))
        head(x, y + 11)
    p.text(47, y + 20, text, LIGHT["muted"], size=9)


def early_exit(p: Picture) -> None:
    _trunk(p, 4)
    _depths(p, 4, lambda x, y: p.box(x, y, 11, "own head", height=5.5), "each exit a head of its own")
    p.arrow((68, 15), (79, 15))
    p.text(80, 15, "equal mean", ha="left")


def dun(p: Picture) -> None:
    _trunk(p, 4)
    _depths(p, 4, lambda x, y: p.box(x, y, 11, "head", height=5.5), "adapters, and one head for all depths")
    p.arrow((68, 15), (77, 15))
    p.bars(78.5, 12, (1.5, 5.5, 3.0), LIGHT["muted"])
    p.text(84, 15, "mean weighted\nby q(depth)", ha="left")


def mimmo(p: Picture) -> None:
    for index, (y, color) in enumerate(zip((9, 4, -1), MEMBERS, strict=True)):
        p.input(y, f"x{index + 1}", color)
        p.arrow((5, y), (11, y), color)
        p.box(11, y, 10, "kernel", color=color, height=4.4)
        p.arrow((21, y), (27, 4), color)

    def heads(x: float, y: float) -> None:
        for index, color in enumerate(MEMBERS):
            p.box(x + 3.8 * index, y, 3.4, "", color=color, height=5.5)

    _depths(p, 4, heads, "every member's head at every depth")
    for index, (y, color) in enumerate(zip((18, 12, 6), MEMBERS, strict=True)):
        p.arrow((69, 15), (77, y), color)
        p.bars(78.5, y - 2, ((1, 4, 2), (3.6, 2, 1.2), (1.2, 2, 4))[index], color)
        p.arrow((83.5, y), (88.5, 12), color)
    p.text(89, 12, "mean", ha="left")


# Each method's function has its name.
PICTURES: dict[str, Callable[[Picture], None]] = {name: globals()[name.replace("-", "_")] for name in METHODS}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        with style():
            low = 4 if name == "single" else -5
            high = 16 if name == "single" else 32 if name == "mixture-ensembles" else 28.5
            figure = plt.figure(figsize=(7.4, 7.4 * (high - low) / 101))
            axes = figure.add_axes((0, 0, 1, 1))
            axes.set(xlim=(-0.5, 100.5), ylim=(low, high))
            axes.axis("off")
            axes.grid(visible=False)
            draw(Picture(axes))
            figure.savefig(FOLDER / f"{name}.svg", facecolor="#ffffff", metadata={"Date": None})
            plt.close(figure)


if __name__ == "__main__":
    main()

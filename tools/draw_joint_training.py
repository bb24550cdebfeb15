"""Draw figures 2 to 5 of Joint Training of Neural Network Ensembles from results/joint-training/study.json.

    python tools/draw_joint_training.py [--record FILE] [--out FOLDER]

They go to docs/img/joint-training/. Lines connect neighbouring values of lambda only; markers of single seeds are
hollow. Runs with different numbers of epochs are in different panels.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for tests, which import this file from another folder

from figure_points import Point, by_place, draw, line_entry, of_rows, seed_entries

from motet._internal.files import read_json
from motet.plots.figure import new_figure
from motet.plots.labels import spread
from motet.plots.style import LIGHT, TEXT, color, style

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "results" / "joint-training" / "study.json"
FOLDER = ROOT / "docs" / "img" / "joint-training"
NAMES = {256: "256 modules of 4 units", 64: "64 of 16", 16: "16 of 64", 1: "one network of 1,024 units"}
MODULES = 256  # of the figures about one division
LAMDA = "\N{GREEK SMALL LETTER LAMDA}"

Rows = Sequence[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the study of the modular loss")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    record: dict[str, Any] = read_json(arguments.record)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if missing := record.get("missing"):
        print(f"the study is not complete; missing: {'; '.join(missing)}", file=sys.stderr)
    many = any(row["members"] == MODULES for row in record["rows"])
    has_points = {"error": True, "losses": many, "dropped": record["dropped"], "specialists": record["specialists"]}
    for name, drawn in {"error": error, "losses": losses, "dropped": dropped, "specialists": specialists}.items():
        if not has_points[name]:
            print(f"{name}.svg is not drawn: no run with {MODULES} modules is finished", file=sys.stderr)
            continue
        with style():
            figure = drawn(record)
            figure.savefig(arguments.out / f"{name}.svg", facecolor="#ffffff", metadata={"Date": None})


def error(record: dict[str, Any]) -> Figure:
    """Figure 2: the ensemble's test error over lambda, a panel for each number of epochs, a line for each division."""
    rows = record["rows"]
    panels = sorted({row["epochs"] for row in rows})
    places = lambda_places(rows)
    alone = len(places)  # the place of the one network, whose loss is the same for every lambda
    figure = Figure(figsize=(4.35 * len(panels) + 0.5, 4.5))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.75 / figure.get_figwidth(), right=0.985, top=0.76, bottom=0.16, wspace=0.08)
    everything: list[Point] = []
    for ax, epochs in zip(axes, panels, strict=True):
        for index, members in enumerate(NAMES, start=1):
            shown = [row for row in rows if row["members"] == members and row["epochs"] == epochs]
            percent = [{**row, "error": 100 * row["error"]} for row in shown]
            points = of_rows(percent, "error", dict.fromkeys(places, alone) if members == 1 else places)
            draw(ax, points, index)
            everything += points
            if members == 1 and points:
                ax.axhline(points[0].y, color=color(index), linewidth=1.1, linestyle=(0, (4, 2)), zorder=1)
        ax.set_title(f"{epochs} epochs")
        ax.set_xticks(range(alone + 1), [*(f"{lam:g}" for lam in places), "one\nnetwork"])
        ax.set_xlim(-0.4, alone + 0.4)
        ax.set_xlabel(f"{LAMDA}, from independent to joint training")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes[0].set_ylabel("Test error")
    entries = [line_entry(name, index) for index, name in enumerate(NAMES.values(), start=1)]
    legend(figure, entries, seed_entries(everything))
    return figure


def losses(record: dict[str, Any]) -> Figure:
    """Figure 3: the ensemble's cross-entropy and the mean of its modules', 256 modules of 4 units."""
    figure, ax = one_panel()
    rows = fewest_epochs(record["rows"])
    places = over_lambda(ax, rows)
    ends, everything = [], []
    for index, (name, key) in enumerate({"mean of\nthe modules": "member_nll", "the ensemble": "nll"}.items(), start=1):
        points = of_rows(rows, key, places)
        draw(ax, points, index)
        everything += points
        ends += [(name, points[-1].y, index)] if points else []
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks([0.3, 0.5, 1, 2, 5, 10, 20, 50])
    values = [point.y for point in everything]
    ax.set_ylim(0.85 * min(values), 1.2 * max(values))
    ax.set_ylabel("Test cross-entropy in nats")
    ax.set_title(f"{MODULES} modules, {rows[0]['epochs']} epochs")
    name_lines(ax, ends)
    legend(figure, seed_entries(everything))
    return figure


def dropped(record: dict[str, Any]) -> Figure:
    """Figure 4: the error when modules are lost, 256 modules of 4 units."""
    figure, ax = one_panel()
    ends, everything = [], []
    for index, curve in enumerate(record["dropped"], start=1):
        measured = zip(curve["dropped"], curve["error"], curve["standard_error"], strict=True)
        points = [Point(x=x, y=100 * y, error=100 * (e or 0.0), seeds=curve["seeds"]) for x, y, e in sorted(measured)]
        draw(ax, points, index, step=None)
        everything += points
        ends.append((f"{LAMDA} = {curve['lam']:g}", points[-1].y, index))
    ax.set_yscale("log")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks([10, 15, 20, 30, 50, 80])
    ax.set_xlabel(f"Modules lost, of {MODULES}")
    ax.set_xticks([0, 64, 128, 192, 256])
    ax.set_ylabel("Test error")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    ax.set_title(f"{MODULES} modules, {record['dropped'][0]['epochs']} epochs")
    name_lines(ax, ends)
    legend(figure, seed_entries(everything))
    return figure


def specialists(record: dict[str, Any]) -> Figure:
    """Figure 5: F1 of sub-ensembles for one class against the rest, at random and chosen, mean over classes."""
    figure, ax = one_panel()
    rows = record["specialists"]
    places = over_lambda(ax, rows)
    ends, everything = [], []
    names = {(20, "chosen"): "20 chosen", (20, "random"): "20 at random", (1, "chosen"): "1 chosen",
             (1, "random"): "1 at random"}  # fmt: skip
    for index, ((size, key), name) in enumerate(names.items(), start=1):
        points = by_place((places[row["lam"]], row[f"{key}_f1"]) for row in rows if row["size"] == size)
        draw(ax, points, index)
        everything += points
        ends += [(name, points[-1].y, index)] if points else []
    ax.set_ylabel("F1 of one class against the rest")
    ax.set_title(f"{MODULES} modules, {rows[0]['epochs']} epochs")
    name_lines(ax, ends)
    legend(figure, seed_entries(everything))
    return figure


def one_panel() -> tuple[Figure, Axes]:
    return new_figure((6.8, 4.2), (0.85, 1.45, 0.75, 0.6))


def fewest_epochs(rows: Rows) -> Rows:
    """The rows of 256 modules with the fewest epochs, which there are of every lambda."""
    shown = [row for row in rows if row["members"] == MODULES]
    fewest = min(row["epochs"] for row in shown)
    return [row for row in shown if row["epochs"] == fewest]


def lambda_places(rows: Rows) -> dict[float, float]:
    """Where each lambda stands: at equal distances, because the changes are near 1."""
    return {lam: float(index) for index, lam in enumerate(sorted({row["lam"] for row in rows}))}


def over_lambda(ax: Axes, rows: Rows) -> dict[float, float]:
    places = lambda_places(rows)
    ax.set_xticks(range(len(places)), [f"{lam:g}" for lam in places])
    ax.set_xlabel(f"{LAMDA}, from independent (0) to joint training (1)")
    return places


def legend(figure: Figure, *lines: Iterable[Any]) -> None:
    """Legends at the top of the figure, one above the other."""
    for number, entries in enumerate(lines):
        top = 1 - (0.06 + 0.26 * number) / figure.get_figheight()
        shown = list(entries)
        left = figure.axes[0].get_position().x0 - 0.012
        figure.legend(
            handles=shown, loc="upper left", bbox_to_anchor=(left, top), ncols=len(shown), frameon=False,
            handlelength=1.6, handletextpad=0.5, columnspacing=1.6, borderaxespad=0.0, labelcolor=LIGHT["ink"],
        )  # fmt: skip


def name_lines(ax: Axes, ends: Sequence[tuple[str, float, int]]) -> None:
    """Each line's name at its right end, moved apart where lines end close together."""
    figure = ax.figure
    figure.canvas.draw()
    heights = [float(ax.transData.transform((0.0, value))[1]) for _, value, _ in ends]
    area = ax.get_window_extent()
    gaps = [1.25 * TEXT * (1 + name.count("\n")) for name, _, _ in ends]
    places = spread(heights, gaps, area.y0 - TEXT, area.y1 + TEXT)
    for (name, _, index), height in zip(ends, places, strict=True):
        ax.annotate(
            name, (area.x1 + 10, height), xycoords="figure pixels", color=color(index), va="center", ha="left",
            linespacing=1.1, annotation_clip=False,
        )  # fmt: skip


if __name__ == "__main__":
    main()

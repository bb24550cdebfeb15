"""Draw figures 2 to 5 of Joint Training of Neural Network Ensembles from results/joint-training/study.json.

    python tools/draw_joint_training.py

They go to docs/img/joint-training/.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from motet._internal.files import read_json
from motet.plots.figure import new_figure
from motet.plots.labels import spread
from motet.plots.style import LIGHT, TEXT, color, marker, style

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "results" / "joint-training" / "study.json"
FOLDER = ROOT / "docs" / "img" / "joint-training"
NAMES = {256: "256 modules\nof 4 units", 64: "64 modules\nof 16 units", 16: "16 modules\nof 64 units"}
SHORT = 20  # epochs, which all divisions were trained for
LAMDA = "\N{GREEK SMALL LETTER LAMDA}"

Point = tuple[float, float]


def main() -> None:
    record: dict[str, Any] = read_json(RECORD)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, draw in {"error": error, "losses": losses, "dropped": dropped, "specialists": specialists}.items():
        with style():
            figure, axes = new_figure((6.8, 3.7), (0.85, 1.45, 0.15, 0.6))
            draw(axes, record)
            figure.savefig(FOLDER / f"{name}.svg", facecolor="#ffffff", metadata={"Date": None})


def error(ax: Axes, record: dict[str, Any]) -> None:
    """Figure 2: the ensemble's test error over lambda, a line for each division of the same parameters."""
    lambdas = over_lambda(ax, record["rows"])
    ends = []
    longest = max(row["epochs"] for row in record["rows"])
    kinds = [(members, SHORT, name) for members, name in NAMES.items()]
    if longest > SHORT:
        kinds.append((256, longest, f"256 of 4 units,\n{longest} epochs"))
    for index, (members, epochs, name) in enumerate(kinds, start=1):
        points = by_lambda(record["rows"], "error", members=members, epochs=epochs)
        line(ax, [(lambdas[lam], 100 * value) for lam, value in points], index)
        spreads = by_lambda(record["rows"], "error", members=members, epochs=epochs, of=standard_error)
        for (lam, value), (_, error_of_mean) in zip(points, spreads, strict=True):
            ax.errorbar(lambdas[lam], 100 * value, yerr=100 * error_of_mean, color=color(index), linewidth=1.2)
        ends.append((name, 100 * points[-1][1], index))
    single = 100 * mean(row["error"] for row in record["rows"] if row["members"] == 1 and row["epochs"] == SHORT)
    ax.axhline(single, color=color(0), linewidth=1.3, linestyle=(0, (4, 2)))
    ax.set_ylabel("Test error")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    name_lines(ax, [*ends, ("one network\nof 1,024 units", single, 0)])


def losses(ax: Axes, record: dict[str, Any]) -> None:
    """Figure 3: the ensemble's cross-entropy and the mean of its modules', 256 modules of 4 units."""
    lambdas = over_lambda(ax, record["rows"])
    ends = []
    for index, (name, key) in enumerate({"mean of\nthe modules": "member_nll", "the ensemble": "nll"}.items(), start=1):
        points = by_lambda(record["rows"], key, members=256, epochs=SHORT)
        line(ax, [(lambdas[lam], value) for lam, value in points], index)
        ends.append((name, points[-1][1], index))
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks([0.3, 0.5, 1, 2, 5, 10, 20, 50])
    shown = [row for row in record["rows"] if row["members"] == 256 and row["epochs"] == SHORT]
    values = [row[key] for row in shown for key in ("nll", "member_nll")]
    ax.set_ylim(0.85 * min(values), 1.2 * max(values))
    ax.set_ylabel("Test cross-entropy in nats")
    name_lines(ax, ends)


def dropped(ax: Axes, record: dict[str, Any]) -> None:
    """Figure 4: the error when modules are lost, 256 modules of 4 units."""
    ends = []
    for index, curve in enumerate(record["dropped"], start=1):
        line(ax, [(x, 100 * y) for x, y in zip(curve["dropped"], curve["error"], strict=True)], index)
        most = max(range(len(curve["dropped"])), key=lambda i: curve["dropped"][i])
        ends.append((f"{LAMDA} = {curve['lam']:g}", 100 * curve["error"][most], index))
    ax.set_yscale("log")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks([10, 15, 20, 30, 50, 80])
    ax.set_xlabel("Modules lost, of 256")
    ax.set_xticks([0, 64, 128, 192, 256])
    ax.set_ylabel("Test error")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    name_lines(ax, ends)


def specialists(ax: Axes, record: dict[str, Any]) -> None:
    """Figure 5: F1 of sub-ensembles for one class against the rest, at random and chosen, mean over classes."""
    lambdas = over_lambda(ax, record["rows"])
    ends = []
    names = {(20, "chosen"): "20 chosen", (20, "random"): "20 at random", (1, "chosen"): "1 chosen",
             (1, "random"): "1 at random"}  # fmt: skip
    for index, ((size, key), name) in enumerate(names.items(), start=1):
        found: dict[float, list[float]] = defaultdict(list)
        for row in record["specialists"]:
            if row["size"] == size:
                found[lambdas[row["lam"]]].append(row[f"{key}_f1"])
        points = [(at, mean(values)) for at, values in sorted(found.items())]
        line(ax, points, index)
        ends.append((name, points[-1][1], index))
    ax.set_ylabel("F1 of one class against the rest")
    name_lines(ax, ends)


def over_lambda(ax: Axes, rows: Sequence[dict[str, Any]]) -> dict[float, float]:
    """Where each lambda stands: at equal distances, for what happens happens near 1."""
    lambdas = sorted({row["lam"] for row in rows})
    ax.set_xticks(range(len(lambdas)), [f"{lam:g}" for lam in lambdas])
    ax.set_xlabel(f"{LAMDA}, from independent (0) to joint training (1)")
    return {lam: float(index) for index, lam in enumerate(lambdas)}


def by_lambda(
    rows: Sequence[dict[str, Any]],
    key: str,
    *,
    members: int,
    epochs: int,
    of: Callable[[list[float]], float] = mean,
) -> list[Point]:
    """Means over seeds (or what `of` makes of them), by lambda."""
    values: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        if row["members"] == members and row["epochs"] == epochs:
            values[row["lam"]].append(row[key])
    return [(lam, of(found)) for lam, found in sorted(values.items())]


def standard_error(values: list[float]) -> float:
    """Of the mean; 0 for one value."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def line(ax: Axes, points: Sequence[Point], index: int) -> None:
    ax.plot(*zip(*points, strict=True), color=color(index), marker=marker(index), markersize=4, clip_on=False)


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
            name, (area.x1 + 10, height), xycoords="figure pixels", color=color(index) if index else LIGHT["muted"],
            va="center", ha="left", linespacing=1.1, annotation_clip=False,
        )  # fmt: skip


if __name__ == "__main__":
    main()

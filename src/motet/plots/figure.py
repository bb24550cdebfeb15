"""Create figures without pyplot, and convert them to SVG for an HTML page."""

import io
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from motet.plots.style import LIGHT, style

_NAMES = {value: name for name, value in LIGHT.items()}
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_ROOT_STYLE = f"stroke-linejoin: round; stroke-linecap: butt; font-family: var(--figure-fonts, {_FONTS})"


def new_figure(size: tuple[float, float], margins: tuple[float, float, float, float]) -> tuple[Figure, Axes]:
    """Return an empty figure with one Axes.

    Args:
        size: width and height in inches; one inch is 72 units of the SVG.
        margins: left, right, top and bottom margins around the axes, in inches.
    """
    width, height = size
    left, right, top, bottom = margins
    figure = Figure(figsize=size)
    area = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure, figure.add_axes(area)


def svg(fig: Figure, *, label: str, prefix: str) -> str:
    """Return the figure as an inline ``<svg>`` element. The same figure always gives the same string.

    Text is not converted to paths and is shown in the fonts of the page. Colours of `motet.plots.style.LIGHT` are
    replaced by CSS variables (``var(--ink, #1b2026)``) with the light colour as fallback. The page determines width and
    height.

    Args:
        fig: the figure, drawn inside `motet.plots.style.style`.
        label: a description of the figure for screen readers.
        prefix: prepended to every id in the SVG. It must be different for each figure of a page.
    """
    file = io.BytesIO()
    with style():
        fig.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    root = ElementTree.fromstring(file.getvalue())
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): value for key, value in element.attrib.items()}
    for defs in root.findall("defs"):
        for sheet in defs.findall("style"):  # its selector `*` would apply to the whole page
            defs.remove(sheet)
    _rename_ids(root, prefix)
    for element in root.iter():
        if "style" in element.attrib:
            element.attrib["style"] = _page_style(element.attrib["style"])
        if "d" in element.attrib:
            element.attrib["d"] = " ".join(element.attrib["d"].split())
    _drop_empty(root)
    root.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": xml_text(label),
        "style": _ROOT_STYLE,
    }
    for element in root.iter():
        element.tail = None
        if element.text is not None and not element.text.strip():
            element.text = None
    return ElementTree.tostring(root, encoding="unicode")


def xml_text(text: str) -> str:
    """Return `text` on one line, without the control characters that XML does not allow."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]", " ", text).split())


def wrapped(text: str, width: int = 18) -> str:
    r"""Return `text` on one line if it has at most `width` characters, otherwise on two lines of similar length.

    Lines that are still longer are shortened.

    >>> wrapped("Mixture ensembles (4 templates)", width=22)
    'Mixture ensembles\n(4 templates)'
    """
    text = xml_text(text)
    if len(text) <= width:
        return text
    words = text.split()
    splits = [[" ".join(words[:at]), " ".join(words[at:])] for at in range(1, len(words))] or [[text]]
    rows = min(splits, key=lambda rows: max(map(len, rows)))
    return "\n".join(row if len(row) <= width else row[: width - 1].rstrip() + "…" for row in rows)


def right_margin(labels: Sequence[str]) -> float:
    """Return the width in inches that `labels`, each wrapped, need to the right of the axes."""
    longest = max((len(line) for label in labels for line in wrapped(label).split("\n")), default=0)
    return 0.55 + 0.085 * longest


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _rename_ids(root: ElementTree.Element, prefix: str) -> None:
    """Rename the ids that are referenced, and remove the others."""
    referred: dict[str, str] = {}

    def renamed(identifier: str) -> str:
        return referred.setdefault(identifier, f"{prefix}-{len(referred)}")

    for element in root.iter():
        if element.attrib.get("href", "").startswith("#"):
            element.attrib["href"] = "#" + renamed(element.attrib["href"][1:])
        for key, value in element.attrib.items():
            element.attrib[key] = re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{renamed(found[1])})", value)
    for element in root.iter():
        identifier = element.attrib.pop("id", None)
        if identifier in referred:
            element.attrib["id"] = referred[identifier]


def _page_style(text: str) -> str:
    text = re.sub(r"font-family: [^;]*;? ?", "", text)

    def variable(found: re.Match[str]) -> str:
        return f"var(--{_NAMES[found[0]]}, {found[0]})" if found[0] in _NAMES else found[0]

    return re.sub(r"#[0-9a-f]{6}\b", variable, text)


def _drop_empty(element: ElementTree.Element) -> None:
    for child in list(element):
        _drop_empty(child)
        empty = len(child) == 0 and child.tag in ("g", "defs", "metadata")
        if empty or (child.tag == "path" and not child.attrib.get("d")):
            element.remove(child)

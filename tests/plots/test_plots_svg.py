import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import pytest

from motet.plots import new_figure, plot_curves, style, svg
from motet.plots.style import LIGHT

HOSTILE = """<script>alert("1")</script> & 'co' $x_1$ \x00\x1b 漢字"""


def draw(label: str = "a", prefix: str = "p") -> str:
    history = [{"epoch": epoch, "validation_nll": 1 / epoch} for epoch in range(1, 9)]
    with style():
        figure, ax = new_figure((4.6, 3.2), (0.6, 1.2, 0.4, 0.6))
        plot_curves(ax, [label, "b"], [[history], [history]])
        return svg(figure, label=label, prefix=prefix)


def test_the_same_figure_gives_the_same_text() -> None:
    assert draw() == draw()


def test_it_is_one_element_without_prolog_size_or_metadata() -> None:
    text = draw()
    root = ElementTree.fromstring(text)
    assert text.startswith("<svg ")
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "a"
    assert root.attrib["viewBox"] == "0 0 331.2 230.4"
    assert "width" not in root.attrib
    assert not re.search(r"<(metadata|style|title|image)|<\?xml|<!DOCTYPE|Matplotlib|20\d\d-", text)


def test_ids_are_unique_within_and_between_figures() -> None:
    both = draw(prefix="one") + draw(prefix="two")
    ids = re.findall(r'\bid="([^"]+)"', both)
    assert ids
    assert len(ids) == len(set(ids))
    referred = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', both)
    assert {a or b for a, b in referred} == set(ids)


def test_colours_are_variables_and_text_is_text_in_the_fonts_of_the_page() -> None:
    text = draw()
    assert f"var(--ink, {LIGHT['ink']})" in text
    assert f"var(--series-1, {LIGHT['series-1']})" in text
    assert re.sub(r"var\([^)]*\)", "", text).count("#") == len(re.findall(r'url\(#|href="#', text))
    assert text.count("font-family") == 1
    assert ">Epoch</text>" in text


@pytest.mark.filterwarnings("error")
def test_hostile_labels_are_escaped_and_never_mathematics() -> None:
    text = draw(label=HOSTILE)
    root = ElementTree.fromstring(text)
    assert "<script" not in text
    assert root.attrib["aria-label"] == """<script>alert("1")</script> & 'co' $x_1$ 漢字"""
    assert '<script>alert("1"…' in "".join(root.itertext())


def test_style_leaves_no_trace() -> None:
    before = dict(matplotlib.rcParams)
    draw()
    with pytest.raises(ZeroDivisionError), style():
        _ = 1 / 0
    assert dict(matplotlib.rcParams) == before


@pytest.mark.slow
def test_nothing_imports_pyplot() -> None:
    code = (
        "import sys, motet.plots, motet.report; "
        "motet.report.render({'rows': [{'method': 'single', 'label': 'Single', "
        "'scores': {'nll': {'mean': 1.0}}, 'cost': {'latency_ratio': 1.0}}]}); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""The page as a reader meets it: opened from a file, at a desk and on a telephone."""

from typing import Any

import pytest

from motet._internal.typed_records import from_plain
from motet.evaluation import SideBySide
from motet.report import write_report

# Rows' NLL from top to bottom; "" where there is none.
NLL = """
const at = document.querySelector('th[data-key="nll"]').cellIndex;
return [...document.querySelector('tbody').rows].map(row => row.cells[at].dataset.sort);
"""
FIGURES = """
return [...document.querySelectorAll('figure')].map(figure => [...figure.querySelectorAll('svg')]
  .map(svg => svg.getBoundingClientRect()).filter(box => box.width > 0 && box.height > 0).length);
"""
SMALLEST_TEXT = """
return Math.min(...[...document.querySelectorAll('svg text')].filter(text => text.getBoundingClientRect().width > 0)
  .map(text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a));
"""


@pytest.fixture
def page(chromium, record, tmp_path):
    write_report(record, tmp_path / "report.html")
    chromium.set_window_size(1280, 900)
    chromium.get((tmp_path / "report.html").as_uri())
    return chromium


def phone(page) -> None:
    """390 CSS pixels, which no desktop window is narrow enough for."""
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def overflows(page) -> bool:
    return page.execute_script("return document.documentElement.scrollWidth > window.innerWidth")


def no_errors(page) -> bool:
    return [entry for entry in page.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}] == []


@pytest.mark.slow
def test_sorting_by_click_and_by_keyboard(page) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    assert page.execute_script(NLL) == ["0.092", "0.069", "", "0.075"]
    heading = page.find_element(By.CSS_SELECTOR, 'th[data-key="nll"]')
    button = heading.find_element(By.TAG_NAME, "button")
    button.click()
    assert page.execute_script(NLL) == ["0.069", "0.075", "0.092", ""]
    assert heading.get_attribute("aria-sort") == "ascending"
    button.click()
    assert page.execute_script(NLL) == ["0.092", "0.075", "0.069", ""]
    assert heading.get_attribute("aria-sort") == "descending"

    latency = page.find_element(By.CSS_SELECTOR, 'th[data-key="latency_ratio"]')
    latency.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert page.execute_script(NLL) == ["0.092", "", "0.075", "0.069"]
    assert latency.get_attribute("aria-sort") == "ascending"
    assert heading.get_attribute("aria-sort") == "none"
    latency.find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    assert page.execute_script(NLL) == ["0.069", "0.075", "", "0.092"]

    page.find_element(By.CSS_SELECTOR, "th.method button").click()
    assert page.execute_script(NLL) == ["0.069", "0.075", "", "0.092"]
    arrow = 'return getComputedStyle(document.querySelector("th.method button"), "::before").content'
    assert page.execute_script(arrow) == '"\u2191"'
    assert no_errors(page)


@pytest.mark.slow
def test_one_drawing_of_every_figure_is_seen_at_a_desk(page) -> None:
    assert page.execute_script(FIGURES) == [1] * 9
    assert page.execute_script(SMALLEST_TEXT) >= 10
    assert not overflows(page)
    table = "const box = document.querySelector('.scroll'); return box.scrollWidth - box.clientWidth"
    assert page.execute_script(table) == 0
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert no_errors(page)


@pytest.mark.slow
def test_on_a_telephone_only_the_table_scrolls_and_names_stay(page) -> None:
    phone(page)
    assert not overflows(page)
    assert page.execute_script(FIGURES) == [1] * 9
    assert page.execute_script(SMALLEST_TEXT) >= 10
    left, moved = page.execute_script("""
        const box = document.querySelector('.scroll'), name = box.querySelector('tbody th');
        const cell = name.nextElementSibling;
        const before = cell.getBoundingClientRect().left;
        box.scrollLeft = 150;
        return [name.getBoundingClientRect().left - box.getBoundingClientRect().left,
                before - cell.getBoundingClientRect().left];
    """)
    assert left == 0
    assert moved == 150
    assert no_errors(page)


def columns_cut(page) -> list[int]:
    return page.execute_script(
        "return [...document.querySelectorAll('.scroll')].map(box => box.scrollWidth - box.clientWidth)"
    )


@pytest.fixture
def robustness() -> SideBySide:
    """Two methods under a shift and against other data, with risk-coverage curves."""
    coverage = [percent / 100 for percent in range(1, 101)]
    number = {"mean": 0.1234, "standard_error": 0.0123}
    scores = dict.fromkeys(("accuracy", "nll", "ece", "brier", "aurc"), number)
    kept = {
        "curves": [[0.3 * at for at in coverage]] * 2,
        "at": dict.fromkeys(("0.5", "0.8", "0.9", "0.95", "1"), number),
    }
    methods: list[dict[str, Any]] = [
        {
            "key": key, "label": key, "clean": scores, "mean": scores, "reference": None,
            "corruptions": {"fog": scores},
            "curves": [[{"severity": at, "accuracy": 0.9 - at / 10, "nll": 1 + at, "ece": 0.1} for at in range(6)]] * 2,
            "selective": {"clean": kept, "mean": kept},
        }
        for key in ("single", "mimo")
    ]  # fmt: skip
    shift = {"name": "cifar-c", "kind": "images", "rows": 100, "severities": [1, 2, 3, 4, 5], "corruptions": ["fog"],
             "averaged": ["fog"], "coverage": coverage, "methods": methods}  # fmt: skip
    doubt = {name: {"auroc": number, "fpr95": number} for name in ("max_probability", "entropy", "mutual_information")}
    other = {"dataset": "mnist", "rows": 9, "dropped": 1, "methods": [{"key": "mimo", "label": "M", "scores": doubt}]}
    own = [{"key": method["key"], "label": method["label"], **kept} for method in methods]
    found = {"shifts": [shift], "ood": [other], "selective": {"coverage": coverage, "methods": own}}
    return from_plain(found, SideBySide, where="the test")


@pytest.mark.slow
def test_under_shift_at_a_desk_and_on_a_telephone(page, record, robustness, tmp_path) -> None:
    write_report(record, tmp_path / "shift.html", robustness)
    page.get((tmp_path / "shift.html").as_uri())
    places = """
        return [...document.querySelectorAll('.severities svg')].map(svg => svg.getBoundingClientRect())
          .map(box => [Math.round(box.left), Math.round(box.top), box.width]);
    """
    boxes = page.execute_script(places)
    assert len(boxes) == 4, "accuracy, NLL, ECE, and risk over coverage beside them"
    assert len({left for left, _, _ in boxes}) == len({top for _, top, _ in boxes}) == 2, "two by two"
    assert page.execute_script(FIGURES) == [1] * 14
    assert columns_cut(page) == [0] * 6
    assert not overflows(page)
    phone(page)
    boxes = page.execute_script(places)
    assert len({left for left, _, _ in boxes}) == 1, "one below the other"
    assert all(left >= 0 and left + width <= 390 for left, _, width in boxes)
    page.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.execute_script(FIGURES) == [1] * 14
    assert page.execute_script(SMALLEST_TEXT) >= 10
    assert not overflows(page)
    assert no_errors(page)


@pytest.mark.slow
def test_thirteen_methods_fit_a_desk(page, record, make_row, tmp_path) -> None:
    record["rows"] = [
        make_row(f"m{at}", f"Mixture ensembles {at}", 1.0234 + at / 100, latency=12.83) for at in range(13)
    ]
    for row in record["rows"]:
        row["scores"] |= {
            name: {"mean": 0.5432, "standard_error": 0.0012} for name in ("accuracy", "nll", "ece", "brier")
        }
        row["cost"] |= {"flops": 12_340_000_000, "parameters": 123_456_789}
        row["cost"]["train_seconds"] = {"mean": 321.2, "standard_error": 1.21}
    write_report(record, tmp_path / "many.html")
    page.get((tmp_path / "many.html").as_uri())
    assert columns_cut(page) == [0, 0]


@pytest.mark.slow
def test_long_words_stay_inside_the_page(page, record, tmp_path) -> None:
    long = "W" * 120
    for row in record["rows"]:
        row.update(label=long, settings=long, summary=long, runs=[long])
    record.update(model=long, command=long, training={long: long})
    record["data"] |= {"name": long, "class_names": [long]}
    write_report(record, tmp_path / "long.html")
    page.get((tmp_path / "long.html").as_uri())
    assert not overflows(page)
    phone(page)
    assert not overflows(page)
    name, box = page.execute_script(
        "return ['tbody th', '.scroll'].map(name => document.querySelector(name).getBoundingClientRect().width)"
    )
    assert name < 0.6 * box


@pytest.mark.slow
def test_dark_is_dark_and_figures_follow(page) -> None:
    colours = """
        const label = document.querySelector('figure svg text');
        return [document.body, label].map(at => getComputedStyle(at)).map(at => [at.backgroundColor, at.fill]);
    """
    for scheme, background, ink in (
        ("light", "rgb(255, 255, 255)", "rgb(91, 101, 112)"),
        ("dark", "rgb(21, 24, 28)", "rgb(160, 169, 179)"),
    ):
        feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
        (body, _), (_, label) = page.execute_script(colours)
        assert (body, label) == (background, ink)

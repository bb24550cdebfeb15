"""The page as a reader meets it: opened from a file, at a desk and on a telephone."""

import pytest

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


def test_one_drawing_of_every_figure_is_seen_at_a_desk(page) -> None:
    assert page.execute_script(FIGURES) == [1] * 9
    assert page.execute_script(SMALLEST_TEXT) >= 10
    assert not overflows(page)
    table = "const box = document.querySelector('.scroll'); return box.scrollWidth - box.clientWidth"
    assert page.execute_script(table) == 0
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert no_errors(page)


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

"""Take the README's picture of a report page: python tools/screenshot.py runs/demo/report.html docs/img/report.png

Needs Chromium and ChromeDriver (Debian: chromium, chromium-driver).
"""

import shutil
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service


def main(page: str, picture: str, width: int = 1280, height: int = 1560) -> int:
    driver = shutil.which("chromedriver")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or browser is None:
        print("tools/screenshot.py needs chromium and chromedriver on the PATH", file=sys.stderr)
        return 2
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    with tempfile.TemporaryDirectory() as profile:
        for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking", "hide-scrollbars"):
            options.add_argument(f"--{flag}")
        options.add_argument(f"--user-data-dir={profile}")
        chrome = webdriver.Chrome(options=options, service=Service(executable_path=driver))
        try:
            chrome.set_window_size(width, height)
            inner: int = chrome.execute_script("return window.innerHeight")
            chrome.set_window_size(width, height + height - inner)
            chrome.get(Path(page).resolve().as_uri())
            chrome.save_screenshot(picture)
        finally:
            chrome.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))

"""A headless Chromium for tests of the report: found on the PATH, driven by Playwright; what is missing is a reason to skip."""

import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium():
    """A browser of Playwright's; skips the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright (requirements.txt) is not installed")
    program = next((path for path in map(shutil.which, NAMES) if path), None)
    if program is None:
        pytest.skip("no Chromium on the PATH (Debian: apt-get install chromium-headless-shell fonts-dejavu-core)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])  # as root Chromium has none
        try:
            yield browser
        finally:
            browser.close()

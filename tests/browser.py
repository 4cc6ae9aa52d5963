"""Fixtures: a headless Chromium, and a page that allows no error on its console and no request."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LOCAL = ("file:", "data:", "blob:", "about:")
"""The schemes of addresses that need no network."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Yield a headless Chromium; skip without one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not CHROMIUM:
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Yield an empty page; afterwards fail if it logged an error or asked for anything outside the file."""
    context = browser.new_context()
    page = context.new_page()
    faults: list[str] = []

    def check_request(request: Any) -> None:
        if not request.url.startswith(LOCAL):
            faults.append(f"request: {request.url}")

    def check_console(message: Any) -> None:
        if message.type == "error":
            faults.append(f"console: {message.text}")

    page.on("request", check_request)
    page.on("console", check_console)
    page.on("pageerror", lambda error: faults.append(f"exception: {error}"))
    yield page
    context.close()
    assert not faults

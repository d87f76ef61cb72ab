"""Pages in a real browser, with every complaint and every request noted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Frame, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_BROKEN = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
_WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser that ``make test`` installs."""
    if not CHROMIUM.exists():
        pytest.fail("pages are opened in Chromium: install it, or run make test, which does")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, width: int, scheme: str = "light") -> Iterator[tuple[Page, list[str]]]:
    """An empty page, and the list in which all it does wrong will stand."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    noted: list[str] = []
    page.on("console", lambda message: noted.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: noted.append(f"error: {error}"))
    page.on("request", lambda r: noted.append(r.url) if r.url.startswith(("http", "ws")) else None)
    page.on("requestfailed", lambda request: noted.append(f"failed: {request.url[:80]}"))
    yield page, noted
    page.close()


def check_whole(place: Page | Frame, images: int, drawings: int) -> None:
    """All pictures are there and none is broken; nothing is wider than the window."""
    assert place.evaluate("document.images.length") == images
    assert place.evaluate(_BROKEN) == 0
    assert place.evaluate("document.querySelectorAll('.curves svg').length") == drawings
    assert place.evaluate(_WIDER) <= 0


def check_page(
    browser: Browser, file: Path, width: int, scheme: str, images: int, drawings: int
) -> None:
    """The page is whole, and neither complains nor asks anybody for anything."""
    with opened(browser, width, scheme) as (page, noted):
        page.goto(file.as_uri())
        check_whole(page, images, drawings)
        assert noted == []


def check_sandboxed(browser: Browser, file: Path, images: int, drawings: int) -> None:
    """The same inside a frame as the Kubeflow UI makes it."""
    with opened(browser, 900) as (page, noted):
        page.set_content('<iframe sandbox="allow-scripts" width="860" height="700"></iframe>')
        page.evaluate("html => document.querySelector('iframe').srcdoc = html", file.read_text())
        page.frame_locator("iframe").locator("footer").wait_for()
        check_whole(page.frames[1], images, drawings)
        assert noted == []

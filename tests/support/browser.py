"""The web page in a real browser as a test sees it: tabs, cards of jobs, and all that went wrong.

The browser is the system's own chromium: the environment variable CHROMIUM says where it is.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)

from shared.imaging.providers.mock_scripts import parse_script
from tests.support.api import Api
from tests.support.wait import wait_until

CHROMIUM = os.environ.get("CHROMIUM") or "/usr/bin/chromium"
ARTEFACTS = Path(__file__).resolve().parents[2] / "artefacts"
PATIENCE_MILLISECONDS = 30_000
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 360, "height": 740}

CONNECTION_LOST = r"net::ERR_"
"""What the console says while the API is unavailable."""

_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI}`);
});
"""

_NOTE_MESSAGES = """
() => {
  window.notedMessages = [];
  new MutationObserver(() => {
    for (const part of document.querySelectorAll("[data-testid=job-message]")) {
      const text = part.textContent.trim();
      if (text && window.notedMessages.at(-1) !== text) window.notedMessages.push(text);
    }
  }).observe(document.getElementById("list"), { childList: true, subtree: true });
}
"""

_NOTE_PROGRESS = """
() => {
  window.notedProgress = [];
  new MutationObserver((changes) => {
    const values = changes.map(({ target }) => Number(target.getAttribute("value")));
    window.notedProgress.push(...values);
  }).observe(document.getElementById("list"), { attributeFilter: ["value"], subtree: true });
}
"""

_LOAD_IMAGES = """
() => Promise.all([...document.images].map((image) => {
  image.loading = "eager";
  return image.decode().catch(() => {});
}))
"""

_SHOW_OR_HIDE = """
(hidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the browser, without a window."""
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        # Chromium refuses to sandbox what root runs.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0
        )
        yield browser
        browser.close()


def wait_until_drawn(picture: Locator, width_px: int) -> None:
    """Wait until an image of the page has come and can be seen."""
    picture.scroll_into_view_if_needed()
    is_drawn = f"image => image.complete && image.naturalWidth === {width_px}"
    wait_until(lambda: picture.evaluate(is_drawn), 10, "the picture to be drawn")


class Tab:
    """One tab with a page of the API.

    Attributes:
        page: For what has no word of its own here.
    """

    def __init__(self, page: Page, api: Api) -> None:
        self.page, self._api = page, api

    def submit(self, prompt: str, **chosen: str) -> Locator:
        """Fill in the form, press Generate and return the card of the job.

        Args:
            prompt: Without its tags that of no other job.
            chosen: `style`, `size`, `count`; a small picture unless they say otherwise.
        """
        self.page.get_by_test_id("prompt").fill(prompt)
        self.page.get_by_test_id("size").select_option(chosen.get("size", "256x256"))
        if "style" in chosen:
            self.page.get_by_test_id("style").select_option(chosen["style"])
        if "count" in chosen:
            self.page.get_by_test_id("count").fill(chosen["count"])
        self.page.get_by_test_id("submit").click()
        return self.card(prompt)

    def card(self, prompt: str) -> Locator:
        """Return the card of a job, once it is there; its title has no tags."""
        title = parse_script(prompt)[0]
        card = self.page.get_by_role("article", name=title, exact=True)
        expect(card).to_be_visible()
        return card

    def job_of(self, card: Locator) -> dict[str, Any]:
        """Return the job of a card, as the API shows it."""
        job_id = card.get_attribute("data-job-id")
        assert job_id is not None
        return self._api.get({"id": job_id})

    def note_messages(self) -> None:
        """From now on note each message that a card shows."""
        self.page.evaluate(_NOTE_MESSAGES)

    def noted_messages(self) -> list[str]:
        """Return what was noted; no message stands twice in a row."""
        messages: list[str] = self.page.evaluate("window.notedMessages")
        return messages

    def note_progress(self) -> None:
        """From now on note each progress that a card shows."""
        self.page.evaluate(_NOTE_PROGRESS)

    def noted_progress(self) -> list[int]:
        """Return what was noted."""
        progress: list[int] = self.page.evaluate("window.notedProgress")
        return progress

    def put_behind(self) -> None:
        """Let the page believe that another tab stands before it."""
        self.page.evaluate(_SHOW_OR_HIDE, True)

    def bring_to_front(self) -> None:
        """Undo `put_behind`."""
        self.page.evaluate(_SHOW_OR_HIDE, False)

    def focused(self) -> Locator:
        """Return the element that has the keyboard."""
        return self.page.locator(":focus")

    def tab_to(self, wanted: Locator, presses_at_most: int = 12) -> None:
        """Press Tab until the element has the keyboard."""
        for _ in range(presses_at_most):
            self.page.keyboard.press("Tab")
            if wanted.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError(f"the keyboard did not reach {wanted}")

    def overflow_px(self) -> int:
        """Return how far the page could be scrolled to the side."""
        overflow: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return overflow


class Browsing:
    """Tabs that share their storage, and a record of all that they said and asked for.

    Args:
        name: What the names of its screenshots begin with.
    """

    def __init__(self, browser: Browser, name: str) -> None:
        # Without motion, a screenshot shows a state and not the way to it.
        self._context: BrowserContext = browser.new_context(
            locale="en-US", viewport=DESKTOP, reduced_motion="reduce"
        )
        self._context.add_init_script(_REPORT_VIOLATIONS)
        self._context.on("console", self._keep)
        self._context.on("request", self._note)
        self._context.on("weberror", lambda error: self._errors.append(str(error.error)))
        self._name = name
        self._errors: list[str] = []
        self._allowed: list[str] = []
        self._origins: set[str] = set()
        self.addresses: list[str] = []

    def open(self, api: Api, path: str = "/") -> Tab:
        """Open a page of the API in a new tab."""
        self._origins.add(api.url)
        page = self._context.new_page()
        page.set_default_timeout(PATIENCE_MILLISECONDS)
        page.goto(api.url + path)
        return Tab(page, api)

    def allow(self, *patterns: str) -> None:
        """Take such lines of the console for what the test brings about on purpose."""
        self._allowed += patterns

    def allow_host(self, origin: str) -> None:
        """Take this host, too, for one that may be asked."""
        self._origins.add(origin)

    def picture(self, tab: Tab, state: str, scheme: Literal["light", "dark"] = "light") -> Path:
        """Keep a screenshot of the whole page; axe-core must find nothing wrong on it."""
        tab.page.emulate_media(color_scheme=scheme)
        tab.page.evaluate(_LOAD_IMAGES)
        path = self.screenshot(tab, state, full_page=True)
        found = Axe().run(tab.page)
        assert found.violations_count == 0, found.generate_report()
        return path

    def screenshot(self, tab: Tab, state: str, *, full_page: bool = False) -> Path:
        """Keep a screenshot of what is visible from the top of the page, or of all of it."""
        tab.page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
        path = ARTEFACTS / f"{self._name}-{state}.png"
        tab.page.screenshot(path=path, full_page=full_page)
        return path

    def close(self) -> None:
        """Close all tabs, and check that nothing went wrong in any."""
        self._context.close()
        wrong = [line for line in self._errors if not self._is_allowed(line)]
        assert wrong == [], f"the console has errors: {wrong}"
        abroad = [address for address in self.addresses if not self._is_own(address)]
        assert abroad == [], f"other hosts were asked: {abroad}"

    def _keep(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            location: Mapping[str, Any] = message.location
            self._errors.append(f"{message.text} ({location['url']})")

    def _note(self, request: Request) -> None:
        self.addresses.append(request.url)

    def _is_allowed(self, line: str) -> bool:
        return any(re.search(pattern, line) for pattern in self._allowed)

    def _is_own(self, address: str) -> bool:
        return address.startswith(("data:", "blob:", *(f"{origin}/" for origin in self._origins)))

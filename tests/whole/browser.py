"""A real Chromium for the tests of the studio: the system's, installed where it may be, else Playwright's own."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""The one without a window of its own first: the same engine, at half the work."""
INSTALL_SECONDS = 300
LONGEST_MILLISECONDS = 45_000
"""Conditions are waited for, however busy the machine is."""
_WAYS = (
    ("apt-get", "update", "-q"),
    ("apt-get", "install", "-q", "-y", "chromium-headless-shell"),
    ("apt-get", "install", "-q", "-y", "chromium"),
    (sys.executable, "-m", "playwright", "install", "chromium"),
)
"""To have one: as root from Debian's packages, else as Playwright's own."""
PICTURES = Path(__file__).parents[2] / "test-artefacts" / "studio"
"""Where screenshots are kept; git ignores it."""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SERIOUS = {"serious", "critical"}
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
NOT_THERE = (
    "The studio is tested in a real Chromium, and none is here: install your system's package "
    "`chromium-headless-shell` or `chromium`, or let `.venv/bin/playwright install --with-deps chromium` fetch one. "
    "It could not be fetched just now: "
)


def chromium(own: Path) -> str:
    """The path of a Chromium, installed where there is none. Raises RuntimeError, which says what to do."""
    if found := _installed():
        return found
    if own.exists():
        return str(own)
    said = ""
    for command in _WAYS:
        if _installed() or (command[0] == "apt-get" and (os.geteuid() != 0 or not shutil.which("apt-get"))):
            continue
        done = subprocess.run(
            command,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        said = done.stderr[-500:] if done.returncode else said
    if found := _installed():
        return found
    if not own.exists():
        raise RuntimeError(NOT_THERE + said)
    return str(own)


def _installed() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """One browser, which ends with the block."""
    expect.set_options(timeout=LONGEST_MILLISECONDS)
    async with async_playwright() as playwright:
        path = chromium(Path(playwright.chromium.executable_path))
        # As root, as in a container, Chromium's own sandbox has nothing to stand on.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        await browser.close()


class Visit:
    """One person's window. Whatever the browser complained of is in `complaints`."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context = context
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(f"{request.method} {request.url}"))

    def _said(self, message: ConsoleMessage) -> None:
        """A refused request is told to the person, and to the console by the browser: that alone is no defect."""
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.complaints.append(message.text)

    async def open(self, token: str | None = None) -> None:
        """The page; signed in with a token, else as the stack's own user."""
        if token:
            kept = json.dumps({"access_token": token, "refresh_token": None, "local": False})
            await self.page.add_init_script(f"sessionStorage.setItem('darkroom.session', {json.dumps(kept)})")
        await self.page.goto(self.url)
        await self.page.wait_for_selector("#page-make:not([hidden])")
        await self.page.locator("#price", has_text="At most").wait_for()

    async def turn_to(self, name: str, content: str) -> None:
        await self.page.locator(f'#pages a[href="#{name}"]').click()
        await self.page.locator(content).first.wait_for()

    async def picture(self, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        await self.page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
        await self.page.screenshot(path=PICTURES / f"{re.sub(r'[^a-z0-9-]', '-', name)}.png", full_page=True)

    async def check(self) -> None:
        """Fails with what the browser complained of, and where something is wider than the window."""
        assert self.complaints == []
        assert await self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than its window"

    async def examine(self) -> None:
        """The same, and what axe finds wrong with what is shown now."""
        await self.check()
        await self.page.evaluate(AXE)
        found: Any = await self.page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
        serious = [
            (each["id"], [node["html"][:200] for node in each["nodes"]])
            for each in found["violations"]
            if each["impact"] in SERIOUS
        ]
        assert serious == []


@asynccontextmanager
async def visiting(browser: Browser, url: str, **options: Any) -> AsyncIterator[Visit]:
    """A window of its own, with nothing kept from another."""
    context = await browser.new_context(
        viewport={"width": options.pop("width", 1280), "height": options.pop("height", 900)}, **options
    )
    context.set_default_timeout(LONGEST_MILLISECONDS)
    try:
        yield Visit(context, await context.new_page(), url)
    finally:
        await context.close()


async def make(visit: Visit, prompt: str) -> None:
    """Asks for something by the form, as a person does."""
    await visit.page.locator("#prompt").fill(prompt)
    await visit.page.locator("#submit").click()

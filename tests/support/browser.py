"""A real browser for what only a browser can show; the system's own, or the one that Playwright brought."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WHY_NOT = f"no browser here: none of {', '.join(NAMES)} is on the path, and `playwright install chromium` was not run"


@contextmanager
def open_browser() -> Iterator[Browser | None]:
    """A headless Chromium, or None where this machine has none."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = next((path for name in NAMES if (path := shutil.which(name))), playwright.chromium.executable_path)
        if not Path(found).exists():
            yield None
            return
        # Its sandbox cannot be used by root, as whom CI runs.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=found, args=options)
        try:
            yield browser
        finally:
            browser.close()

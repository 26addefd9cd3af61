"""The page in a real browser: it opens alone, is searched and filtered by keyboard, and reads well in any light."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plan_builder import create, delete, endless_plan, hostile_plan, make_plan, realistic_plan, source
from test_diff import Held

from qloader.planning.plan import Plan
from qloader.render.diff import Texts
from qloader.render.html import render_html
from qloader.workspace.showing import Side, TextChange
from support.browser import WHY_NOT, open_browser

pytest.importorskip("playwright", reason="the development packages are not installed")

CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const node of document.querySelectorAll("h1, h2, p, li, code, label, b, td, small, output, bdi, pre *")) {
    if (!node.textContent.trim() || !node.offsetParent) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${node.tagName} ${node.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
  }
  return low;
}"""
"""Texts whose contrast is below what WCAG 2 asks for (AA, 4.5 to 1)."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        if found is None:
            pytest.skip(WHY_NOT)
        yield found


class Opened:
    """A page in the browser, and what it asked for and complained of."""

    def __init__(self, browser: Any, path: Path, plan: Plan, texts: Texts | None = None, **options: Any) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(render_html(plan, texts=texts, fold=3))
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_context(**{"viewport": {"width": 1280, "height": 2000}, **options}).new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.path = path

    def shown(self) -> list[str]:
        rows = self.page.locator("tbody tr").all()
        return [row.locator("td").nth(1).text_content() for row in rows if row.is_visible()]

    def says(self, text: str) -> None:
        self.page.locator("output", has_text=text).wait_for(timeout=20_000)


@pytest.mark.parametrize("make", [realistic_plan, hostile_plan, make_plan])
def test_it_opens_alone_and_without_a_complaint(browser: Any, tmp_path: Path, make: Any) -> None:
    opened = Opened(browser, tmp_path / "plan.html", make())
    assert opened.requests == [opened.path.as_uri()]
    assert opened.complaints == []


def test_changes_are_searched_and_filtered_by_keyboard(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path / "plan.html", realistic_plan())
    press = opened.page.keyboard.press
    press("/")
    opened.page.keyboard.type("OLD docs")
    opened.says("2 of 13 shown")
    assert opened.shown() == ["docs/old/legacy-importer.md", "docs/old/roadmap-2024.md"]
    assert opened.page.locator(".source:visible").count() == 1  # a source without a match is out of the way
    press("Tab")
    press("Space")  # creates
    opened.says("2 of 13 shown")
    for _ in range(3):
        press("Tab")
    press("Space")  # deletes
    opened.says("0 of 13 shown")
    assert opened.page.locator("#nothing").is_visible()
    press("/")
    press("ControlOrMeta+a")
    press("Delete")
    opened.says("7 of 13 shown")
    assert {row[0] for row in opened.page.locator("tbody tr:visible").all_text_contents()} == set("~>!")
    assert opened.complaints == []


def test_a_source_folds_by_keyboard_and_focus_is_seen(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path / "plan.html", realistic_plan())
    summary = opened.page.locator(".source summary").first
    for _ in range(7):  # the search, five actions, then the first source
        opened.page.keyboard.press("Tab")
    assert summary.evaluate("node => node === document.activeElement && getComputedStyle(node).outlineWidth") == "2px"
    before = len(opened.shown())
    opened.page.keyboard.press("Enter")
    assert len(opened.shown()) == before - 10


def test_without_script_everything_is_shown_and_no_search_is_offered(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path / "plan.html", realistic_plan(), java_script_enabled=False)
    assert len(opened.shown()) == 13
    assert not opened.page.locator("#bar").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits_its_width_and_can_be_read_in_any_light(browser: Any, tmp_path: Path, scheme: str, width: int) -> None:
    plan = make_plan(
        [*realistic_plan().changes(), create("docs", "x" * 300), delete("docs", "a/" * 200)],
        [source("docs", "git", "3" * 40), source("wiki", "confluence", complete=False)],
        warnings=realistic_plan().header.warnings,
        allowed=["docs"],
        name="n" * 120,
    )
    opened = Opened(
        browser, tmp_path / "plan.html", plan, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    assert opened.page.evaluate(CONTRAST) == []
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]


def test_on_paper_there_is_no_search_and_no_dark(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path / "plan.html", realistic_plan(), color_scheme="dark")
    opened.page.emulate_media(media="print")
    assert not opened.page.locator("#bar").is_visible()
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_long_list_is_laid_out_only_where_it_is_looked_at(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path / "plan.html", endless_plan(20_000))
    far = opened.page.locator("tbody tr").nth(19_000)
    assert far.evaluate("row => row.checkVisibility({contentVisibilityAuto: true})") is False
    opened.page.locator("input[type=search]").fill("0019999")
    opened.says("1 of 20,000 shown")
    row = opened.page.locator("tbody tr:visible")
    row.wait_for()
    assert row.locator("td").nth(1).text_content().startswith("docs/0019999/")
    assert row.evaluate("row => row.getBoundingClientRect().bottom < innerHeight")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_searched_like_the_rows_below_them(browser: Any, tmp_path: Path, scheme: str) -> None:
    texts = Held(*(
        TextChange(create("docs", f"{n}.md"), Side(("an old lamp",)), Side((f"a lamp {n}",), embedded=frozenset({0})))
        for n in range(5)
    ))  # fmt: skip
    opened = Opened(browser, tmp_path / "plan.html", texts.plan, texts, color_scheme=scheme)
    assert opened.page.locator(".document:visible").count() == 3
    assert opened.page.evaluate(CONTRAST) == []
    search = opened.page.locator("input[type=search]")
    search.fill("lamp 2")
    opened.says("1 of 5 shown")
    opened.page.locator(".document:visible").wait_for()
    assert opened.page.locator(".document:visible .name").all_text_contents() == ["2.md"]
    search.fill("4.md")
    opened.page.locator("tbody tr:visible").wait_for()
    assert opened.shown() == ["4.md"]
    assert opened.page.locator(".document:visible").count() == 0
    assert opened.complaints == []

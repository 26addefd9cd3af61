"""Takes the pictures of a review that the docs show: the page, and the comment as a forge shows it.

python docs/screenshots.py

A real browser takes them: this needs Chromium, as the tests of the page do. The pictures are looked at before they are
committed: fonts differ from machine to machine, so nothing compares them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "tests")]

from generate import write_story  # noqa: E402

from qloader import Workspace  # noqa: E402
from qloader.render.html import render_html  # noqa: E402
from qloader.render.markdown import render_markdown  # noqa: E402
from qloader.render.review import Review  # noqa: E402
from qloader.workspace.planning import PlanResult  # noqa: E402
from support.browser import WHY_NOT, open_browser  # noqa: E402

CONFIG = """\
name: handbook
sources:
  docs: {type: files, path: docs}
policies:
  no-secrets: {forbidden_paths: ["secret/**"]}
  calm: {max_updates: 1, effect: warn}
"""

COMMENT = """<!doctype html><meta charset="utf-8"><style>
body {{ font: 14px/1.5 -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; margin: 24px; color: #1f2328; }}
.comment {{ border: 1px solid #d1d9e0; border-radius: 6px; max-width: 820px; }}
.head {{ background: #f6f8fa; border-bottom: 1px solid #d1d9e0; border-radius: 6px 6px 0 0; padding: 8px 16px; }}
.body {{ padding: 4px 16px 8px; }}
code, pre {{ font: 12px/1.5 "DejaVu Sans Mono", monospace; background: #f6f8fa; border-radius: 6px; }}
code {{ padding: 2px 5px; }} pre {{ padding: 12px 16px; overflow: auto; }} pre code {{ padding: 0; }}
h3 {{ font-size: 17px; }} h4 {{ font-size: 14px; }} sub {{ color: #59636e; font-size: 12px; vertical-align: baseline; }}
.create {{ background: #dafbe1; }} .delete {{ background: #ffebe9; }} pre span {{ display: block; }}
</style><div class="comment">
<div class="head"><b>github-actions</b> commented</div><div class="body">{body}</div>
</div>"""


def plan_story(base: Path) -> PlanResult:
    """A plan of a small handbook, after an edit, a rename, a new page and a deleted one."""
    (base / "qloader.yaml").write_text(CONFIG, encoding="utf-8")
    write_story(base / "docs", edited=False)
    workspace = Workspace.open(base / "qloader.yaml")
    workspace.apply(workspace.plan())
    write_story(base / "docs", edited=True)
    return workspace.plan()


def as_comment(markdown: str) -> str:
    """Markdown as a forge shows it: its `diff` blocks in colour."""

    def fence(self: object, tokens: list, position: int, *_: object) -> str:
        from html import escape

        kinds = {"+": "create", "-": "delete"}
        lines = tokens[position].content.splitlines()
        shown = "".join(f'<span class="{kinds.get(line[:1], "")}">{escape(line)}</span>' for line in lines)
        return f"<pre><code>{shown}</code></pre>"

    parser = MarkdownIt("commonmark")
    parser.add_render_rule("fence", fence)
    return COMMENT.format(body=parser.render(markdown))


def main() -> int:
    """Writes the pictures; 1 where there is no browser."""
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        if browser is None:
            sys.stderr.write(f"{WHY_NOT}\n")
            return 1
        result = plan_story(Path(folder))
        outcomes = tuple(outcome.as_result() for outcome in result.outcomes)
        review = Review(result.estimate, outcomes, (), result.refusal)
        pages = {
            "review.png": "".join(render_html(result.plan, review=review)),
            "comment.png": as_comment("".join(render_markdown(result.plan, review=review))),
        }
        for name, text in pages.items():
            page = browser.new_page(viewport={"width": 900, "height": 800}, device_scale_factor=1.5)
            page.set_content(text)
            height = page.evaluate("document.documentElement.getBoundingClientRect().height")
            page.set_viewport_size({"width": 900, "height": int(height) + 1})  # what is out of sight is not laid out
            page.screenshot(path=DOCS / "images" / name)
            sys.stderr.write(f"docs/images/{name} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

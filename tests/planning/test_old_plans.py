"""Plans that earlier qloaders wrote open as they always did, and so will those of a later one.

`old_plans/` holds plans as the program of a commit wrote them: the file's name is its date and the commit.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console
from xxhash import xxh3_128

from qloader.planning.plan import FORMAT
from qloader.planning.planfile import ChangesFile, FilePlan, read_plan
from qloader.render.html import render_html
from qloader.render.markdown import render_markdown
from qloader.render.text import render_plan
from qloader.render.wording import plan_line

OLD_PLANS = sorted((Path(__file__).parent / "old_plans").glob("*.plan.json"))
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/plan.schema.json").read_text(encoding="utf-8"))


def show(plan: FilePlan) -> str:
    out = io.StringIO()
    render_plan(plan, Console(file=out, width=200))
    return out.getvalue()


@pytest.mark.parametrize("path", OLD_PLANS, ids=lambda path: path.name)
def test_an_old_plan_opens_with_all_its_changes_in_every_format(path: Path) -> None:
    plan = read_plan(path)
    counts = Counter(change.action for change in plan.changes())
    summary = plan.header.summary
    assert counts.total() == summary.changes > 0
    assert all(getattr(summary, action) == count for action, count in counts.items())
    assert plan_line(summary, plan.header.index.action) in show(plan)
    assert plan.header.digest in "".join(render_markdown(plan))
    assert plan.header.digest in "".join(render_html(plan))


@pytest.mark.parametrize("path", OLD_PLANS, ids=lambda path: path.name)
def test_an_old_plan_is_written_again_byte_by_byte(path: Path, tmp_path: Path) -> None:
    """A key that did not exist then has a default that is not written."""
    plan, file = read_plan(path), ChangesFile()
    try:
        for change in plan.changes():
            file.add(change)
        written = file.write_plan(tmp_path / "again.json", plan.header)
    finally:
        file.close()
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert written.header == plan.header


@pytest.mark.parametrize("path", OLD_PLANS, ids=lambda path: path.name)
def test_an_old_plan_fits_the_schema(path: Path) -> None:
    jsonschema.validate(json.loads(path.read_bytes()), SCHEMA, cls=jsonschema.Draft202012Validator)


def test_there_are_old_plans_with_every_change_and_from_before_there_were_titles() -> None:
    plans = [read_plan(path) for path in OLD_PLANS]
    actions = {change.action for plan in plans for change in plan.changes()}
    assert actions >= {"create", "update", "move", "delete"}
    titled = [any(c.after and c.after.title for c in plan.changes()) for plan in plans]
    assert sorted(titled) == [False, False, True, True]
    assert {plan.header.format for plan in plans} == {FORMAT}
    assert any(plan.header.allowed_deletes for plan in plans)


def add_keys(value: Any) -> Any:
    """The same with a key that nobody knows in every object."""
    if isinstance(value, list):
        return [add_keys(part) for part in value]
    if isinstance(value, dict):
        return {**{key: add_keys(part) for key, part in value.items()}, "of a later qloader": {"x": [1]}}
    return value


def write_lines(path: Path, fields: dict[str, Any]) -> None:
    """Writes a plan as its format wants it: a change a line, the digest last."""
    lines = ["{"]
    for key, value in fields.items():
        if key == "changes":
            lines += ['"changes": [', ",\n".join(json.dumps(change) for change in value), "],"]
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)},")
    text = "\n".join(lines) + "\n"
    path.write_text(f'{text}"digest": "{xxh3_128(text.encode()).hexdigest()}"\n}}\n', encoding="utf-8")


@pytest.mark.parametrize("path", OLD_PLANS, ids=lambda path: path.name)
def test_keys_that_a_later_qloader_adds_are_left_aside(path: Path, tmp_path: Path) -> None:
    fields = json.loads(path.read_bytes())
    del fields["digest"]
    write_lines(tmp_path / "later.json", add_keys(fields))
    later, plan = read_plan(tmp_path / "later.json"), read_plan(path)
    assert list(later.changes()) == list(plan.changes())
    assert later.header.summary == plan.header.summary
    assert later.header.sources == plan.header.sources
    assert show(later) == show(plan)
    jsonschema.validate(json.loads((tmp_path / "later.json").read_bytes()), SCHEMA)

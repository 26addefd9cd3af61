"""The picture of a plan."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from plan_builder import hostile_plan, realistic_plan

from qloader.render.picture import plan_svg


def test_the_same_plan_is_the_same_picture_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    first = plan_svg(realistic_plan(), "qloader plan")
    for name, value in (("NO_COLOR", "1"), ("COLUMNS", "40"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
    assert plan_svg(realistic_plan(), "qloader plan") == first


def test_a_picture_shows_the_plan_in_colour_and_loads_nothing() -> None:
    svg = plan_svg(realistic_plan(), "qloader plan -o plan.json")
    text = "".join(ET.fromstring(svg).itertext()).replace("\u00a0", " ")
    assert "qloader plan -o plan.json" in text
    assert "Plan: 4 to create, 5 to update, 1 to move, 2 to delete, 1 to repair (49 chunks to embed)." in text
    assert len(set(re.findall(r"fill: (#[0-9a-f]{6})", svg))) >= 6
    assert re.findall(r"https?://[^\"' )]+", svg) == ["http://www.w3.org/2000/svg"]


def test_hostile_names_leave_it_well_formed() -> None:
    text = "".join(ET.fromstring(plan_svg(hostile_plan(), "<b>\x1b&")).itertext()).replace("\u00a0", " ")
    assert r"<b>\x1b&" in text
    assert "</details><script>alert(1)</script>" in text

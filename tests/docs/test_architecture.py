"""The rooms as docs/architecture.md names them, held against the imports that there are."""

import ast
import importlib

import pytest
from docs_pages import DOCS, code_spans, table_rows
from docs_stage import SCENES, Stage
from error_messages import SOURCE

from qloader.config.sources import SOURCE_TYPES

PAGE = DOCS / "architecture.md"

TYPES_ONLY = {("render", "workspace")}
"""Imports against the direction, which the page explains: under TYPE_CHECKING, so none of them happens at run time."""


def rooms():
    """The rooms in the order of the page, the highest first."""
    return [row[0].codes[0].rstrip("/") for row in table_rows(PAGE)]


def imports(path, *, at_run_time=False):
    """The rooms, or modules beside them, that a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    if at_run_time:
        checks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
        skipped = {inner for check in checks for inner in ast.walk(check)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("qloader."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (name.name.split(".")[1] for name in node.names if name.name.startswith("qloader."))


def arrows(**options):
    """Every import from one room into another."""
    return {
        (room, other)
        for room in rooms()
        for path in (SOURCE / room).rglob("*.py")
        for other in imports(path, **options)
        if other != room and other in rooms()
    }


def test_the_page_names_every_room():
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert sorted(rooms()) == sorted(packages)


def test_the_page_names_every_module_that_stands_beside_the_rooms():
    modules = {path.name for path in SOURCE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert modules <= set(code_spans(PAGE))
    assert not any(set(imports(SOURCE / name)) & set(rooms()) for name in modules)


def test_imports_point_down_the_page():
    order = rooms()
    assert {(a, b) for a, b in arrows(at_run_time=True) if order.index(a) >= order.index(b)} == set()


def test_imports_for_types_point_down_too_but_for_those_that_the_page_explains():
    order = rooms()
    assert {(a, b) for a, b in arrows() if order.index(a) >= order.index(b)} == TYPES_ONLY


def source_of(module):
    """Which kind of source a module of `sources/` belongs to, if to one."""
    return next((kind for kind in SOURCE_TYPES if module.partition(".")[0].partition("_")[0] == kind), None)


def test_a_source_never_imports_another():
    found = set()
    for path in (SOURCE / "sources").rglob("*.py"):
        own = source_of(".".join(path.relative_to(SOURCE / "sources").with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            others = {source_of(name.removeprefix("qloader.sources.")) for name in names if "qloader.sources." in name}
            found |= {(own, other) for other in others - {None} if own is not None and other != own}
    assert found == set()


def test_applying_knows_nothing_of_progress():
    assert not any("render" in imports(path) for path in (SOURCE / "applying").rglob("*.py"))


def test_the_page_names_no_module_that_is_not_there():
    paths = [code for code in code_spans(PAGE) if "/" in code and not code.startswith((".", "src/", "tests/"))]
    assert [path for path in paths if not (SOURCE / path).exists()] == []


@pytest.mark.parametrize("room", rooms())
def test_a_room_says_in_its_first_lines_what_it_is_for(room):
    text = importlib.import_module(f"qloader.{room}").__doc__
    assert text
    assert text.strip().partition("\n")[0].endswith((".", ":"))


def modules_after(stage: Stage, *arguments: str) -> set[str]:
    """The modules that a process has imported when a command has ended."""
    program = (
        "import sys\n"
        "from qloader.cli.app import run\n"
        f"assert run({list(arguments)!r}) == 0\n"
        "print('imported', *sys.modules)"
    )
    code, output = stage.run_python(program)
    assert code == 0, output
    return set(output.rpartition("imported")[2].split())


def test_plan_imports_no_client_and_no_engine(tmp_path):
    stage = Stage(tmp_path)
    SCENES["a folder of Markdown"](stage)
    stage.do("qloader init")
    heavy = {"qdrant_client", "qdrant_edge", "semantic_text_splitter", "httpx", "grpc"}
    assert not modules_after(stage, "plan") & heavy
    stage.do("qloader ingest")
    assert not modules_after(stage, "plan") & heavy
    stage.write({"new.md": "# New\n"})
    assert not modules_after(stage, "plan") & heavy

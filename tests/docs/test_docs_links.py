import re
from urllib.parse import unquote, urlsplit

import pytest
from docs_pages import DOCS, ROOT, anchors, code_spans, links, named, pages

ELSEWHERE = re.compile(r"https://[\w.-]+(/\S*)?")


@pytest.mark.parametrize("page", pages(), ids=named)
def test_every_link_leads_somewhere(page):
    broken = []
    for line, target in links(page):
        parts = urlsplit(target)
        if parts.scheme:
            assert ELSEWHERE.fullmatch(target), f"{named(page)}:{line}: {target}"
            continue
        file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        is_there = file.exists() and file.is_relative_to(ROOT)
        if not is_there or (parts.fragment and parts.fragment not in anchors(file)):
            broken.append(f"{named(page)}:{line}: {target}")
    assert broken == []


def test_every_page_of_the_docs_can_be_reached_from_the_readme():
    found, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in found or page.suffix != ".md":
            continue
        found.add(page)
        for _, target in links(page):
            parts = urlsplit(target)
            file = (page.parent / unquote(parts.path)).resolve()
            if not parts.scheme and file.exists():
                waiting += sorted(file.glob("*.md")) if file.is_dir() else [file]
    assert {page for page in pages() if page.is_relative_to(DOCS)} <= found


@pytest.mark.parametrize("page", pages(), ids=named)
def test_every_file_that_a_page_names_exists(page):
    paths = [code for code in code_spans(page) if re.fullmatch(r"(src|tests|docs|bench|plans|\.ci)/[\w./-]*", code)]
    assert [path for path in paths if not (ROOT / path).exists()] == []

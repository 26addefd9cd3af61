"""Every promise of docs/reliability.md is broken by a mutation, each fits the code, and the page names them all."""

import re

import pytest
from docs_pages import DOCS, ROOT, table_rows

from broken.mutations import MUTATIONS

PAGE = DOCS / "reliability.md"


def promises():
    """The first cells of the table of promises and their tests: those rows whose second cell is a test file."""
    return {row[0].text for row in table_rows(PAGE) if len(row) == 2 and row[1].codes[:1] and "tests/" in row[1].text}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_still_fits_the_code_and_leaves_it_python(mutation):
    text = (ROOT / "src" / "qloader" / mutation.file).read_text(encoding="utf-8")
    broken = mutation.broken(text)
    assert broken != text
    compile(broken, mutation.file, "exec")


def test_mutations_have_names_of_their_own():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def test_every_promise_of_the_table_is_broken_by_a_mutation():
    assert len(promises()) > 15
    assert promises() - {mutation.promise for mutation in MUTATIONS} == set()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_tests_that_must_notice_are_there(mutation):
    for test in mutation.tests:
        file, _, name = test.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^def {re.escape(name.partition('[')[0])}\(", text, re.MULTILINE), test


def test_the_page_shows_every_mutation_and_what_caught_it():
    shown = {(row[0].text, row[1].text): row[2].codes for row in table_rows(PAGE) if len(row) == 3}
    missing = [m.name for m in MUTATIONS if not shown.get((m.promise, m.broken_by))]
    assert missing == [], "run python tests/broken/break_promises.py --write docs/reliability.md"

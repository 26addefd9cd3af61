import re

import pytest
from docs_pages import DOCS, table_rows
from error_messages import error_classes, messages

PAGE = DOCS / "troubleshooting.md"

WITHOUT_AN_ENTRY = {
    "stopped before it began": "whoever cancelled the call gets asyncio's own error",
    "SQLite gave the new run no id": "SQLite always gives one",
    "the state was not locked for writing": "a bug: the message says so",
    "the index … was closed": "a bug: an index is used after its end",
    "the collection … on the Qdrant server … was closed": "a bug: an index is used after its end",
    "sources.….type: there is no source type ….": "the config was refused before",
    "sources.….path: two folders are named …, so that their ids would collide.": "the config was refused before",
    "expected {expected}": "it names the values there are",
    "and … more": "the end of a warning",
    "{first: …, second: …}": "the end of a message",
}
"""Messages that the page leaves out, and why."""

SPOKEN_FOR_OTHERS = {
    "applying/preparing.py:FailureRecord": "the sentence of SKIP_REASONS",
    "applying/preconditions.py:StalePlanError": "_why_stale",
    "cli/app.py:_say": "an error's own text, or the system's",
    "config/load.py:ConfigError": "the mistakes of a file",
    "config/load.py:Mistake": "_check_root_names",
    "config/load.py:_check_root_names": "the end of its message",
    "config/mistakes.py:Mistake": "_mistake and _EXPECTED",
    "config/mistakes.py:_mistake": "_EXPECTED, or pydantic",
    "config/policies.py:Mistake": "_contradictions, _unknown and check_policies",
    "config/sources.py:ValueError": "`problem`: a folder, a list of folders, or a mapping",
    "config/yamlfile.py:ConfigError": "YAML's own words, or _TooLargeError",
    "config/yamlfile.py:Mistake": "_add",
    "config/yamlfile.py:_add": "EnvironmentProblem",
    "cli/cache_commands.py:ConfigError": "what units.py says of sizes and times",
    "index/embedded.py:IndexUnavailableError": "_engine_errors",
    "index/embedded.py:_wrong_vectors": "unlike",
    "index/server.py:_wrong_vectors": "unlike",
    "index/marker.py:IndexUnavailableError": "os_errors",
    "index/server_errors.py:IndexUnavailableError": "_reason",
    "index/server_errors.py:RequestTooLargeError": "_reason",
    "planning/policies.py:PlanWarning": "_documents and _limits, or a policy of another package",
    "embedding/dense/api.py:EmbeddingError": "what the client of the sources says of a certificate or an answer",
    "embedding/reranking.py:RerankError": "what the client of the providers of vectors says of any endpoint",
    "planning/guards.py:_Refusal": "_refuse_deletes, _refuse_updates and check_guards",
    "planning/selecting.py:PlanWarning": "_describe_split",
    "sources/files.py:append": "only_since",
    "sources/git.py:_only": "only_since",
    "sources/git.py:append": "_only",
    "sources/web/discovery.py:append": "what read_sitemaps says of a part",
    "sources/web/listing.py:append": "walk.tell",
    "sources/web/source.py:append": "only_since",
    "workspace/planning.py:PlanWarning": "_warnings",
    "workspace/since.py:SourceError": "the source's own words, after --since",
    "workspace/readers.py:SourceError": "an error of a reader process, as it is",
    "workspace/optimizing.py:IndexUnavailableError": "an error of the process that tidies up, as it is",
}
"""Places that say what other places have worded, and which."""


def entries():
    """The messages on the page: each `code` in the first cell of a row."""
    return [code for row in table_rows(PAGE) for code in row[0].codes]


def speaks_of(entry, text):
    """Whether an entry is the message or a part of it; `…` in it stands for anything."""
    return re.search("(?:.|\n)*".join(map(re.escape, entry.split("…"))), text) is not None


def excused(text):
    return text.strip() in WITHOUT_AN_ENTRY


def test_every_message_has_an_entry():
    missing = [
        f"{message.place}: {message.text}"
        for message in messages()
        if not message.is_computed
        and not excused(message.text)
        and not any(speaks_of(entry, message.text) for entry in entries())
    ]
    assert missing == []


@pytest.mark.parametrize("entry", entries())
def test_every_entry_is_a_message(entry):
    assert len(re.sub(r"\W", "", entry)) >= 6, "too short to tell it from others"
    assert any(speaks_of(entry, message.text) for message in messages())


def test_every_place_whose_words_come_from_elsewhere_is_known():
    assert {message.place for message in messages() if message.is_computed} == SPOKEN_FOR_OTHERS.keys()


def test_every_excuse_is_still_needed():
    assert {message.text.strip() for message in messages() if excused(message.text)} == WITHOUT_AN_ENTRY.keys()


def test_the_collector_finds_errors_that_other_modules_derive():
    assert {"QloaderError", "LockedError", "HeldError"} <= error_classes()

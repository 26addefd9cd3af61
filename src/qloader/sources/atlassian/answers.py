"""What is read out of a server's answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qloader.documents.markdown import clean_title
from qloader.errors import SourceError


def text_of(value: Any) -> str:
    """An id, a key or a name as text, whether it is written as a text or as a number.

    Raises:
        ValueError: It is neither, or empty. A `null` must not become a document of the name `None`.
    """
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"{value!r} is no name")
    return str(value)


def why_refused(error: SourceError) -> str:
    """What Jira says of why it refuses a query (`errorMessages`), fit to be shown; empty where it says nothing.

    This alone of an answer is shown: it names the field or the value that is wrong in the query. Whatever else came
    may be a page of some proxy, with anything in it.
    """
    answer = getattr(error, "answer", None)
    if answer is None:
        return ""
    import orjson

    try:
        said = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return ""
    found = said.get("errorMessages") if isinstance(said, dict) else None
    return shown(found) if isinstance(found, list) else ""


def shown(texts: Iterable[Any]) -> str:
    """Texts of a server in one line for a message: cut, and without anything that a terminal would obey."""
    return clean_title(" ".join(text for text in texts if isinstance(text, str)))

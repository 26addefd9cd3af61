"""What the points of other tools say: where their text is, what was embedded of it, and which document it is of. Pure.

A tool does not always embed the text that it stores. LlamaIndex puts metadata before it, so that its vector is that of
another text: what counts is `Passage.embedded`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LOOKED_AT = 100
"""Points that a shape is recognised by."""

_NAMES = ("source", "file_path", "path", "url", "uri", "link", "file_name", "filename", "document_id", "doc_id", "id")
"""Keys of metadata that may say which document a text is of, the most telling first."""

Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Passage:
    """What one point says.

    Attributes:
        text: Its text, as the tool stores it.
        embedded: The text that its vector was made of, as far as the tool tells.
        names: What its document may be called (paths, addresses, ids), the most telling first; may be empty.
        title: Its document's title; may be empty.
    """

    text: str
    embedded: str
    names: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the points of one tool are read.

    Attributes:
        name: As the command line names it.
        tool: As people name it, with where its texts are.
        fits: Whether a payload looks like it.
        read: What a payload says; None where it holds no text.
    """

    name: str
    tool: str
    fits: Callable[[Payload], bool]
    read: Callable[[Payload], Passage | None]


def find_value(payload: Payload, path: str) -> Any:
    """The value at a path of keys, e.g. `metadata.source`; None where there is none. A key may hold points itself."""
    if not path:
        return None
    if path in payload:
        return payload[path]
    key, _, rest = path.partition(".")
    inner = payload.get(key)
    return find_value(inner, rest) if isinstance(inner, Mapping) else None


def recognise(payloads: Sequence[Payload]) -> Shape | None:
    """The shape that most of these payloads have; None where none of them has one."""
    counts = {shape.name: sum(shape.fits(payload) for payload in payloads) for shape in SHAPES.values()}
    best = max(counts, key=lambda name: counts[name])  # of equal ones the first, which asks for more
    return SHAPES[best] if counts[best] else None


def mapped(*, text: str, document: str = "", title: str = "") -> Shape:
    """The shape that a mapping describes.

    Args:
        text: The path of the text.
        document: The path of what names its document; empty where nothing does.
        title: The path of its title; empty where there is none.
    """

    def read(payload: Payload) -> Passage | None:
        value = find_value(payload, text)
        if not isinstance(value, str) or not value:
            return None
        return Passage(value, value, _texts([find_value(payload, document)]), _title(find_value(payload, title)))

    return Shape("mapping", f"a mapping: text in {text}", lambda payload: read(payload) is not None, read)


def _read_langchain(payload: Payload) -> Passage | None:
    text = payload.get("page_content")
    if not isinstance(text, str) or not text:
        return None
    metadata = _mapping(payload.get("metadata"))
    return Passage(text, text, _names(metadata), _title(metadata.get("title")))


def _read_llamaindex(payload: Payload) -> Passage | None:
    node = _node(payload)
    text = node.get("text") or _mapping(node.get("text_resource")).get("text") or payload.get("text")
    if not isinstance(text, str) or not text:
        return None
    metadata = _mapping(node.get("metadata")) or payload
    names = dict.fromkeys((*_names(metadata), *_texts(payload.get(key) for key in ("ref_doc_id", "doc_id"))))
    return Passage(text, _with_metadata(node, text), tuple(names), _title(metadata.get("title")))


def _with_metadata(node: Mapping[str, Any], text: str) -> str:
    """The text with the metadata that LlamaIndex embeds with it, by the templates that the point itself holds."""
    left_out = node.get("excluded_embed_metadata_keys") or ()
    line = str(node.get("metadata_template") or "{key}: {value}")
    lines = [
        _fill(line, key=str(key), value=str(value))
        for key, value in _mapping(node.get("metadata")).items()
        if key not in left_out
    ]
    # Older versions write the key with their own spelling.
    separator = node.get("metadata_separator") or node.get("metadata_seperator") or "\n"
    if not (metadata := str(separator).join(lines).strip()):
        return text
    template = str(node.get("text_template") or "{metadata_str}\n\n{content}")
    return _fill(template, metadata_str=metadata, content=text).strip()


def _fill(template: str, **values: str) -> str:
    """A template with its names replaced. Not `format`: the template comes from a stranger, and could ask for more."""
    filled, rest = "", template
    while rest:
        start = min((at for name in values if (at := rest.find(f"{{{name}}}")) >= 0), default=-1)
        if start < 0:
            return filled + rest
        end = rest.index("}", start)
        filled += rest[:start] + values[rest[start + 1 : end]]
        rest = rest[end + 1 :]
    return filled


def _node(payload: Payload) -> Mapping[str, Any]:
    content = payload.get("_node_content")
    if not isinstance(content, str):
        return {}
    try:
        return _mapping(json.loads(content))
    except (ValueError, RecursionError):
        return {}


def _read_qdrant_loader(payload: Payload) -> Passage | None:
    text = payload.get("content")
    if not isinstance(text, str) or not text:
        return None
    metadata = _mapping(payload.get("metadata"))
    # Its `source` is the name of a source, and `document_id` a hash.
    names = dict.fromkeys(
        _texts([payload.get("url"), *(metadata.get(key) for key in _NAMES[1:]), payload.get("document_id")])
    )
    return Passage(text, text, tuple(names), _title(payload.get("title")))


def _names(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    return _texts(metadata.get(key) for key in _NAMES)


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    """Those that name something, as texts, none of them twice."""
    found = (str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool))
    return tuple(dict.fromkeys(name for name in found if name))


def _title(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


SHAPES: Mapping[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape(
            "llamaindex",
            "LlamaIndex: nodes in _node_content",
            lambda payload: isinstance(payload.get("_node_content"), str),
            _read_llamaindex,
        ),
        Shape(
            "langchain",
            "LangChain: text in page_content",
            lambda payload: isinstance(payload.get("page_content"), str),
            _read_langchain,
        ),
        Shape(
            "qdrant-loader",
            "qdrant-loader: text in content",
            lambda payload: isinstance(payload.get("content"), str) and "source_type" in payload,
            _read_qdrant_loader,
        ),
    )
}
"""By name; those that ask for more come first."""

"""A source held in a dictionary: the protocol and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qloader.documents.document import Document, Skipped
from qloader.documents.hashing import blob_id
from qloader.sources.protocol import Item, Listing


class DictSource:
    """Documents by id. `problems` make its listings incomplete; `reads` counts what was fetched."""

    type = "files"

    def __init__(self, name: str, texts: dict[str, str] | None = None) -> None:
        self.name = name
        self.texts = dict(texts or {})
        self.titles: dict[str, str] = {}
        self.problems: list[str] = []
        self.failing: set[str] = set()
        self.reads: list[str] = []
        self.reverse = False
        self.repeat = False

    def identity(self) -> str:
        return self.name

    def confirms(self, identity: str) -> bool:
        return identity == self.name

    def selection(self) -> str:
        return "all"

    def proof(self) -> str | None:
        return None

    def token(self, document_id: str) -> str:
        return blob_id((self.titles.get(document_id, "") + "\0" + self.texts[document_id]).encode())

    def list(self) -> Listing:
        ids = sorted(self.texts, reverse=self.reverse)
        if self.repeat:
            ids = ids + ids
        return Listing(items=(Item(i, self.token(i)) for i in ids), problems=list(self.problems))

    def fetch(self, ids: Iterable[str], *, revision: str | None = None) -> Iterator[Document | Skipped]:
        for document_id in ids:
            self.reads.append(document_id)
            if document_id in self.failing:
                yield Skipped(document_id, "unreadable", "permission denied")
            elif document_id not in self.texts:
                yield Skipped(document_id, "vanished")
            else:
                text = self.texts[document_id]
                yield Document(
                    id=document_id,
                    title=self.titles.get(document_id, document_id),
                    uri=document_id,
                    text=text,
                    revision=self.token(document_id),
                    bytes=len(text.encode()),
                )

"""Confluence Cloud: REST v2, and CQL where v2 has nothing like it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from qloader.errors import SourceError
from qloader.sources.atlassian.answers import text_of
from qloader.sources.atlassian.moments import utc_text
from qloader.sources.atlassian.site import Site, is_missing
from qloader.sources.confluence.content import Content, File, Row, Space, labels_of, miss, stored_text
from qloader.sources.confluence.settings import ConfluenceSettings, Kind
from qloader.sources.confluence.tree import Node, Tree

_PAGE = 250
"""What the server gives at most, of listings and of bodies."""

_V2 = "/api/v2"
_PLACES: dict[Kind, str] = {"page": "pages", "blogpost": "blogposts"}


class CloudEdition:
    """Asks a Cloud site."""

    batch = _PAGE

    def __init__(self, site: Site, settings: ConfluenceSettings) -> None:
        self._site = site
        self._settings = settings
        self._tree = Tree(self._load_nodes)
        self._space_keys: dict[str, str] = {}
        self._wanted_labels = {label.lower() for label in (*settings.labels, *settings.exclude_labels)}

    def identity(self) -> str:
        """The cloud id."""
        return str(self._site.get_at_origin("/_edge/tenant_info").get("cloudId", ""))

    def open_spaces(self, problems: list[str]) -> Sequence[Space]:
        """The spaces of the settings, or those of the roots, in the order of their keys."""
        self._tree = Tree(self._load_nodes)  # what is above a page may be called otherwise than the last time
        keys = self._settings.spaces
        if keys:
            spaces = self._find_spaces(keys=keys)
        else:
            roots = self._bulk(self._settings.roots, "page", body=False)
            spaces = self._find_spaces(ids=sorted({text_of(page["spaceId"]) for page in roots})) if roots else []
        found = {space.key for space in spaces}
        for key in keys:
            if key not in found:
                miss(problems, key)
        return spaces

    def has(self, space: Space) -> bool:
        """True: a space that was found is there."""
        del space
        return True

    def rows(self, space: Space, kind: Kind) -> Iterator[Row]:
        """Lists a space. What is above a page is known only when all are listed, so a space is held in memory."""
        labels = self._labels(space, kind)
        params = [("limit", _PAGE), ("sort", "id"), *(("status", status) for status in self._settings.statuses)]
        listed: dict[str, tuple[str, int, str, Node]] = {}
        failure: SourceError | None = None
        try:
            with self._site.understanding(f"the list of {space.key}"):
                for page in self._site.results(f"{_V2}/spaces/{space.id}/{_PLACES[kind]}", params):
                    node = _node(page)
                    listed[text_of(page["id"])] = (page["title"], int(page["version"]["number"]), page["status"], node)
        except SourceError as error:
            failure = error  # what was listed until then is worth having
        self._tree.learn({one: facts[3] for one, facts in listed.items()})
        try:
            self._tree.complete(listed)
        except SourceError as error:
            raise failure or error from error
        for one, (title, version, status, node) in listed.items():
            its_labels = None if labels is None else labels.get(one, ())
            yield Row(one, kind, title, version, status, space.key, self._tree.above(node), its_labels)
        if failure is not None:
            raise failure

    def find_rows(self, ids: Sequence[str], kind: Kind) -> Iterable[Row]:
        """Looks up single pages, as a listing would show them."""
        pages = self._bulk(ids, kind, body=False)
        spaces = self._keys_of(pages)
        above = self._above(pages)
        labels: dict[str, dict[str, tuple[str, ...]] | None] = {}
        for page in pages:
            one, space = text_of(page["id"]), Space(spaces.get(text_of(page["spaceId"]), ""), text_of(page["spaceId"]))
            if space.id not in labels:
                labels[space.id] = self._labels(space, kind)
            known = labels[space.id]
            yield _row(page, kind, space.key, above[one], None if known is None else known.get(one, ()))

    def as_listed(self, row: Row) -> Row:
        """The row with the labels that the settings ask about; None where they ask about none."""
        if not self._asks_for_labels:
            return row._replace(labels=None)
        return row._replace(labels=tuple(name for name in row.labels or () if self._asks_for(name)))

    def contents(self, ids: Sequence[str], kind: Kind) -> dict[str, Content]:
        """Bodies, labels and authors of many pages."""
        labels: dict[str, tuple[str, ...]] = {}
        pages: list[dict[str, Any]] = []

        def ask(what: str) -> None:
            if what == "labels":
                labels.update(self._labels_of(ids, kind))
            else:
                pages.extend(self._bulk(ids, kind, body=True))

        list(self._site.map(ask, ("bodies", "labels")))
        spaces, above = self._keys_of(pages), self._above(pages)
        names = self.user_names(sorted({text_of(page["authorId"]) for page in pages if page.get("authorId")}))
        found = {}
        for page in pages:
            one = text_of(page["id"])
            space = spaces.get(text_of(page["spaceId"]), "")
            text = stored_text(page)
            found[one] = Content(
                row=_row(page, kind, space, above[one], labels.get(one, ())),
                body=text or "",
                author=names.get(str(page.get("authorId"))),
                created=utc_text(page.get("createdAt")),
                updated_at=utc_text(page["version"].get("createdAt")),
                link=page.get("_links", {}).get("webui") or f"/spaces/{space}/{_PLACES[kind]}/{one}",
                has_body=text is not None,
            )
        return found

    def file(self, page: str, kind: Kind, name: str) -> File | None:
        """An attachment by its name."""
        path = f"{_V2}/{_PLACES[kind]}/{page}/attachments"
        try:
            found = [one for one in self._site.results(path, [("filename", name)]) if one["title"] == name]
        except SourceError as error:
            if is_missing(error):
                return None
            raise
        if not found:
            return None
        version = found[0]["version"]
        return File(
            page=page,
            name=name,
            version=int(version["number"]),
            media_type=found[0].get("mediaType") or "",
            size=int(found[0].get("fileSize") or 0),
            updated_at=utc_text(version.get("createdAt")),
            link=found[0]["downloadLink"],
        )

    def user_names(self, ids: Sequence[str]) -> dict[str, str]:
        """Display names by account id, asked for once."""
        return self._site.names(ids, self._look_up_users)

    def _look_up_users(self, ids: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in range(0, len(ids), _PAGE):
            try:
                answer = self._site.post(f"{_V2}/users-bulk", {"accountIds": list(ids[start : start + _PAGE])})
            except SourceError as error:
                if self._site.hides(error):
                    continue
                raise
            found |= {text_of(user["accountId"]): user.get("displayName") or "" for user in answer.get("results", ())}
        return {one: name for one, name in found.items() if name}

    def _find_spaces(self, *, keys: Sequence[str] = (), ids: Sequence[str] = ()) -> list[Space]:
        params = [("limit", _PAGE), *(("keys", key) for key in keys), *(("ids", one) for one in ids)]
        spaces = [
            Space(text_of(space["key"]), text_of(space["id"])) for space in self._site.results(f"{_V2}/spaces", params)
        ]
        self._space_keys.update({space.id: space.key for space in spaces})
        return sorted(spaces)

    def _keys_of(self, pages: Sequence[dict[str, Any]]) -> dict[str, str]:
        """The keys of the pages' spaces, by id."""
        unknown = sorted({text_of(page["spaceId"]) for page in pages} - self._space_keys.keys())
        if unknown:
            self._find_spaces(ids=unknown)
        return self._space_keys

    def _bulk(self, ids: Sequence[str], kind: Kind, *, body: bool) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for start in range(0, len(ids), _PAGE):
            params = [("limit", _PAGE), *(("id", one) for one in ids[start : start + _PAGE])]
            params += [("status", status) for status in self._settings.statuses]
            params += [("body-format", "storage")] if body else []
            found.extend(self._site.results(f"{_V2}/{_PLACES[kind]}", params))
        return found

    def _above(self, pages: Sequence[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
        nodes = {text_of(page["id"]): _node(page) for page in pages}
        self._tree.learn(nodes)
        self._tree.complete(nodes)
        return {one: self._tree.above(node) for one, node in nodes.items()}

    def _load_nodes(self, ids: Sequence[str], kind: str) -> dict[str, Node]:
        if kind == "page":
            return {text_of(page["id"]): _node(page) for page in self._bulk(ids, "page", body=False)}
        if kind == "folder":
            return {one: node for one in ids if (node := self._folder(one)) is not None}
        return {}  # whiteboards and databases hold pages too, but have no address to ask at

    def _folder(self, one: str) -> Node | None:
        try:
            return _node(self._site.get(f"{_V2}/folders/{one}"))
        except SourceError as error:
            if is_missing(error):
                return None
            raise

    def _labels(self, space: Space, kind: Kind) -> dict[str, tuple[str, ...]] | None:
        """The labels in a space that the settings ask about, by page; None where they ask about none."""
        if not self._asks_for_labels:
            return None
        found: defaultdict[str, set[str]] = defaultdict(set)
        for label in self._site.results(f"{_V2}/spaces/{space.id}/content/labels", [("limit", _PAGE)]):
            if self._asks_for(label["name"]):
                params = [("space-id", space.id), ("limit", _PAGE)]
                for page in self._site.results(f"{_V2}/labels/{label['id']}/{_PLACES[kind]}", params):
                    found[text_of(page["id"])].add(label["name"])
        return {page: tuple(sorted(names)) for page, names in found.items()}

    @property
    def _asks_for_labels(self) -> bool:
        return self._settings.label_changes or bool(self._wanted_labels)

    def _asks_for(self, label: str) -> bool:
        return self._settings.label_changes or label.lower() in self._wanted_labels

    def _labels_of(self, ids: Sequence[str], kind: Kind) -> dict[str, tuple[str, ...]]:
        """All labels of many pages. The search gives them at once; it may not know the newest pages yet."""
        found: dict[str, tuple[str, ...]] = {}
        cql = f"id in ({','.join(ids)})"
        params = [("cql", cql), ("expand", "metadata.labels"), ("limit", _PAGE)]
        try:
            for content in self._site.results("/rest/api/content/search", params):
                found[text_of(content["id"])] = labels_of(content) or ()
        except SourceError as error:
            if not self._site.hides(error):
                raise
        missing = [one for one in ids if one not in found]
        found.update(zip(missing, self._site.map(lambda one: self._labels_of_one(one, kind), missing), strict=True))
        return found

    def _labels_of_one(self, one: str, kind: Kind) -> tuple[str, ...]:
        try:
            labels = list(self._site.results(f"{_V2}/{_PLACES[kind]}/{one}/labels", [("limit", _PAGE)]))
        except SourceError as error:
            if self._site.hides(error):
                return ()
            raise
        return tuple(sorted(str(label["name"]) for label in labels))


def _node(page: dict[str, Any]) -> Node:
    return Node(page["title"], page.get("parentId"), page.get("parentType"))


def _row(page: dict[str, Any], kind: Kind, space: str, above: tuple[Any, ...], labels: tuple[str, ...] | None) -> Row:
    return Row(
        text_of(page["id"]), kind, page["title"], int(page["version"]["number"]), page["status"], space, above, labels
    )

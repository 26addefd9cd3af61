"""Adoption: what an import announces is what the apply then pays, and the index is that of a fresh load."""

from __future__ import annotations

import numpy as np
import pytest
from qdrant_client import models

from qloader.workspace.foreign import ImportRequest
from servers.embeddings import vector_of
from support.dense_places import dense_place, dense_vectors
from support.foreign_collections import (
    langchain_point,
    llamaindex_point,
    plain,
    point_id,
    qdrant_loader_point,
    theirs,
)
from support.workspaces import plan_and_apply, write

WORDS = ["lamp", "garden", "river", "stone", "bridge", "kettle", "window", "ladder"]
PAGES = {f"guide/page-{n}.md": f"# Page {n}\n\nAbout the {word} and its use." for n, word in enumerate(WORDS)}
PARTS = ["# First\n\nThe first part stays.", "# Second\n\nThe second part is worded anew."]
SOURCES = {**PAGES, "two.md": "\n\n".join(PARTS), "new.md": "# New\n\nNobody else has this."}


@pytest.fixture
def place(tmp_path):
    with dense_place(tmp_path) as place:
        write(tmp_path / "docs", SOURCES)
        yield place


@pytest.fixture
def other():
    with theirs() as other:
        yield other


def langchain(other, name="old"):
    other.create(name, plain())
    points = [langchain_point(f"/home/me/repo/docs/{page}", text) for page, text in PAGES.items()]
    points.append(langchain_point("/home/me/repo/docs/two.md", PARTS[0]))
    points.append(langchain_point("/home/me/repo/docs/two.md", "The second part, before."))
    points.append(langchain_point("/home/me/repo/docs/gone.md", "Nobody needs this any more."))
    other.add(name, points)


def llamaindex(other, name="old"):
    other.create(name, {"text-dense": plain()}, sparse_vectors_config={"text-sparse": models.SparseVectorParams()})
    points = [
        llamaindex_point(f"/home/me/repo/docs/{page}", text, excluded=("file_path",)) for page, text in PAGES.items()
    ]
    points.append(llamaindex_point("/home/me/repo/docs/two.md", PARTS[0], excluded=("file_path",)))
    points.append(llamaindex_point("/home/me/repo/docs/two.md", "The second part, before.", excluded=("file_path",)))
    points.append(
        llamaindex_point("/home/me/repo/docs/gone.md", "Nobody needs this any more.", excluded=("file_path",))
    )
    for point in points:
        point.vector = {"text-dense": point.vector}
    other.add(name, points)


def qdrant_loader(other, name="old"):
    other.create(name, {"dense": plain()}, sparse_vectors_config={"sparse": models.SparseVectorParams()})
    base = "https://github.com/me/repo/blob/main/docs"
    points = [qdrant_loader_point(f"{base}/{page}", text) for page, text in PAGES.items()]
    points.append(qdrant_loader_point(f"{base}/two.md", PARTS[0]))
    points.append(qdrant_loader_point(f"{base}/two.md", "The second part, before."))
    points.append(qdrant_loader_point(f"{base}/gone.md", "Nobody needs this any more."))
    other.add(name, points)


def fates(found):
    return {one.id: (one.fate, one.chunks, one.embed) for one in found.matching.documents()}


EXPECTED = {
    **dict.fromkeys(PAGES, ("kept", 1, 0)),
    "two.md": ("rewritten", 2, 1),
    "new.md": ("new", 1, 1),
}


def assert_vectors_are_the_texts(workspace):
    for text, vector in dense_vectors(workspace).values():
        assert np.allclose(vector, vector_of(text), atol=1e-3), text  # kept in 16 bits


@pytest.mark.parametrize(
    ("engine", "fill"), [("embedded", langchain), ("server", llamaindex), ("server", qdrant_loader)]
)
def test_what_an_import_announces_is_what_the_apply_pays(tmp_path, other, engine, fill):
    write(tmp_path / "docs", SOURCES)
    with dense_place(tmp_path, engine) as place:
        import_and_apply(place, other, fill)


def import_and_apply(place, other, fill):
    fill(other)
    before, asked = other.dump("old"), len(other.server.requests)
    workspace = place.configure()
    with workspace.import_collection(ImportRequest(url=other.url), place.folder / "plan.json") as found:
        assert found.shape.name == fill.__name__.replace("_", "-")
        assert found.dense.check.likeness > 0.9999
        compared = place.paid()
        assert len(compared) == found.dense.check.embedded == 5
        announced, taken = found.dense.to_embed, found.dense.taken
        assert fates(found) == EXPECTED
        (gone,) = found.matching.dropped()
        assert gone.name.endswith("docs/gone.md")
        assert gone.points == 1
    workspace.apply(place.folder / "plan.json")
    paid = place.paid()
    assert sorted(paid) == sorted([PARTS[1], SOURCES["new.md"]])
    assert (len(paid), taken) == (announced, 9 - 5)  # nine texts are in the collection, five of them compared
    assert_vectors_are_the_texts(workspace)
    assert other.dump("old") == before
    reads = {(one.method, one.path.rpartition("/")[2]) for one in other.server.requests[asked:] if one.method != "GET"}
    assert reads == {("POST", "scroll"), ("POST", "count"), ("POST", "points")}
    # A fresh load, by the provider alone, holds the same points with the same vectors.
    workspace.settings.embedding_cache.unlink()
    fresh = place.configure(name="fresh")
    plan_and_apply(fresh)
    ours, expected = dense_vectors(workspace), dense_vectors(fresh)
    assert ours.keys() == expected.keys()
    for point, (text, vector) in expected.items():
        assert ours[point][0] == text
        assert np.allclose(ours[point][1], vector, atol=1e-3)
    with workspace.temporary_plan() as result:
        assert result.plan.header.is_empty


def test_the_plan_is_the_one_that_a_plan_makes(place, other):
    langchain(other)
    workspace = place.configure()
    workspace.plan(place.folder / "one.json")
    with workspace.import_collection(ImportRequest(url=other.url), place.folder / "two.json") as found:
        assert (found.result.estimate.points, found.result.estimate.cached) == (11, 9)
    assert (place.folder / "one.json").read_bytes() == (place.folder / "two.json").read_bytes()


def test_a_second_import_compares_nothing_pays_nothing_and_takes_nothing_over(place, other):
    langchain(other)
    workspace = place.configure()
    with workspace.import_collection(ImportRequest(url=other.url)) as found:
        assert (found.dense.taken, found.dense.cached) == (9 - 5, 0)
        place.paid()
    with workspace.import_collection(ImportRequest(url=other.url)) as found:
        assert (found.dense.check.embedded, found.dense.taken, found.dense.to_embed) == (0, 0, 2)
        assert (found.dense.cached, found.dense.tokens) == (9, 0)
        assert fates(found) == EXPECTED
    assert place.paid() == []


def test_texts_that_llamaindex_embedded_with_their_path_are_not_taken_over(place, other):
    other.create("old", plain())
    other.add("old", [llamaindex_point(f"/home/me/docs/{page}", text) for page, text in PAGES.items()])
    workspace = place.configure()
    with workspace.import_collection(ImportRequest(url=other.url)) as found:
        assert found.matching.count_fates()["rewritten"].documents == len(PAGES)
        assert (found.dense.taken, found.dense.check.embedded) == (0, 0)
        assert f"{len(PAGES)} chunks are in the collection, but embedded together with metadata" in found.notes[0]
    assert place.paid() == []


def test_a_prefix_that_the_other_tool_put_before_its_texts_is_part_of_the_model(place, other):
    other.create("old", plain())
    other.add(
        "old", [langchain_point(page, text, embed=lambda t: vector_of(f"passage: {t}")) for page, text in PAGES.items()]
    )
    workspace = place.configure(document_prefix="passage: ")
    with workspace.import_collection(ImportRequest(url=other.url), place.folder / "plan.json") as found:
        assert found.dense.check.likeness > 0.9999
        assert all(text.startswith("passage: ") for text in place.paid())
        announced, taken = found.dense.to_embed, found.dense.taken
    with workspace.import_collection(ImportRequest(url=other.url)) as found:  # only the texts tell what the cache has
        assert found.dense.taken < taken
        assert found.dense.taken + found.dense.cached + found.dense.check.embedded == len(PAGES)
    place.paid()
    workspace.apply(place.folder / "plan.json")
    assert len(place.paid()) == announced == 3


def test_a_mapping_says_where_the_texts_of_an_unknown_tool_are(place, other):
    other.create("old", {"a": plain(), "b": plain(16)})
    other.add(
        "old",
        [
            models.PointStruct(
                id=number,
                vector={"a": vector_of(text).tolist(), "b": [1.0] * 16},
                payload={"body": {"words": text}, "where": f"C:\\docs\\{page}".replace("/", "\\")},
            )
            for number, (page, text) in enumerate(PAGES.items())
        ],
    )
    mapping = place.folder / "mapping.yaml"
    mapping.write_text("text: body.words\ndocument: where\nvector: a\n")
    workspace = place.configure()
    with workspace.import_collection(ImportRequest(url=other.url, shape=str(mapping))) as found:
        assert found.matching.count_fates()["kept"].documents == len(PAGES)
        assert {one.foreign for one in found.matching.documents("kept")} == {
            f"C:\\docs\\{page}".replace("/", "\\") for page in PAGES
        }
        assert found.dense.taken == len(PAGES) - 5


def test_vectors_of_any_length_and_distance_are_scaled_as_the_config_says(place, other):
    """Dot and Euclid keep vectors as they were given; what counts is where they point."""
    other.create("old", plain(distance=models.Distance.DOT))
    other.add("old", [langchain_point(page, text, embed=lambda t: 7 * vector_of(t)) for page, text in PAGES.items()])
    workspace = place.configure()
    with workspace.import_collection(ImportRequest(url=other.url), place.folder / "plan.json"):
        pass
    workspace.apply(place.folder / "plan.json")
    assert_vectors_are_the_texts(workspace)


def test_without_dense_vectors_an_import_only_reports(place, other):
    langchain(other)
    workspace = place.configure(dense=False)
    with workspace.import_collection(ImportRequest(url=other.url)) as found:
        assert found.dense is None
        assert fates(found) == EXPECTED
    assert place.paid() == []
    assert not workspace.settings.embedding_cache.exists()


def test_what_the_index_holds_already_is_neither_new_nor_dropped(place, other):
    langchain(other)
    workspace = place.configure()
    plan_and_apply(workspace)
    (place.folder / "docs" / "new.md").rename(place.folder / "docs" / "renamed.md")
    write(place.folder / "docs", {"two.md": None, "later.md": "# Later\n\nWritten after the load."})
    with workspace.import_collection(ImportRequest(url=other.url)) as found:
        assert fates(found) == {
            **dict.fromkeys(PAGES, ("applied", 0, 0)),
            "renamed.md": ("applied", 0, 0),
            "later.md": ("new", 1, 1),
        }
        assert [one.name for one in found.matching.dropped()] == [
            "/home/me/repo/docs/gone.md",
            "/home/me/repo/docs/two.md",
        ]


def test_a_point_without_a_usable_vector_is_embedded_anew(place, other):
    other.create("old", {"a": plain(distance=models.Distance.DOT), "b": plain(4)})
    pages = list(PAGES.items())
    points = [langchain_point(page, text) for page, text in pages]
    for point in points:
        point.vector = {"a": point.vector, "b": [1.0] * 4}
    points[0].vector = {"b": [1.0] * 4}
    points[1].vector["a"] = [0.0] * 32
    points.append(models.PointStruct(id=1, vector={"b": [1.0] * 4}, payload={"metadata": {"source": "empty.md"}}))
    other.add("old", points)
    workspace = place.configure()
    with workspace.import_collection(ImportRequest(url=other.url, vector="a"), place.folder / "plan.json") as found:
        assert found.notes == (
            "1 point left out: without a text.",
            "2 vectors left out: gone or changed since, zero, or no numbers.",
        )
        announced = found.dense.to_embed
        place.paid()
    workspace.apply(place.folder / "plan.json")
    paid = place.paid()
    assert announced == len(paid)
    assert {pages[0][1], pages[1][1]} <= set(paid)


def test_texts_longer_than_what_the_model_reads_are_embedded_anew(place, other):
    """The other tool may have cut them elsewhere, and no comparison of short texts would show it."""
    long = "# Long\n\n" + "words and words " * 8
    write(place.folder / "docs", {"long.md": long})
    other.create("old", plain())
    other.add("old", [langchain_point(page, text) for page, text in PAGES.items()])
    other.add("old", [langchain_point("long.md", long.strip(), embed=lambda t: vector_of(t[:20]))])
    workspace = place.configure(max_tokens=16)
    with workspace.import_collection(ImportRequest(url=other.url)) as found:
        assert found.dense.check.likeness > 0.9999
        assert found.notes == (
            "1 text left out: longer than what the model reads, and cut by each tool in its own way.",
        )
        assert next(one for one in found.matching.documents("rewritten") if one.id == "long.md").embed == 1


def with_line_ends(other, embed=vector_of):
    other.create("old", plain())
    pages = list(PAGES.items())
    other.add("old", [langchain_point(page, text, embed=embed) for page, text in pages[:2]])
    other.add("old", [langchain_point(page, f"{text}\n\n", embed=embed) for page, text in pages[2:]])


def test_blank_space_around_texts_does_not_matter_where_it_does_not_matter_to_the_model(place, other):
    with_line_ends(other)
    workspace = place.configure()
    with workspace.import_collection(ImportRequest(url=other.url), place.folder / "plan.json") as found:
        assert found.dense.check.embedded == 2 + 5  # of both kinds
        assert found.matching.count_fates()["kept"].documents == len(PAGES)
        assert found.notes == ()
        place.paid()
    workspace.apply(place.folder / "plan.json")
    assert len(place.paid()) == found.dense.to_embed == 3
    assert_vectors_are_the_texts(workspace)


def test_texts_with_blank_space_are_left_out_where_the_model_tells_them_apart(place, other):
    with_line_ends(other, lambda text: vector_of(text + " line" * text.endswith("\n\n")))
    workspace = place.configure()
    with workspace.import_collection(ImportRequest(url=other.url), place.folder / "plan.json") as found:
        place.paid()
        assert found.dense.check.likeness > 0.9999
        (note,) = found.notes
        assert note.startswith("1 text left out: embedded there with blank space around them")
        assert found.dense.to_embed == 4
    workspace.apply(place.folder / "plan.json")
    assert len(place.paid()) == 4
    assert_vectors_are_the_texts(workspace)


def test_a_trusted_model_is_not_compared(place, other):
    other.create("old", plain())
    other.add("old", [langchain_point(page, text, embed=lambda t: vector_of(t[:-3])) for page, text in PAGES.items()])
    with place.configure(dimensions=32).import_collection(ImportRequest(url=other.url, trust_model=True)) as found:
        assert (found.dense.check.is_trusted, found.dense.taken) == (True, len(PAGES))
    assert place.paid() == []
    # Where nothing says how long the model's vectors are, one text has to.
    place.configure().settings.embedding_cache.unlink()
    with place.configure().import_collection(ImportRequest(url=other.url, trust_model=True)) as found:
        assert found.dense.check.embedded == 1
    assert len(place.paid()) == 1


def test_a_collection_of_another_program_in_a_folder_is_read_and_left_as_it_is(place):
    from qdrant_edge import Distance, EdgeConfig, EdgeShard, EdgeVectorParams, Point, UpdateOperation

    folder = place.folder / "theirs" / "old"
    folder.mkdir(parents=True)
    shard = EdgeShard.create(str(folder), EdgeConfig(vectors={"": EdgeVectorParams(size=32, distance=Distance.Cosine)}))
    payloads = {point_id(page): langchain_point(page, text) for page, text in PAGES.items()}
    shard.update(UpdateOperation.upsert_points([Point(i, p.vector, p.payload) for i, p in payloads.items()]))
    shard.flush()
    shard.close()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for request in (ImportRequest(path=folder), ImportRequest(path=folder.parent, collection="old")):
        with place.configure().import_collection(request) as found:
            assert found.collection.name == "old"
            assert found.matching.count_fates()["kept"].documents == len(PAGES)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

"""The embedding cache: what it finds again, what it forgets, and that nothing is lost with it but money."""

import multiprocessing
import os
import sqlite3
import stat
from contextlib import closing

import numpy as np
import pytest

from qloader.embedding.cache import EmbeddingCache
from qloader.embedding.known import cache_key, scope_of
from qloader.errors import EmbeddingError

SCOPE = scope_of(b"settings")
MODEL = "provider/model"


def keys(count, *, first=0):
    return [cache_key(SCOPE, f"text {n}".encode()) for n in range(first, first + count)]


def rows(count, dim=48, *, seed=1):
    found = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "embeddings.db"


@pytest.fixture
def filled(path):
    with EmbeddingCache.open(path) as cache:
        cache.put_many(keys(100), rows(100), model=MODEL)
    return path


def found(path, count=100, **options):
    with EmbeddingCache.open(path, **options) as cache:
        return cache.get_many(keys(count))


@pytest.mark.parametrize(("precision", "error"), [("float16", 1e-3), ("float32", 0)])
def test_what_was_kept_is_found_by_another_process(path, precision, error):
    vectors = rows(2000)
    with EmbeddingCache.open(path, precision=precision) as cache:
        assert cache.put_many(keys(2000), vectors, model=MODEL) == 2000
        near = cache.rounded(vectors)
    again = found(path, 3000)
    assert len(again) == 2000
    for number, key in enumerate(keys(2000)):
        assert again[key].dtype == np.float32
        assert np.array_equal(again[key], near[number])
        assert np.abs(again[key] - vectors[number]).max() <= error


def test_both_precisions_lie_in_one_cache(filled):
    with EmbeddingCache.open(filled, precision="float32") as cache:
        cache.put_many(keys(100, first=100), rows(100, seed=2), model=MODEL)
        assert len(cache.get_many(keys(200))) == 200
        assert np.array_equal(cache.get_many(keys(200))[keys(200)[150]], rows(100, seed=2)[50])


def test_numbers_that_float16_does_not_hold_are_kept_in_full(path):
    vectors = np.array([[1e6, 1.0], [1e-9, 0], [0.5, 0.25]], dtype=np.float32)
    with EmbeddingCache.open(path) as cache:
        cache.put_many(keys(3), vectors, model=MODEL)
        assert [cache.get_many(keys(3))[key].tolist() for key in keys(3)] == vectors.tolist()


def test_a_key_keeps_its_first_vector(filled):
    with EmbeddingCache.open(filled) as cache:
        assert cache.put_many(keys(101), rows(101, seed=7), model=MODEL) == 1
        assert np.array_equal(cache.get_many(keys(1))[keys(1)[0]], cache.rounded(rows(100))[0])


def test_only_its_owner_may_read_it(filled):
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in filled.parent.iterdir())


def test_stats_say_what_there_is_by_model(path):
    with EmbeddingCache.open(path, today=lambda: 20_000) as cache:
        cache.put_many(keys(100), rows(100), model=MODEL)
        cache.put_many(keys(5, first=100), rows(5, 96), model="provider/other")
    with EmbeddingCache.open(path, today=lambda: 20_007) as cache:
        cache.get_many(keys(10))
        stats = cache.stats()
    assert [(m.name, m.dim, m.vectors, m.first_used, m.last_used) for m in stats.models] == [
        (MODEL, 48, 100, 20_000, 20_007),
        ("provider/other", 96, 5, 20_000, 20_000),
    ]
    assert stats.vectors == 105
    assert stats.path == path
    assert 105 * 96 < stats.bytes < stats.max_bytes


def test_what_was_not_used_for_longest_goes_first_when_it_is_full(path):
    for day in range(4):
        with EmbeddingCache.open(path, max_bytes=950_000, today=lambda day=day: day) as cache:
            cache.put_many(keys(1000, first=day * 1000), rows(1000, 128, seed=day), model=MODEL)
            cache.get_many(keys(500))  # of the first day, used every day
            assert cache.stats().bytes <= 950_000
    again = found(path, 4000)
    assert all(key in again for key in keys(500))  # used every day
    assert all(key in again for key in keys(2000, first=2000))  # new
    assert not any(key in again for key in keys(500, first=500))  # not used since the first day
    assert 0 < sum(key in again for key in keys(1000, first=1000)) < 1000  # not since the second: as many as had to


def on_disk(path):
    return sum(file.stat().st_size for file in path.parent.iterdir() if file.name.startswith(path.name))


def test_prune_by_days_by_model_and_by_size(path):
    with EmbeddingCache.open(path, today=lambda: 10) as cache:
        cache.put_many(keys(100), rows(100), model=MODEL)
    with EmbeddingCache.open(path, today=lambda: 40) as cache:
        cache.put_many(keys(3000, first=100), rows(3000), model="new")
        before = on_disk(path)
        assert cache.prune(unused_days=30) == 0
        assert cache.prune(unused_days=29) == 100
        assert cache.prune(model=MODEL) == 0
        assert cache.prune(max_bytes=200_000) > 0
        assert cache.stats().bytes <= 200_000
        assert on_disk(path) < before / 2
        left = cache.stats().vectors
        assert cache.prune(model="new") == left
        assert cache.stats().vectors == 0


def test_an_export_is_merged_by_an_import(filled, tmp_path):
    export = tmp_path / "elsewhere" / "vectors.db"
    export.parent.mkdir()
    with EmbeddingCache.open(filled) as cache:
        assert cache.export(export) == 100
        assert cache.export(export) == 100  # over the one from before
    assert list(export.parent.iterdir()) == [export]
    assert stat.S_IMODE(export.stat().st_mode) == 0o600
    export.chmod(0o400)
    with EmbeddingCache.open(tmp_path / "laptop.db") as other:
        other.put_many(keys(30, first=80), rows(30, seed=3), model=MODEL)
        result = other.import_from(export)
        assert (result.added, result.known, result.damaged) == (80, 20, 0)
        assert len(other.get_many(keys(110))) == 110
        assert other.import_from(export).added == 0
        assert [model.name for model in other.stats().models] == [MODEL]


def test_a_cache_that_cannot_be_used_says_once_what_that_costs(tmp_path):
    (tmp_path / "file").write_text("")
    told = []
    with EmbeddingCache.open(tmp_path / "file" / "cache.db", tell=told.append) as cache:
        assert cache.get_many(keys(1)) == {}
        assert cache.put_many(keys(1), rows(1), model=MODEL, is_told=False) == 0
        assert told == []
        for _ in range(2):
            assert cache.put_many(keys(1), rows(1), model=MODEL) == 0
        (sentence,) = told
        assert f"{cache.path} cannot be used (Not a directory): what is embedded now is not kept" in sentence
        with pytest.raises(EmbeddingError, match="cannot be used: Not a directory"):
            cache.stats()


def test_an_export_is_never_half_there(filled, tmp_path):
    with EmbeddingCache.open(filled) as cache:
        with pytest.raises(EmbeddingError, match="cannot be exported"):
            cache.export(tmp_path / "missing" / "vectors.db")
        (tmp_path / "folder").mkdir()
        with pytest.raises(EmbeddingError, match="cannot be exported"):
            cache.export(tmp_path / "folder")
    assert not [file for file in tmp_path.iterdir() if file.suffix == ".part"]


def test_a_file_that_is_no_export_is_refused(filled, tmp_path):
    text, other = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("no database " * 200)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE entry (key)")
    with EmbeddingCache.open(filled) as cache:
        for file, says in [
            (tmp_path / "missing.db", "there is no exported cache"),
            (text, "is no exported cache, or is damaged"),
            (other, "is a SQLite file, but no exported cache"),
        ]:
            with pytest.raises(EmbeddingError, match=says):
                cache.import_from(file)
        other.unlink()  # an export replaces exports alone
        cache.export(other)
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("PRAGMA user_version = 9")
    with (
        EmbeddingCache.open(filled) as cache,
        pytest.raises(EmbeddingError, match="exported by another version"),
    ):
        cache.import_from(other)


def test_damaged_rows_of_an_export_are_left_out(filled, tmp_path):
    export = tmp_path / "vectors.db"
    with EmbeddingCache.open(filled) as cache:
        cache.export(export)
    with closing(sqlite3.connect(export)) as connection, connection:
        connection.execute("UPDATE vector SET data = zeroblob(96) WHERE id <= 10")
        connection.execute("UPDATE vector SET data = 'text' WHERE id = 11")
        connection.execute("DELETE FROM vector WHERE id = 12")
    with EmbeddingCache.open(tmp_path / "laptop.db") as other:
        result = other.import_from(export)
        assert (result.added, result.known, result.damaged) == (88, 0, 12)
        assert len(other.get_many(keys(100))) == 88


def test_a_vector_that_was_damaged_on_the_disk_is_not_served(filled):
    with closing(sqlite3.connect(filled)) as connection, connection:
        data = connection.execute("SELECT data FROM vector WHERE id = 5").fetchone()[0]
        connection.execute("UPDATE vector SET data = ? WHERE id = 5", (bytes([data[0] ^ 1]) + data[1:],))
    with EmbeddingCache.open(filled) as cache:
        assert len(cache.get_many(keys(100))) == 99
        assert cache.stats().vectors == 99  # so that it is kept anew


@pytest.mark.parametrize("damage", ["no database", "middle", "empty"])
def test_a_damaged_file_is_put_aside_and_another_one_begun(filled, damage):
    data = bytearray(filled.read_bytes())
    if damage == "middle":
        data[100:] = os.urandom(len(data) - 100)
    content = {"no database": b"something else" * 100, "middle": bytes(data), "empty": b""}[damage]
    filled.write_bytes(content)
    told: list[str] = []
    with EmbeddingCache.open(filled, tell=told.append) as cache:
        cache.get_many(keys(100))
        cache.put_many(keys(100), rows(100), model=MODEL)
        assert len(cache.get_many(keys(100))) == 100
    assert len(found(filled)) == 100
    aside = filled.with_name(filled.name + ".damaged")
    assert aside.read_bytes() == content if content else not aside.exists()
    if content:
        (sentence,) = told
        assert sentence.startswith(f"The embedding cache {filled} is damaged: it was put aside as {aside.name}")
    else:
        assert told == [], "an empty file is a new one"


def test_a_database_of_another_program_is_left_alone(path):
    for version in (0, 1):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS mine (key)")
            connection.execute(f"PRAGMA user_version = {version}")
        before = path.read_bytes()
        with EmbeddingCache.open(path) as cache:
            assert cache.put_many(keys(1), rows(1), model=MODEL) == 0
        assert path.read_bytes() == before


def test_damage_while_it_is_open_loses_only_speed(filled):
    with EmbeddingCache.open(filled) as cache, EmbeddingCache.open(filled) as other:
        assert len(cache.get_many(keys(3))) == 3
        with filled.open("r+b") as file:
            file.seek(100)
            file.write(os.urandom(filled.stat().st_size - 100))
        fresh = EmbeddingCache.open(filled)  # reads it from the disk, finds the damage, begins anew
        assert fresh.get_many(keys(100)) == {}
        fresh.put_many(keys(100), rows(100), model=MODEL)
        assert len(fresh.get_many(keys(100))) == 100
        fresh.close()
        for one in (cache, other):  # who had it open goes on, with what there is or without
            one.get_many(keys(100))
            one.put_many(keys(5, first=500), rows(5), model=MODEL)
    assert len(found(filled)) == 100


def test_a_cache_of_a_newer_qloader_is_left_alone(filled):
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("PRAGMA user_version = 9")
    with EmbeddingCache.open(filled) as cache:
        assert cache.get_many(keys(100)) == {}
        assert cache.put_many(keys(1, first=100), rows(1), model=MODEL) == 0
        for insist in (cache.stats, lambda: cache.prune(unused_days=0)):  # it is not told as an empty one
            with pytest.raises(EmbeddingError, match="a newer qloader made it"):
                insist()
    with closing(sqlite3.connect(filled)) as connection:
        assert connection.execute("SELECT count(*) FROM entry").fetchone() == (100,)


def test_where_no_cache_can_be_nothing_is_kept(tmp_path):
    (tmp_path / "file").write_text("")
    with EmbeddingCache.open(tmp_path / "file" / "embeddings.db") as cache:
        assert cache.put_many(keys(1), rows(1), model=MODEL) == 0
        assert cache.get_many(keys(1)) == {}


def _fill(path, number):
    with EmbeddingCache.open(path) as cache:
        for start in range(0, 1000, 50):
            cache.put_many(keys(50, first=start), rows(50, seed=start), model=MODEL)
            cache.put_many(keys(50, first=10_000 * number + start), rows(50), model=MODEL)
            cache.get_many(keys(1000))


def test_several_processes_may_use_it_at_once(path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(path, number)) for number in (1, 2, 3)]
    [process.start() for process in processes]
    [process.join(600) for process in processes]
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with EmbeddingCache.open(path) as cache:
        assert cache.stats().vectors == 4000
        assert len(cache.get_many(keys(1000))) == 1000


def test_vectors_of_another_length_under_one_model_are_told_apart(path):
    with EmbeddingCache.open(path) as cache:
        cache.put_many(keys(2), rows(2, 48), model=MODEL)
        cache.put_many(keys(2, first=2), rows(2, 24), model=MODEL)
        assert [len(vector) for vector in cache.get_many(keys(4)).values()].count(24) == 2
        assert [(model.name, model.dim) for model in cache.stats().models] == [(MODEL, 24), (MODEL, 48)]

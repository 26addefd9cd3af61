import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloader.documents.document import SKIP_REASONS, Document, Skipped
from qloader.documents.hashing import metadata_hash
from qloader.documents.reading import READER, document_uri, human_size, markdown_heading, read_document


def read(path, data, **more):
    data = data.encode() if isinstance(data, str) else data
    return read_document(path, data, path=path, revision="r", uri=path, **more)


def test_a_markdown_document_has_all_its_parts():
    document = read("docs/a.md", "---\ntags: [x]\n---\n# Hello\n\nWords.\n", updated_at="2024-01-02T03:04:05Z")
    assert document == Document(
        id="docs/a.md",
        title="Hello",
        uri="docs/a.md",
        text="# Hello\n\nWords.\n",
        revision="r",
        bytes=34,
        metadata={"tags": ["x"]},
        updated_at="2024-01-02T03:04:05Z",
        syntax="markdown",
    )


def test_the_title_of_the_front_matter_comes_before_the_heading():
    document = read("a.md", "---\ntitle: From the top\n---\n# Heading\n")
    assert document.title == "From the top"
    assert document.metadata == {}


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# One\n# Two\n", "One"),
        ("intro\n\n## Second level first\n", "Second level first"),
        ("Underlined\n==========\n", "Underlined"),
        ("Underlined\n---\n", "Underlined"),
        ("- item\n---\n# Real\n", "Real"),
        ("***\n\n---\n\n# After rules\n", "After rules"),
        ("```sh\n# a comment\n```\n# Real\n", "Real"),
        ("~~~\n```\n# no\n~~~\n# Real\n", "Real"),
        ("````\n```\n# no\n````\n# Real\n", "Real"),
        ("<!--\n# hidden\n-->\n# Real\n", "Real"),
        ("    # indented code\n\n# Real\n", "Real"),
        ("#hashtag\n\n# Real\n", "Real"),
        ("#\n# Real\n", "Real"),
        ("# C#\n", "C#"),
        ("# Closed ##\n", "Closed"),
        ("# **Bold** _and_ `code` [link](http://x) snake_case_name {#id}\n", "Bold and code link snake_case_name"),
        ("# a \\* b\n", "a * b"),
        ("no heading at all\n", ""),
        ("x\n" * 70_000 + "# too far down\n", ""),
    ],
)
def test_the_first_heading_is_the_title(text, title):
    assert markdown_heading(text) == title


def test_a_title_is_one_line_of_bounded_length_without_control_characters():
    document = read("a.md", '---\ntitle: "a\\n\\e[31mb\\0  c"\n---\n')
    assert document.title == "a [31mb c"
    assert len(read("b.md", "# " + "word " * 1000).title) <= 300


@pytest.mark.parametrize(
    ("path", "text", "title", "syntax"),
    [
        ("x/notes.md", "no heading", "notes", "markdown"),
        ("x/notes.txt", "# not a heading", "notes", "text"),
        ("x/tool.py", "# a comment", "tool.py", "text"),
        ("x/README", "words", "README", "text"),
        ("x/.hidden", "words", ".hidden", "text"),
        ("x/guide.rst", "words", "guide", "text"),
        ("x/guide.rst", ".. note::\n\nGuide\n=====\n\nwords", "Guide", "text"),
        ("x/guide.rst", "=====\nGuide\n=====\n", "Guide", "text"),
        ("x/guide.rst", "Longer than its line\n====\n", "guide", "text"),
        ("X/PAGE.HTML", "<p>words", "PAGE", "markdown"),
    ],
)
def test_the_suffix_decides_how_a_file_is_read(path, text, title, syntax):
    document = read(path, text)
    assert (document.title, document.syntax) == (title, syntax)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_encoding_with_a_mark_reads_the_same(encoding):
    assert read("a.txt", "Grüße\r\n".encode(encoding)).text == "Grüße\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\x00b", "binary"),
        ("utf-16 without a mark".encode("utf-16-le"), "binary"),
        (b"%PDF-1.7\n", "binary"),
        (b"PK\x03\x04rest", "binary"),
        (b"caf\xe9", "undecodable"),
        (b"\xed\xa0\x80 a lone surrogate", "undecodable"),
        (b"\xff\xfe\x00\xd8", "undecodable"),
        (b"\xff\xfea", "undecodable"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "pointer"),
        (b"x" * 2001, "too large"),
    ],
)
def test_what_is_no_text_is_skipped_with_its_reason(data, reason):
    result = read("a.md", data, max_bytes=2000)
    assert isinstance(result, Skipped)
    assert (result.id, result.reason, result.is_failure) == ("a.md", reason, False)
    assert result.detail
    assert reason in SKIP_REASONS


def test_a_nul_deep_in_a_text_is_taken_out():
    assert read("a.txt", b"x" * 9000 + b"\x00y").text == "x" * 9000 + "y\n"


def test_an_empty_file_is_a_document_with_an_empty_text():
    document = read("a.md", b"")
    assert (document.text, document.title, document.bytes) == ("", "a", 0)


def test_the_metadata_of_the_source_wins_over_front_matter():
    document = read("a.md", "---\nteam: mine\nx: 1\n---\n", extra_metadata={"team": "docs"})
    assert document.metadata == {"team": "docs", "x": 1}


def test_front_matter_changes_the_metadata_hash_and_not_the_text():
    one, two = read("a.md", "---\nx: 1\n---\ntext\n"), read("a.md", "---\nx: 2\n---\ntext\n")
    assert one.text == two.text
    hashes = {metadata_hash(d.title, d.uri, d.metadata) for d in (one, two)}
    assert len(hashes) == 2


@given(st.binary(max_size=200), st.sampled_from(["a.md", "a.html", "a.rst", "a.txt", "a.bin"]))
def test_no_bytes_are_ever_a_crash(data, path):
    result = read(path, data)
    if isinstance(result, Document):
        assert result.title
        result.text.encode()
        metadata_hash(result.title, result.uri, result.metadata)
    else:
        assert result.reason in SKIP_REASONS


def test_a_uri_is_filled_and_in_a_web_address_encoded():
    assert document_uri("{path}", "a b/ü.md") == "a b/ü.md"
    assert document_uri("https://x.org/{path}?v=1", "a b/ü#.md") == "https://x.org/a%20b/%C3%BC%23.md?v=1"
    assert document_uri("{path}", "{path}{0}.md") == "{path}{0}.md"


def test_sizes_are_written_for_people():
    assert [human_size(n) for n in (0, 999, 1000, 12_345_678, 10_000_000, 999_960)] == [
        "0 B",
        "999 B",
        "1 kB",
        "12.3 MB",
        "10 MB",
        "1 MB",
    ]


def test_the_reader_names_the_version_of_its_rules():
    assert READER.startswith("1.1 ")

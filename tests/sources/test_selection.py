import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qloader.errors import ConfigError
from qloader.sources.selection import Selection


@pytest.mark.parametrize(
    ("include", "exclude", "path", "selected"),
    [
        (["**/*.md"], [], "a.md", True),
        (["**/*.md"], [], "x/y/a.md", True),
        (["**/*.md"], [], "a.mdx", False),
        (["*.md"], [], "x/y/a.md", True),
        (["/*.md"], [], "x/a.md", False),
        (["docs/**/*.md"], [], "docs/a.md", True),
        (["docs/**/*.md"], [], "docs/x/a.md", True),
        (["docs/**/*.md"], [], "other/docs/a.md", False),
        (["docs/"], [], "docs/anything.bin", True),
        (["docs/"], [], "x/docs/anything.bin", True),
        (["docs"], [], "docs", True),
        (["*"], ["drafts/"], "drafts/a.md", False),
        (["*"], ["drafts/"], "x/drafts/a.md", False),
        (["*"], ["/drafts/"], "x/drafts/a.md", True),
        (["*.md"], ["**/secret*"], "x/secret-plan.md", False),
        (["*.md", "!README.md"], [], "x/README.md", False),
        (["*.md", "!README.md"], [], "x/intro.md", True),
        (["*"], ["*.md", "!keep.md"], "x/keep.md", True),
        (["*"], ["*.md", "!keep.md"], "x/drop.md", False),
        (["*"], ["build/", "!build/keep.md"], "build/keep.md", True),
        (["*.md"], [], "a\nb/c.md", True),
        (["[ab].md"], [], "a.md", True),
        (["[!ab].md"], [], "a.md", False),
        (["ü*.md"], [], "über.md", True),
        ([r"\#1.md"], [], "#1.md", True),
        ([], [], "a.md", False),
    ],
)
def test_patterns_mean_what_they_mean_in_gitignore(include, exclude, path, selected):
    assert bool(Selection(include, exclude).selects(path)) is selected


@pytest.mark.parametrize(
    ("include", "exclude", "folder", "excluded"),
    [
        (["*.md"], [], "docs", False),
        (["*.md"], ["node_modules/"], "a/node_modules", True),
        (["*.md"], ["node_modules"], "node_modules", True),
        (["*.md"], ["build/", "!build/keep.md"], "build", False),
        (["docs/**/*.md"], [], "docs", False),
        (["docs/**/*.md"], [], "docs/x/y", False),
        (["docs/**/*.md"], [], "src", True),
        (["docs/api/*.md"], [], "docs", False),
        (["docs/api/*.md"], [], "docs/guide", True),
        (["docs/api/*.md", "notes/*.md"], [], "notes", False),
        (["docs/api/*.md", "*.txt"], [], "src", False),
        (["docs/api"], [], "docs/api/v1", False),
        (["/docs/"], [], "docs", False),
        (["/docs/"], [], "src", True),
        (["*"], [], ".git", True),
        (["*"], [], "a/.svn", True),
        (["*"], [], ".qloader", True),
        (["*"], [], ".github", False),
    ],
)
def test_a_folder_that_can_hold_nothing_is_not_entered(include, exclude, folder, excluded):
    assert bool(Selection(include, exclude).excludes_folder(folder)) is excluded


PARTS = st.sampled_from(["docs", "api", "a", "b.md", "x.txt", "build"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(
    st.sampled_from(["*.md", "docs/**", "docs/api/*", "/a/", "build/", "a/**/b.md", "docs", "!docs/api/", "x.txt"]),
    min_size=1,
    max_size=3,
).filter(lambda patterns: any(not pattern.startswith("!") for pattern in patterns))


@given(PATTERNS, PATTERNS | st.just([]), PATHS)
def test_nothing_that_is_selected_lies_in_a_folder_that_is_not_entered(include, exclude, path):
    selection = Selection(include, exclude)
    if selection.selects(path):
        parts = path.split("/")
        for end in range(1, len(parts)):
            assert not selection.excludes_folder("/".join(parts[:end]))


@pytest.mark.skipif(shutil.which("git") is None, reason="compares with git itself")
@pytest.mark.parametrize(
    "patterns",
    [["*.md"], ["docs/"], ["/docs/*.md"], ["docs/**/b.md"], ["**/api/**"], ["*.md", "!b.md"], ["a?c", "[!x]*.txt"]],
)
def test_the_same_files_match_as_in_git(tmp_path, patterns):
    paths = ["a.md", "docs/b.md", "docs/api/b.md", "x/docs/c.md", "abc", "x.txt", "y.txt", "x/api/d/e.txt"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("\n".join(patterns) + "\n")
    answer = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=tmp_path,
        input="\n".join(paths),
        capture_output=True,
        text=True,
        check=False,
    )
    select = Selection(patterns).selects
    assert [path for path in paths if select(path)] == answer.stdout.split()


@pytest.mark.parametrize("pattern", ["", " ", "!", "/", "# note", "a\\"])
@pytest.mark.parametrize("key", ["include", "exclude"])
def test_a_pattern_that_matches_nothing_is_an_error_that_names_it(pattern, key):
    patterns = {"include": ["*.md"], "exclude": [], key: [pattern]}
    with pytest.raises(ConfigError) as caught:
        Selection(patterns["include"], patterns["exclude"])
    assert repr(pattern) in str(caught.value)
    assert key in str(caught.value)
    assert ".gitignore" in caught.value.remedy

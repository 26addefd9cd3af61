"""Builds git repositories object by object, also such as no git would write."""

from __future__ import annotations

import stat
import threading
from contextlib import contextmanager
from wsgiref.simple_server import make_server

from dulwich.objects import Blob, Commit, Tag, Tree
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import WSGIRequestHandlerLogger, WSGIServerLogger, make_wsgi_chain

FILE, LINK, SUBMODULE = 0o100644, 0o120000, 0o160000
START = 1_700_000_000


class Link(str):
    """A symbolic link's target."""


class Submodule(str):
    """A submodule's commit id."""


class Builder:
    """A repository, new or one that is there, that grows commit by commit. Times go up an hour each."""

    def __init__(self, path, *, bare=False):
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        if (path / ".git").exists():
            self.repo = Repo(str(path))
        else:
            self.repo = Repo.init_bare(str(path)) if bare else Repo.init(str(path))
        self.repo.refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.repo.close()

    def blob(self, data):
        blob = Blob.from_string(data if isinstance(data, bytes) else data.encode())
        self.repo.object_store.add_object(blob)
        return blob.id

    def tree(self, files):
        """A tree from `{path: text | bytes | Link | Submodule}`; paths may be bytes."""
        folders, tree = {}, Tree()
        for path, content in files.items():
            raw = path if isinstance(path, bytes) else path.encode()
            head, slash, rest = raw.partition(b"/")
            if slash:
                folders.setdefault(head, {})[rest] = content
            elif isinstance(content, Link):
                tree.add(raw, LINK, self.blob(str(content)))
            elif isinstance(content, Submodule):
                tree.add(raw, SUBMODULE, str(content).encode())
            else:
                tree.add(raw, FILE, self.blob(content))
        for name, below in folders.items():
            tree.add(name, stat.S_IFDIR, self.tree(below))
        self.repo.object_store.add_object(tree)
        return tree.id

    def commit(self, files, *, branch="main", parents=None, at=None):
        """Commits files (a dictionary, or a tree's id) to a branch; returns the commit's id as text."""
        ref = f"refs/heads/{branch}".encode()
        if parents is None:
            parents = [self.repo.refs[ref].decode()] if ref in self.repo.refs else []
        self.count += 1
        commit = Commit()
        commit.tree = files if isinstance(files, bytes) else self.tree(files)
        commit.parents = [parent.encode() for parent in parents]
        commit.author = commit.committer = b"A <a@example.org>"
        commit.author_time = commit.commit_time = START + 3600 * self.count if at is None else at
        commit.author_timezone = commit.commit_timezone = 7200
        commit.message = b"change"
        self.repo.object_store.add_object(commit)
        self.repo.refs[ref] = commit.id
        return commit.id.decode()

    def tag(self, name, commit):
        """An annotated tag."""
        tag = Tag()
        tag.tagger = b"A <a@example.org>"
        tag.tag_time, tag.tag_timezone = START, 0
        tag.message, tag.name = b"release", name.encode()
        tag.object = (Commit, commit.encode())
        self.repo.object_store.add_object(tag)
        self.repo.refs[f"refs/tags/{name}".encode()] = tag.id
        return tag.id.decode()

    def pack(self):
        """Packs all loose objects and refs."""
        self.repo.object_store.pack_loose_objects()
        self.repo.refs.pack_refs(all=True)

    def object_path(self, sha):
        return self.path / (".git" if not self.repo.bare else "") / "objects" / sha[:2] / sha[2:]


@contextmanager
def http_server(repo, *, token=None):
    """Serves a repository over HTTP on the loopback; yields its address and the list of requests."""
    requests = []
    app = make_wsgi_chain(DictBackend({"/repo": repo}))

    def guarded(environ, start_response):
        import base64

        requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("HTTP_AUTHORIZATION")))
        sent = environ.get("HTTP_AUTHORIZATION", "").removeprefix("Basic ")
        if token is not None and base64.b64decode(sent).decode().partition(":")[2] != token:
            start_response("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"'), ("Content-Length", "0")])
            return [b""]
        return app(environ, start_response)

    class Quiet(WSGIRequestHandlerLogger):
        def log_message(self, *args):
            pass

    server = make_server("127.0.0.1", 0, guarded, handler_class=Quiet, server_class=WSGIServerLogger)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/repo", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

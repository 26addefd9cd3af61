"""A documentation site on loopback: its pages can be edited, its manners changed, and what was asked for is counted.

`PYTHONPATH=tests python tests/servers/docs_site.py --port 8000` serves a small one to look at.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from servers.serving import serve


@dataclass
class SitePage:
    """A page as its author wrote it; the site puts menu and footer around it."""

    title: str
    html: str
    language: str = "en"
    head: str = ""
    content_type: str = "text/html; charset=utf-8"
    charset: str = "utf-8"
    bare: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """A request, and what was sent back."""

    path: str
    query: str
    headers: dict[str, str]
    status: int
    bytes: int

    @property
    def is_conditional(self) -> bool:
        return "if-none-match" in self.headers or "if-modified-since" in self.headers


class DocsSite:
    """The site. Everything may be changed while it is served.

    Attributes:
        pages: By path.
        sitemap: Whether there is one, and of which kind: `plain`, `index`, `gz`, or None.
        sitemap_at: Its path.
        sitemap_of: The paths it names, if not all.
        part_size: How many pages a part of a sitemap names; half of all where None.
        overlap: How many pages of the part before a part names again.
        dates: `lastmod` by path.
        robots: The text of robots.txt, or None.
        llms: The text of llms.txt, or None.
        redirects: Status and target by path.
        after: What to do once when a path was answered.
        failing: Status by path, instead of the page; 206 comes with the page's first half.
        etags: Whether pages have an `ETag`.
        last_modified: The `Last-Modified` of all pages, if any.
        build: Stands in every page's footer and script names, so that another build has other ETags.
        menu: Whether every page links to all others.
        menu_on: The path of the one page that does, if not.
        log: What was asked for.
    """

    def __init__(self) -> None:
        self.base = ""
        self.log: list[Seen] = []
        self._lock = threading.Lock()
        self.app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "HEAD"])])
        self.reset()

    def reset(self) -> None:
        """Makes it an empty site with the usual manners."""
        self.pages: dict[str, SitePage] = {}
        self.sitemap: str | None = "plain"
        self.sitemap_at = "/sitemap.xml"
        self.sitemap_of: list[str] | None = None
        self.part_size: int | None = None
        self.overlap = 0
        self.dates: dict[str, str] = {}
        self.after: dict[str, Callable[[], None]] = {}
        self.robots: str | None = None
        self.llms: str | None = None
        self.redirects: dict[str, tuple[int, str]] = {}
        self.failing: dict[str, int] = {}
        self.etags = True
        self.last_modified: str | None = None
        self.build = 1
        self.menu = True
        self.menu_on: str | None = None
        self.forget()

    def write(self, path: str, title: str, text: str, **options: object) -> None:
        """Writes a page of paragraphs."""
        html = f"<h1>{escape(title)}</h1>" + "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n"))
        self.pages[path] = SitePage(title, html, **options)

    def asked(self, *, pages_only: bool = True) -> list[Seen]:
        """What was asked for since the last `forget`."""
        with self._lock:
            seen = list(self.log)
        return [one for one in seen if one.path in self.pages] if pages_only else seen

    def forget(self) -> None:
        with self._lock:
            self.log.clear()

    @contextlib.contextmanager
    def serve(self, **options: object) -> Iterator[str]:
        with serve(self.app, **options) as base:
            self.base = base
            yield base

    def _answer(self, request: Request) -> Response:
        path = request.url.path
        response = self._respond(path, request)
        if (then := self.after.pop(path, None)) is not None:
            then()
        with self._lock:
            self.log.append(
                Seen(path, request.url.query, dict(request.headers), response.status_code, len(response.body))
            )
        return response

    def _respond(self, path: str, request: Request) -> Response:
        if path in self.failing:
            status = self.failing[path]
            half = self._render(path, self.pages[path])[:300] if status == 206 else "no"
            return Response(half, status, media_type="text/html" if status == 206 else None)
        if path in self.redirects:
            status, target = self.redirects[path]
            return RedirectResponse(target, status)
        if path == "/robots.txt" and self.robots is not None:
            return Response(self.robots, media_type="text/plain")
        if path == "/llms.txt" and self.llms is not None:
            return Response(self.llms, media_type="text/plain")
        if self.sitemap is not None and (path == self.sitemap_at or path.startswith("/sitemap-")):
            return self._sitemap(path)
        page = self.pages.get(path) or self.pages.get(unquote(path))
        if page is None:
            return Response("<html><body>Not found</body></html>", 404, media_type="text/html")
        return self._page(path, page, request)

    def _page(self, path: str, page: SitePage, request: Request) -> Response:
        body = page.html.encode(page.charset) if page.bare else self._render(path, page).encode(page.charset)
        headers = {"content-type": page.content_type, **page.headers}
        if self.etags:
            headers["etag"] = f'"{hashlib.sha1(body).hexdigest()}"'
        if self.last_modified:
            headers["last-modified"] = self.last_modified
        if self.etags and request.headers.get("if-none-match") == headers["etag"]:
            return Response(None, 304, headers)
        if not self.etags and self.last_modified and request.headers.get("if-modified-since") == self.last_modified:
            return Response(None, 304, headers)
        return Response(body, 200, headers)

    def _render(self, path: str, page: SitePage) -> str:
        menu = ""
        if self.menu or path == self.menu_on:
            menu = "".join(f'<li><a href="{other}">{escape(p.title)}</a></li>' for other, p in self.pages.items())
        return (
            f'<!doctype html><html lang="{page.language}"><head><meta charset="{page.charset}">'
            f"<title>{escape(page.title)} | Site</title>{page.head}"
            f'<script src="/app.{self.build}.js"></script></head><body><nav><ul>{menu}</ul></nav>'
            f"<main>{page.html}</main><footer>Built as number {self.build}</footer></body></html>"
        )

    def _sitemap(self, path: str) -> Response:
        paths = self.sitemap_of if self.sitemap_of is not None else list(self.pages)
        size = self.part_size or max(1, (len(paths) + 1) // 2)
        if path == self.sitemap_at and self.sitemap in ("index", "gz"):
            suffix = ".gz" if self.sitemap == "gz" else ""
            parts = "".join(
                f"<sitemap><loc>{self.base}/sitemap-{number}.xml{suffix}</loc></sitemap>"
                for number in range(1, (len(paths) + size - 1) // size + 1)
            )
            return Response(f"<sitemapindex>{parts}</sitemapindex>", media_type="application/xml")
        if path.startswith("/sitemap-"):
            number = int(path.removeprefix("/sitemap-").partition(".")[0]) - 1
            paths = paths[max(0, number * size - self.overlap) : (number + 1) * size]
        entries = "".join(
            f"<url><loc>{self.base}{escape(one)}</loc>"
            + (f"<lastmod>{self.dates[one]}</lastmod>" if one in self.dates else "")
            + "</url>"
            for one in paths
        )
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</urlset>'
        ).encode()
        if path.endswith(".gz"):
            return Response(gzip.compress(text), media_type="application/gzip")
        return Response(text, media_type="application/xml")


def small_site(count: int = 8, site: DocsSite | None = None) -> DocsSite:
    """A site of some pages below `/guide/`; a given one is made so."""
    site = site or DocsSite()
    site.reset()
    site.write("/guide/", "Guide", "Where everything begins.\n\nRead on with the chapters.")
    for number in range(1, count):
        site.write(
            f"/guide/chapter-{number}",
            f"Chapter {number}",
            f"What chapter {number} says of gardens and lamp {number * 7}.\n\nIt ends with tea {number * 3}.",
        )
    return site


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description="Serves a small documentation site.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--pages", type=int, default=20)
    arguments = parser.parse_args()
    with small_site(arguments.pages).serve(port=arguments.port) as base:
        print(f"{base}/guide/ (Ctrl-C ends it)")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()

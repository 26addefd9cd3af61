"""The `web` source: the pages of a public documentation site, by its sitemap or by its links.

`source` is the source itself, `listing` one pass over the site, `store` what it remembers of the pages between passes;
the other modules are what these know of the web: addresses, robots.txt, sitemaps, charsets, pages.
"""

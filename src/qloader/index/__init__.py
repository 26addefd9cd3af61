"""The Qdrant side: one small protocol, an embedded engine and a server behind it.

Knows points, payloads and vectors; knows nothing of plans, sources or the state. `qdrant-client` is
imported only by `server.py`, and only when a server is used.
"""

"""How the sources of the network speak HTTP: one client with one set of manners, and errors that tell what to do.

Knows no source. Importing `client` loads httpx, so a source imports it when it is opened, not before.
"""

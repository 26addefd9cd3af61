"""What the sources hold now: manifests, and the cache of what was observed before.

Reads sources through their protocol and writes only the cache (`cache.db`), which may be deleted at any time.
"""

"""Dense vectors: providers of all kinds behind one protocol, and the manners that all of them are used with.

A provider only makes vectors of a batch of texts. Batches, limits, retries, texts that are too long, checks and the
cache are `embedder.py`'s, the same for all. Importing this room loads numpy, a provider loads what it needs itself.
"""

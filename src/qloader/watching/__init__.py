"""A service that keeps the index true: who tells of changes, when which source is looked at, and what is said of it.

A look is a plan, its guards and its apply, made by the workspace exactly as `ingest` makes them, and one at a time.
Nothing here compares, embeds or writes; threads only tell of changes, the one that runs the service does all work.
"""

"""A state that several machines share: an object in a store, a lock beside it, and this machine's copy.

As the room above it, it knows nothing of sources, plans or Qdrant. Imported only where `state.url` is set.
"""

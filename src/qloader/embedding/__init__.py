"""From a chunk's text to its vectors. Only apply and search may import this room, plan never does."""

"""Where documents come from: one module a source, and the protocol that each of them keeps.

Reads, never writes; knows nothing of the state, the index or the plan. One source never imports another.
"""

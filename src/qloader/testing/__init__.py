"""For those who write a source: the suite that every source passes, ours and a stranger's.

Needs pytest, which qloader itself does not. Nothing else of qloader may import this room.
"""

from qloader.testing.source_contract import Site, SourceContract, Unsupported

__all__ = ["Site", "SourceContract", "Unsupported"]

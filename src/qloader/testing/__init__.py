"""For those who write a source: the suite that every source passes, ours and a stranger's.

Needs pytest, which qloader itself does not. Nothing else of qloader may import this room.
"""

import pytest

pytest.register_assert_rewrite("qloader.testing.source_contract")  # so that a failure shows what was compared

from qloader.testing.source_contract import Site, SourceContract, Unsupported  # noqa: E402

__all__ = ["Site", "SourceContract", "Unsupported"]

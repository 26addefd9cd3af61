"""For those who write a source or an embedder: the suites that all of them pass, ours and a stranger's.

Needs pytest, which qloader itself does not. Nothing else of qloader may import this room.
"""

import pytest

# So that a failure shows what was compared.
pytest.register_assert_rewrite("qloader.testing.source_contract", "qloader.testing.embedder_contract")

from qloader.testing.embedder_contract import EmbedderContract  # noqa: E402
from qloader.testing.source_contract import Site, SourceContract, Unsupported  # noqa: E402

__all__ = ["EmbedderContract", "Site", "SourceContract", "Unsupported"]

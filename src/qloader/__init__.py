"""qloader keeps a Qdrant collection true to its sources, the way Terraform keeps infrastructure true to code.

Importing this package is cheap on purpose: the command line pays for it at every start. What costs more,
`Workspace` first of all, is imported when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qloader.workspace import Workspace
    from qloader.workspace.awaiting import AsyncWorkspace

__all__ = ["AsyncWorkspace", "Workspace", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Workspace":
        from qloader.workspace import Workspace

        return Workspace
    if name == "AsyncWorkspace":
        from qloader.workspace.awaiting import AsyncWorkspace

        return AsyncWorkspace
    raise AttributeError(f"module 'qloader' has no attribute {name!r}")

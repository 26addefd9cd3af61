"""The workspace: one config's sources, state and index, and what can be done with them.

The only room that knows all the others; the command line and other programs come in here. It prints
nothing and never exits the process.
"""

from qloader.workspace.workspace import Workspace

__all__ = ["Workspace"]

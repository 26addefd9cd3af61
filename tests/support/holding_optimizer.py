"""The process that tidies up or seals a collection, which holds right before or after it does so.

    python holding_optimizer.py before sealed.txt

writes its number into that file when it stands there, and goes on after a minute, if nobody ends it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from at_a_call import at_a_call


def hold() -> None:
    part = Path(f"{sys.argv[2]}.part")
    part.write_text(str(os.getpid()))
    part.rename(sys.argv[2])
    time.sleep(60)


if __name__ == "__main__":
    from qloader.workspace.optimizer import main

    at_a_call("qloader.index.embedded:EmbeddedIndex._optimize", 1, **{sys.argv[1]: hold})
    main()

"""How long whoever asks an instance waits for the answer, by what the answer waits for."""

from __future__ import annotations

from typing import Final

AT_ONCE_SECONDS: Final = 5.0
"""For a connection, and for what is answered out of memory."""
HELD_SECONDS: Final = 30.0
"""For what the world stands still for: after the tick that runs, and the holds of others."""
STEP_SECONDS: Final = 60.0
"""For ticks that are asked for one by one, unless who asks says otherwise."""
SNAPSHOT_SECONDS: Final = 120.0
"""For a checkpoint on disk, and all before it in the sinks, unless who asks says otherwise."""
DIGEST_SECONDS: Final = 300.0
"""For the hash over a copy of a whole world."""

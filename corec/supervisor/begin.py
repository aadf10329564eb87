"""The first moments of a start: what can go on by itself is begun before the program is loaded.

Loading Numba and the compiled kernels takes most of a second of one core, and so does PostgreSQL's
initdb of another. So the order is: plan (pure arithmetic; a wrong configuration ends here), owner
lock, both embedded servers begun as child processes, and only then the imports. This module and
what it imports must stay light: no Numba, no client library, no kernel.

No thread is used: the servers are processes, so this process has one thread at the first fork.

What a kill leaves, at any point: the servers end with their parent (PR_SET_PDEATHSIG), the lock
with its holder; an unfinished ``pgdata.new`` is removed by the next start. TERM and INT wait until
the imports are done (no library expects an exception out of the middle of its import), and are then
answered by stopping what was begun.
"""

from __future__ import annotations

import gc
import sys

from corec.command_line import NO_MEMORY
from corec.config import Config, ConfigError
from corec.exits import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, StartFailed
from corec.log import get_logger, mask
from corec.supervisor.begun import Begun
from corec.supervisor.note import Notes
from corec.supervisor.signals import (
    StopWanted,
    stop_the_start,
    stops_later,
    wait_for_the_watch,
)
from corec.supervisor.upgrade import Inherited
from corec.supervisor.wishes import Wishes

log = get_logger("corec.supervisor")


def refused(error: OSError | MemoryError, *, lived: bool) -> str:
    """What to say when the system refuses memory, a file or a process."""
    what = str(error) or NO_MEMORY
    if lived:
        return f"the instance ends, refused what it needs: {what}; the next start goes on from here"
    return f"a start is refused what it needs: {what}"


def start(config: Config, wishes: Wishes, inherited: Inherited | None = None) -> int:
    """Run an instance of ``config``; returns the exit code, errors already printed."""
    notes = Notes()
    if inherited is None:
        stop_the_start()
    else:
        wait_for_the_watch()
    # Imports make hundreds of thousands of objects that stay: looking through them again and again
    # for garbage takes a fifth of their time. The supervisor enables it before it forks.
    gc.disable()
    begun: Begun | None = None
    try:
        begun = Begun(config, notes, inherited, wishes.config_path)
        notes.note("loading the kernels, or compiling what is new")
        with stops_later():
            from corec.supervisor.main import Supervisor
        return Supervisor(begun, wishes).run()
    except StopWanted as stop:
        notes.note(f"{stop}: stopped before the world ran")
        return EXIT_DONE
    except ConfigError as error:
        text, code = str(error), EXIT_USAGE
    except StartFailed as error:
        text, code = str(error), error.code
    except (OSError, MemoryError) as error:
        log.debug("refused by the system", exc_info=error)
        text, code = refused(error, lived=begun is not None and begun.lived), EXIT_FAILED
    finally:
        if begun is not None:
            begun.close()
        gc.enable()
    for line in text.splitlines():
        print(f"corec: {mask(line)}", file=sys.stderr)
    return code

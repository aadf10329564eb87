"""What a process gives back of its memory, and how many threads it has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm

from corec.proc import _clean_mappings, give_back_pages

SMAPS = """\
10000-20000 r--p 00000000 fd:00 7 /lib/a/libllvmlite.so
Rss: 64 kB
Anonymous: 0 kB
Swap: 0 kB
20000-30000 r-xp 00010000 fd:00 7 /lib/a/libllvmlite.so
Anonymous: 0 kB
Swap: 0 kB
30000-40000 r--p 00020000 fd:00 7 /lib/a/libllvmlite.so
Anonymous: 4 kB
Swap: 0 kB
40000-48000 r--p 00028000 fd:00 7 /lib/a/libllvmlite.so
Anonymous: 0 kB
Swap: 4 kB
48000-50000 rw-p 00030000 fd:00 7 /lib/a/libllvmlite.so
Anonymous: 0 kB
Swap: 0 kB
50000-60000 r--s 00000000 fd:00 9 /dev/shm/corec/x/world.seg
Anonymous: 0 kB
Swap: 0 kB
60000-70000 r-xp 00000000 00:00 0
Anonymous: 0 kB
Swap: 0 kB
"""


def test_only_what_nobody_can_have_written_to_is_given_back() -> None:
    """The third mapping holds relocations, the fourth has them swapped out: given back, the
    library would be broken. The last two are shared memory, and no file's."""
    assert _clean_mappings(SMAPS) == [(0x10000, 0x20000), (0x20000, 0x30000)]


def _mapped_kib(library: str) -> int:
    text, found = Path("/proc/self/smaps").read_text(), 0
    for mapping in text.split("\nVmFlags:"):
        if library in mapping and " r-xp " in mapping:
            found += int(mapping.partition("\nRss:")[2].split()[0])
    return found


def test_text_that_was_given_back_is_there_when_it_is_needed() -> None:
    module = "define i32 @f() {\n  ret i32 7\n}"
    llvm.parse_assembly(module)
    before = _mapped_kib("libllvmlite")
    assert give_back_pages() > before << 10
    assert _mapped_kib("libllvmlite") < before
    assert "ret i32 7" in str(llvm.parse_assembly(module))


RESOLVES = """
import asyncio, os, subprocess, sys, threading
from corec.proc import count_threads

async def resolved():  # a thread of the loop's own, joined at its end
    await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 1)

busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
try:
    print(max(asyncio.run(resolved()) or count_threads() for _ in range(60)))
finally:
    for one in busy:
        one.kill(), one.wait()
goes_on = threading.Event()
other = threading.Thread(target=goes_on.wait)
other.start()
print(count_threads())
goes_on.set()
"""


def test_a_thread_that_was_joined_is_none() -> None:
    """Where others want the same core it stays for some milliseconds, and a supervisor that found
    it did not fork."""
    one_core = {min(os.sched_getaffinity(0))}
    done = subprocess.run(
        [sys.executable, "-c", RESOLVES], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2], preexec_fn=lambda: os.sched_setaffinity(0, one_core),
    )  # fmt: skip
    assert done.stdout.split() == ["1", "2"], done.stderr

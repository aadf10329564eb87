"""A copy of this checkout with all its mutants, and what the oracle says of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.oracle.switched import SWITCH, VARIABLE, merged
from tests.support.altered import ROOT, Change, changed, copy_into

TURNING: Final = "tests.oracle.turning"
ALONE: Final = "corec/processors/"
"""What is kept by its text: a switch in it would make it another one."""
WRITES_CODE: Final = "corec/entities/"
"""What processors' code is made by, and is not kept by."""
AT_IMPORT: Final = (WRITES_CODE, "corec/config/")
"""Where rules are read once by a process."""
SECONDS_MAX: Final = 1200
OBJECTION: Final = re.compile(r"^(?:[\w-]+: |E +[\w.]*)Disagreement: (.+)", re.MULTILINE)
"""As ``tests.oracle`` and pytest tell it. Any other end is that of a run which has shown nothing: a
deadline, a line that can't be run; pytest shows with it source that speaks of disagreements, too.
"""


@dataclass(frozen=True)
class Mutant:
    """A rule that is broken, how, and the command whose worlds show it."""

    name: str
    changes: tuple[Change, ...]
    command: tuple[str, ...]

    @property
    def turns(self) -> bool:
        """Whether it can be switched on in a process that has begun."""
        late = not any(change.file.startswith((ALONE, *AT_IMPORT)) for change in self.changes)
        return late and self.command[0] == TURNING


class Unjudged(Exception):
    """The worlds have not shown what the oracle says of them."""


class Copy:
    """This checkout in another place, with all mutants, and what is compiled there: once."""

    def __init__(self, folder: Path, mutants: Sequence[Mutant]) -> None:
        self.code, self.cache = folder / "code", folder / "cache"
        self.temporary = folder / "tmp"
        self.mutants = mutants
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.agreed: set[tuple[str, ...]] = set()
        copy_into(self.code)
        switch = self.code / "shm" / "switch.py"
        switch.write_text(SWITCH, "utf-8")
        os.utime(switch, (0, 0))
        for file, texts in behind_switches(mutants).items():
            text = merged((ROOT / file).read_text("utf-8"), texts)
            (self.code / file).write_text(text, "utf-8")
            shutil.copystat(ROOT / file, self.code / file)  # the next copy there is as old

    def turned(
        self, command: tuple[str, ...], numbers: Sequence[int]
    ) -> Iterator[tuple[int, str | Unjudged]]:
        """What the oracle says of mutants whom the same worlds show, as they are played; empty when
        it agrees. One process plays them all: nothing broken first, which is number 0."""
        words = [sys.executable, "-W", "ignore", "-m", *command, *map(str, numbers)]
        left = list(numbers)
        with subprocess.Popen(
            words, cwd=self.code, env=self._environment(0), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            first = read(process.stdout.readline())
            if first == "":
                self.agreed.add(command)
                yield 0, first
                for line in process.stdout:
                    number = json.loads(line)["number"]
                    left.remove(number)
                    yield number, read(line)
        ended = f"nothing is broken, and {first}" if first else f"exit {process.returncode}"
        yield from ((number, Unjudged(ended)) for number in left)

    def objection(self, number: int) -> str:
        """What the oracle says of a mutant in processes of its own; empty when it agrees.

        Raises:
            Unjudged: it said nothing, or it objects where nothing is broken.
        """
        mutant = self.mutants[number - 1]
        if mutant.command not in self.agreed:
            if said := self._said(0, mutant.command):
                raise Unjudged(f"nothing is broken, and {said}")
            self.agreed.add(mutant.command)
        texts = changed_files(mutant)
        alone = {file: text for file, text in texts.items() if file.startswith(ALONE)}
        anew = any(file.startswith(WRITES_CODE) for file in texts)
        for file, text in alone.items():
            (self.code / file).write_text(text, "utf-8")
        if anew:
            self._forget_processors()
        try:
            return self._said(number, mutant.command)
        finally:
            for file in alone:
                shutil.copy2(ROOT / file, self.code / file)
            if anew:
                self._forget_processors()

    def _said(self, number: int, command: tuple[str, ...]) -> str:
        """What the oracle says with this mutant switched on from the beginning."""
        try:
            ran = subprocess.run(
                [sys.executable, "-m", *command], cwd=self.code, env=self._environment(number),
                capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise Unjudged(f"it took more than {SECONDS_MAX} s") from error
        if ran.returncode == 0:
            return ""
        if command[0] == TURNING and ran.returncode == 1:
            said = read(ran.stdout)
            if isinstance(said, Unjudged):
                raise said
            return said
        found = OBJECTION.search(ran.stdout)
        if ran.returncode != 1 or not found:
            raise Unjudged(f"exit {ran.returncode}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
        return found[1]

    def _environment(self, number: int) -> dict[str, str]:
        environment = os.environ | {
            "PYTHONPATH": str(self.code), "TMPDIR": str(self.temporary), VARIABLE: str(number),
            "NUMBA_CACHE_DIR": str(self.cache), "XDG_CACHE_HOME": str(self.cache),
            "NUMBA_OPT": "1",  # what is compiled runs for seconds
        }  # fmt: skip
        environment.pop("COREC_HOME", None)
        return environment

    def _forget_processors(self) -> None:
        """Have their code, which is kept by what they say alone, compiled anew."""
        for path in self.cache.rglob("k_*.*"):
            if path.suffix != ".py":
                path.unlink()


def read(line: str) -> str | Unjudged:
    """What a line of ``turning`` tells: an objection, agreement, or nothing of the kind."""
    try:
        told: dict[str, Any] = json.loads(line)
    except ValueError:
        return Unjudged(f"it says {line!r}")
    said = str(told.get("said", f"it ended with {told.get('ended')}"))
    kind, _, text = said.partition("Disagreement: ")
    if said and (kind or not text):
        return Unjudged(said)
    return f"{text} (world {told['world']})" if text else ""


def changed_files(mutant: Mutant) -> dict[str, str]:
    """The files it changes, and the text of each with the changes made.

    Raises:
        AnchorMissing: a line it replaces is not there any more.
    """
    texts: dict[str, str] = {}
    for change in mutant.changes:
        text = texts.get(change.file) or (ROOT / change.file).read_text("utf-8")
        texts[change.file] = changed(change, text)
    return texts


def behind_switches(mutants: Sequence[Mutant]) -> dict[str, dict[int, str]]:
    """The files that can hold several mutants, and by their numbers, from 1, the text with each."""
    found: dict[str, dict[int, str]] = {}
    for number, mutant in enumerate(mutants, 1):
        for file, text in changed_files(mutant).items():
            if not file.startswith(ALONE):
                found.setdefault(file, {})[number] = text
    return found

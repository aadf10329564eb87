"""A copy of this checkout with all its mutants, and what the oracle says of one of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.oracle.switched import SWITCH, VARIABLE, merged
from tests.support.altered import ROOT, Change, changed, copy_into

ALONE: Final = "corec/processors/"
"""What is kept by its text: a switch in it would make it another one."""
WRITES_CODE: Final = "corec/entities/"
"""What processors' code is made by, and is not kept by."""
SECONDS_MAX: Final = 1200
OBJECTION: Final = re.compile(r"Disagreement: (.+)")
"""Any other end is that of a run which has shown nothing: a deadline, a line that can't be run."""
WORLDS: Final = re.compile(r": (\d+) worlds in ")
"""How many there were, the last of which disagreed."""


@dataclass(frozen=True)
class Mutant:
    """A rule that is broken, how, and the command whose worlds show it."""

    name: str
    changes: tuple[Change, ...]
    command: tuple[str, ...]


class Unjudged(Exception):
    """The worlds have not shown what the oracle says of them."""


class Copy:
    """This checkout in another place, with all mutants, and what is compiled there: once."""

    def __init__(self, folder: Path, mutants: Sequence[Mutant]) -> None:
        self.code, self.cache = folder / "code", folder / "cache"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.agreed: set[tuple[str, ...]] = set()
        copy_into(self.code)
        (self.code / "shm" / "switch.py").write_text(SWITCH, "utf-8")
        for file, texts in behind_switches(mutants).items():
            text = merged((ROOT / file).read_text("utf-8"), texts)
            (self.code / file).write_text(text, "utf-8")

    def objection(self, number: int, mutant: Mutant) -> str:
        """What the oracle says of a mutant; empty when it agrees.

        Raises:
            Unjudged: it said nothing, or it objects where nothing is broken.
        """
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
        """What the oracle says with this mutant switched on, and of which world."""
        environment = os.environ | {
            "PYTHONPATH": str(self.code), "TMPDIR": str(self.temporary), VARIABLE: str(number),
            "NUMBA_CACHE_DIR": str(self.cache), "XDG_CACHE_HOME": str(self.cache),
            "NUMBA_OPT": "1",  # what is compiled runs for seconds
        }  # fmt: skip
        environment.pop("COREC_HOME", None)
        try:
            ran = subprocess.run(
                [sys.executable, "-m", *command], cwd=self.code, env=environment,
                capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise Unjudged(f"it took more than {SECONDS_MAX} s") from error
        if ran.returncode == 0:
            return ""
        said = OBJECTION.search(ran.stdout)
        if ran.returncode != 1 or not said:
            raise Unjudged(f"exit {ran.returncode}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
        often = WORLDS.findall(ran.stdout)
        return said[1] + (f" (world {often[-1]})" if often else "")

    def _forget_processors(self) -> None:
        """Have their code, which is kept by what they say alone, compiled anew."""
        for path in self.cache.rglob("k_*.*"):
            if path.suffix != ".py":
                path.unlink()


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

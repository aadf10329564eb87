"""``corec.attach`` beside growth: a frame is of one tick and of one memory, whatever is made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

import corec
from corec.view import attached as module
from corec.view.attached import Attached
from corec.view.frame import Frame
from tests.support.instance import REPO, Running
from tests.support.processes import patient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MORE = 75


@pytest.fixture
def world(living: Running) -> Iterator[Attached]:
    """Attached to the only instance, which ticks at 200 Hz."""
    with corec.attach() as found:
        found.set("tick_hz", 200)
        yield found


@pytest.fixture
def grown(living: Running) -> Iterator[corec.World]:
    """A world that grows as the instance does."""
    with corec.World(living.instance.config_path) as same:
        yield same


def grow(world: Attached, same: corec.World) -> None:
    """Give both MORE after the same tick."""
    tick = world.grow("sensores", MORE)
    same.run(tick - same.ticks)
    same.grow("sensores", MORE)


def alike(frame: Frame, same: corec.World) -> bool:
    """Whether ``frame`` is what ``same`` is at its tick."""
    same.run(frame.tick - same.ticks)
    wanted = same.frame(frame.swarm, frame.columns, ids=frame.ids)
    return all(wanted[name].tobytes() == frame[name].tobytes() for name in frame.columns)


def test_what_has_grown_is_read_at_one_tick(
    world: Attached, grown: corec.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two ticks, while the world is held, and where memory is made anew meanwhile."""
    grow(world, grown)
    for _ in range(20):
        assert alike(world.frame("sensores"), grown)
    monkeypatch.setattr(module, "TRY_SECONDS", 0.0)
    last = int(world.frame("sensores", "id").ids[-1])
    for _ in range(5):
        assert alike(world.frame("sensores", ["id", "valor"], ids=[last, 3, 289, 0]), grown)
    before, after = world.frame("sensores"), world.ticks
    assert alike(before, grown)
    assert after - before.tick < 100  # the ticks did not wait for a lease to run out

    class Late:
        """Another one grows the world, once, when a frame was begun."""

        done = False

        def __call__(self, *_: object) -> None:
            if not self.done:
                self.done = True
                with corec.attach() as other:
                    grow(other, grown)

    for seconds, places in ((0.0, 290 + 2 * MORE), (30.0, 290 + 2 * MORE)):
        late = Late()
        monkeypatch.setattr(module, "TRY_SECONDS", seconds)
        monkeypatch.setattr(module, "_behind_a_tick", late)
        frame = world.frame("sensores")
        assert (late.done, len(frame)) == (True, places)
        if seconds == 0.0:  # of what is held; else of the memory that it had begun with
            assert alike(frame, grown)
    assert len(world.frame("sensores")) == 290 + 3 * MORE


def test_what_was_mapped_stays_for_who_reads_it(world: Attached) -> None:
    """Reading what is unmapped ends the process."""
    text = (
        "import corec, numpy; one = corec.attach(); words = one._world()[1]; one.close();"
        "print(numpy.count_nonzero(words) > 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=REPO, capture_output=True, text=True, timeout=patient(60),
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr

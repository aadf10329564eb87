"""Seeded mutants: one rule of the world broken at a time, in a copy; the oracle objects to each.

    python -m tests.oracle.mutants [--jobs N] [--folder FOLDER] [NAME ...]

Those with such a part in their names, or all: the names' order is that of their worlds.

Prints for each mutant the disagreement that caught it, and the seconds it took; exit code 1 when
one was not caught. Nearly all of them stand in one copy, each behind a switch (``switched``), so
that all is compiled once. With none switched on the same worlds are played first, and agree: what
is not shown by a disagreement with the oracle is not judged.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from tests.oracle.judging import TURNING, Copy, Mutant, Unjudged
from tests.support.altered import Change

SEED: Final = "20261126"


def _drawn(what: str, number: int, only: str) -> tuple[str, ...]:
    return (TURNING, what, str(number), "--only", only, "--seed", SEED)


def _tested(file: str, name: str) -> tuple[str, ...]:
    return ("pytest", f"tests/oracle/{file}.py", "-k", name, "-x", "-q", "-n", "0",
            "-p", "no:cacheprovider")  # fmt: skip


KERNELS: Final = _drawn("--worlds", 200, "keeper,fragile,listener,tide")
SILENCE, DENSE = _drawn("--worlds", 50, "sitter"), _drawn("--worlds", 100, "listener")
GOSSIP, RELAY, BREEDER, NOMAD, WADER, SWIFT, VOTER, CATCHER, SPY, HEIR, FADER = (
    _drawn("--whole", 30, name)
    for name in ("gossip", "relay", "breeder", "nomad", "wader", "swift", "voter", "catcher", "spy",
                 "heir", "fader")
)  # fmt: skip
EVOLVER: Final = _drawn("--whole", 100, "evolver")
WOLF, ISING, SIR_GRAPH, MEANS = (
    _drawn("--whole", 30, names) for names in ("wolf", "ising", "sir_graph", "coupled,chorus")
)
LIMITS: Final = _drawn("--whole", 100, "drift,keeper")
COLLECTED: Final = _drawn("--whole", 100, "keeper,coupled")
CHANGED: Final = ("tests.oracle", "--live", "6", "--first", "--only", "changeling", "--seed", SEED,
                  "--jobs", "1")  # fmt: skip
LATE: Final = _tested("test_instances", "hundreds_of_steps")


def _one(
    name: str, file: str, right: str, wrong: str, command: tuple[str, ...] = KERNELS
) -> Mutant:
    return Mutant(name, (Change(f"corec/{file}", right, wrong),), command)


MUTANTS: Final = (
    _one("a payload's ticks count from the row before", "kernels/frames.py",
         "store_u8(entry + LOG_TICK, uint64(tick))",
         "store_u8(entry + LOG_TICK, uint64(tick) - dyn[D_ROW_TICK])"),
    _one("a payload's ticks have 16 bits", "kernels/frames.py",
         "store_u8(entry + LOG_TICK, uint64(tick))",
         "store_u8(entry + LOG_TICK, uint64(tick & 0xFFFF))",
         _tested("test_limits", "more_ticks_between")),
    _one("the log holds a message less", "kernels/frames.py",
         "room = min(count, block[K.B_LOG_CAP] - at)",
         "room = min(count, block[K.B_LOG_CAP] - 1 - at)",
         _tested("test_limits", "a_message_more")),
    _one("a row begins at the row before it", "kernels/frames.py",
         "uint64(dyn[D_ROW_TICK] + uint64(1))", "uint64(dyn[D_ROW_TICK])"),
    _one("repairs have another time than their tick", "kernels/frames.py",
         "            store_u8(at, uint64(targs[K.T_UNIX_NS]))",
         "            store_u8(at, uint64(targs[K.T_UNIX_NS]) + uint64(1000))"),
    _one("the step of a frame of messages has 8 bits", "layout/frames.py",
         "    return word >> _CANAL_BITS\n", "    return word >> _CANAL_BITS & 0xFF\n", LATE),
    _one("a checkpoint keeps half of the log", "kernels/snapshot.py",
         "copy_memory(at, block[BLOCK_LOG], LOG_BYTES * log_n)",
         "copy_memory(at, block[BLOCK_LOG], 8 * log_n)", LATE),
    _one("umbral falls with the load", "kernels/stats.py",
         "raw = 0.5 * (2.0 - carga)", "raw = 0.5 * carga"),
    _one("umbral is not rounded", "kernels/stats.py",
         "return float64(float32(min(max(raw, least), most)))",
         "return min(max(raw, least), most)"),
    _one("media in float32", "kernels/stats.py",
         "return shift + s / total, q - lost",
         "return float64(float32(shift + s / total)), q - lost"),
    _one("sums never begin anew around the mean", "kernels/stats.py",
         "if lost > _FAR * q:", "if lost > 2.0 * q:"),
    _one("the histogram counts whoever ran", "kernels/block.py",
         "s + scratch[K.X_REPAIRS], dyn, targs, carga, u1_at(s + scratch[K.X_OK], n),",
         "s + scratch[K.X_REPAIRS], dyn, targs, carga, u1_at(s + scratch[K.X_RUN], n),"),
    _one("repair in every step of a tick", "kernels/block.py",
         "repairs = care(block, row, dyn, cold, held, targs, scratch) if last else 0",
         "repairs = care(block, row, dyn, cold, held, targs, scratch)",
         _tested("test_limits", "failures_in_every_step")),
    _one("the last σ goes on when no value was good", "kernels/block.py",
         "    sigma = 0.0\n", "    sigma = get_f(dyn, D_DESVIACION)\n"),
    _one("a row's errores are not begun anew", "kernels/block.py",
         "    dyn[D_ROW_ERRORES] = uint64(0)\n", ""),
    _one("max_errores in binary", "kernels/block.py",
         "if float64(errores) / float64(n) <= get_f(row, K.W_MAX_ERRORES):",
         "if float64(errores) <= get_f(row, K.W_MAX_ERRORES) * float64(n):",
         _tested("test_limits", "a_share_of_errores")),
    _one("carga in binary", "kernels/running.py",
         "    while width > 1 and float64(width - 1) / float64(n) >= carga:\n        width -= 1\n",
         "", _tested("test_limits", "a_load_as_its_decimals")),
    _one("the window is a tick ahead", "kernels/running.py",
         "start = ((tick - 1) * width) % n", "start = (tick * width) % n"),
    _one("errores for each failed reading", "kernels/failures.py",
         "if run[i] & uint8(FAILED) == 0:", "if run[i] | uint8(1) != 0:"),
    _one("who is switched off is healthy", "kernels/failures.py",
         "(racha[j] != 0 or activo[j] == 0)", "racha[j] != 0"),
    _one("who never ran is healthy", "kernels/failures.py",
         "(racha[j] != 0 or activo[j] == 0)",
         "((racha[j] != 0 and racha[j] != NO_RUN) or activo[j] == 0)"),
    _one("reset after three failures", "kernels/failures.py",
         "if first < n and racha[i] == 1:", "if first < n and racha[i] <= 2:"),
    _one("a silence is a tick longer", "kernels/running.py",
         "(heard[i] <= since)", "(heard[i] < since)", SILENCE),
    _one("who is off falls silent", "kernels/running.py",
         "(quiet[i] == 0) & (activo[i] != 0)", "(quiet[i] == 0)", SILENCE),
    _one("a repair hands on when one was heard", "entities/processor.py",
         "added = len(SILENCE_STATE) if self.silence else 0", "added = 0", SILENCE),
    _one("readings draw closer to each other", "entities/dense.py",
         "DRAWS_PER_READING = 16", "DRAWS_PER_READING = 15"),
    _one("figures of a dense round from the last reading on", "kernels/rounds.py",
         "    for j in range(count):\n        i = int64(who[j])",
         "    for j in range(count - 1, -1, -1):\n        i = int64(who[j])", DENSE),
    _one("figures of a round where all run well", "kernels/rounds.py",
         "good + float64(at), umbral,", "good, umbral,", DENSE),
    _one("who failed in a dense round ran well", "kernels/rounds.py",
         "ended[j] = uint8(K.ENDED_BADLY)", "ended[j] = uint8(K.ENDED_WELL)", DENSE),
    _one("a dense round draws in the order of entities", "kernels/rounds.py",
         "order[i] = uint32(taken)", "order[i] = uint32(i)", DENSE),
    _one("who is switched off runs in a dense round", "kernels/rounds.py",
         "if run[i] != 0 or actives[taken] == 0:", "if run[i] != 0:", DENSE),
    _one("a dense round switches nobody on", "kernels/rounds.py",
         "        activo[i] |= run[i]\n", "", DENSE),
    _one("a value reaches who is switched off", "kernels/mail.py",
         "to_active[j] = uint8(activo[int64(to_local[j])] != 0)", "to_active[j] = uint8(1)", RELAY),
    _one("an inbox begins with what came last", "kernels/mail.py",
         "    for j in range(count):\n        i = int64(local[j])\n",
         "    for j in range(count - 1, -1, -1):\n        i = int64(local[j])\n", GOSSIP),
    _one("who fails has sent something", "kernels/post.py",
         "values were sent.\"\"\"\n    set_own(own, K.M_COUNT, count)",
         "values were sent.\"\"\"\n    own_word(own, count * 0)", GOSSIP),
    _one("a block sends a value less than it may", "kernels/post.py",
         "sent = min(count, row[K.W_SENDS] * block[K.B_N])",
         "sent = min(count, row[K.W_SENDS] * block[K.B_N] - 1)", RELAY),
    _one("children settle from the highest place on", "kernels/settlement.py",
         "        source[j] = j\n", "        source[housed - 1 - j] = j\n", BREEDER),
    _one("who moves is who lived there before", "kernels/settlement.py",
         "[i] = before[i] + uint32(1)", "[i] = before[i] + uint32(0)", NOMAD),
    _one("means are those from before the settlement", "kernels/settlement.py",
         "        if row[K.W_MEANS] > 0:\n            take_means(block, row, dyn, cold)\n", "",
         BREEDER),
    _one("who is near stands where it stood a tick earlier", "kernels/cells.py",
         "columns = x[X_PUBLIC] + (tick - 1 & 1) * x[X_PUBLIC_BYTES]",
         "columns = x[X_PUBLIC] + (tick & 1) * x[X_PUBLIC_BYTES]", SWIFT),
    _one("neighbours show what this tick has made of them", "kernels/running.py",
         "(targs[K.T_TICK] - 1 & 1)", "(targs[K.T_TICK] & 1)", CATCHER),
    _one("who is asked for shows another tick", "kernels/everyone.py",
         "(tick - 1 & 1)", "(tick & 1)", SPY),
    _one("who is just as far as the radius is not near", "kernels/plane.py",
         "found = square <= most", "found = square < most", SWIFT),
    _one("the long way round a plane", "kernels/plane.py",
         "half = side * float32(0.5)", "half = side", WADER),
    _one("a directed edge is seen from both ends", "graph/links.py",
         "    if not directed:\n", "    if directed is not None:\n", CATCHER),
    _one("weights lie in the order of the file", "graph/links.py",
         "keys, weight = keys[order], weight[order]", "keys = keys[order]", VOTER),
    _one("a moved edge may end where it begins", "graph/generators.py",
         "good = first & ~there & (ends != source[pending])", "good = first & ~there", CATCHER),
    _one("children have the genes of the block's first mother", "kernels/lives.py",
         "            mother_at += row[K.W_RECORD]\n", "", HEIR),
    _one("who settles has the genes of the place before", "kernels/settlement.py",
         "+ 4 * (place - number * row[K.W_CAP])", "+ 4 * max(0, place - number * row[K.W_CAP] - 1)",
         HEIR),
    _one("a migrant fewer", "kernels/islands.py",
         "for k in range(min(rule[E.E_MIGRANTS], m - elite)):",
         "for k in range(min(rule[E.E_MIGRANTS] - 1, m - elite)):", EVOLVER),
    _one("who failed has the fitness that it had", "kernels/islands.py",
         "found[i] = one if racha[i] == 0 else float32(np.nan)", "found[i] = one", EVOLVER),
    _one("who has no fitness is a parent like others", "kernels/evolving.py",
         "    if some == 0 or some == count:\n", "    if some <= count:\n", EVOLVER),
    _one("no migrant is among the new ones", "kernels/generations.py",
         "store_u4(at + 52, uint32(count))", "store_u4(at + 52, uint32(count - migrants))",
         EVOLVER),
    _one("a gene without a width is no diversity", "kernels/islands.py",
         "total / float64(wide) if wide > 0", "total / float64(count) if wide > 0", EVOLVER),
    _one("listed are the genes of who was there before", "kernels/generations.py",
         "copy_genes(at + RECORD_BYTES, new + 4", "copy_genes(at + RECORD_BYTES, old + 4", EVOLVER),
    _one("parents of a swarm are counted from the block's first one", "kernels/generations.py",
         "first = row[K.W_FIRST_ID] if rule[E.E_SWARM] != 0 else block[K.B_FIRST]",
         "first = block[K.B_FIRST]", EVOLVER),
    _one("a child is listed by another word", "kernels/generations.py",
         "if (drawn[1] & uint64(0xFFFFFFFF)) < below:",
         "if (drawn[2] & uint64(0xFFFFFFFF)) < below:", EVOLVER),
    _one("a division takes the other half", "world/fusion.py",
         "return 1 + after // FUSION_EVERY % 2", "return 2 - after // FUSION_EVERY % 2", FADER),
    _one("a weak block gives to another one", "world/fusion.py",
         "(fitness > STRONG) & (fitness >= least) & (kind >= 0)",
         "(fitness > STRONG) & (kind >= 0)", FADER),
    _one("a fused block is as fit as it was", "world/fusion.py",
         "numbers[L.D_FITNESS] = 0.5 * (fitness[weak] + fitness[donor])",
         "numbers[L.D_FITNESS] = fitness[weak]", FADER),
    _one("who took over ran as it had before", "world/fusion.py",
         "        runs[taken] = L.NO_RUN\n", "", FADER),
    _one("who is never weak at first never is", "world/phases.py",
         'any(s.symbiosis != "ninguna" for s in plan.swarms)',
         'any(s.symbiosis != "ninguna" and s.min_fitness > 0 for s in plan.swarms)', FADER),
    _one("a limit leaves the other one as it was", "view/settings.py",
         "rest = live.value(place, tick + 1) if place.is_limit else before", "rest = before",
         LIMITS),
    _one("a mean over the number of all", "kernels/stats.py",
         "return total / float64(count) if count > 0",
         "return total / float64(column.shape[0]) if count > 0", MEANS),
    _one("a write leaves the means as they were", "kernels/whole.py",
         "        take_means(block, row, dyn, cold)\n    if row[K.W_PUBLIC_FIELDS] > 0:\n",
         "        pass\n    if row[K.W_PUBLIC_FIELDS] > 0:\n", MEANS),
    _one("others see what was there before a write", "kernels/whole.py",
         "        show(block, row, dyn, tick_of(word))", "        pass", CATCHER),
    Mutant("a write counts a tick late", (
        Change("corec/view/world.py",
               "        apply(self._plan, self._tables, [edit], lambda block: True)\n",
               "        self._late = [edit]\n"),
        Change("corec/view/world.py",
               "        self._ticks += 1\n",
               "        self._ticks += 1\n"
               "        late, self._late = getattr(self, '_late', []), []\n"
               "        apply(self._plan, self._tables, late, lambda block: True)\n"),
    ), MEANS),
    _one("the deviation of a sample", "config/measures.py",
         "float(x.std(dtype=np.float64))", "float(x.std(dtype=np.float64, ddof=1))", COLLECTED),
    _one("a count of those who are as large, too", "config/measures.py",
         '"<": operator.lt', '"<": operator.le', COLLECTED),
    _one("a wolf eats whom another one caught", "processors/wolf_sheep.py",
         "me.food if one.eater == me.id else 0.0", "me.food if one.eater >= 0 else 0.0", WOLF),
    _one("the other colour of the board first", "processors/ising.py",
         "+ me.tick) % 2 == 0", "+ me.tick) % 2 == 1", ISING),
    _one("k infected friends infect k times as often", "processors/sir_graph.py",
         " and u < 1.0 - math.exp(-me.beta * ill)", "", SIR_GRAPH),
    _one("other fields, and nobody had failed before", "world/migrate.py",
         'for name in ("valor", "activo", "fallos", "racha", *_same(',
         'for name in ("valor", "activo", "fallos", *_same(', CHANGED),
    Mutant("what is there is asked of rows or repairs", (
        Change("corec/persister/batch.py",
               "(block, tick) not in there.rows\n",
               "(block, tick) not in {*there.rows, *(key[:2] for key in there.repairs)}\n"),
        Change("corec/persister/batch.py",
               "there.repairs[key] <= 0\n",
               "(there.repairs[key] <= 0 and key[:2] not in there.rows)\n"),
    ), _tested("test_restored", "run_again")),
)  # fmt: skip


def main() -> int:
    """All mutants, or some; what caught them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("names", metavar="NAME", nargs="*", default=[""],
                        help="a part of a name, in this order; '' is one of all")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--folder", type=Path,
                        help="keep the copy and what is compiled there")  # fmt: skip
    given = parser.parse_args()
    numbered = list(enumerate(MUTANTS, 1))
    chosen = dict.fromkeys(
        each for name in given.names for each in numbered if name in each[1].name
    )
    together: dict[tuple[str, ...], list[int]] = {}
    for number, mutant in chosen:
        if mutant.turns:
            together.setdefault(mutant.command, []).append(number)
    with tempfile.TemporaryDirectory(prefix="corec-mutants-") as passing:
        copy = Copy(given.folder or Path(passing), MUTANTS)
        with ThreadPoolExecutor(given.jobs) as pool:
            caught = sum(pool.map(partial(_caught_together, copy), together.items()))
        caught += sum(_caught_alone(copy, number) for number, each in chosen if not each.turns)
    print(f"{caught} of {len(chosen)} mutants were caught")
    return int(caught < len(chosen) or not chosen)


def _caught_together(copy: Copy, played: tuple[tuple[str, ...], list[int]]) -> int:
    """Say of those whom the same worlds show what caught them; how many were caught."""
    caught, began = 0, time.monotonic()
    for number, said in copy.turned(*played):
        seconds, began = time.monotonic() - began, time.monotonic()
        if number:
            caught += _told(number, said, seconds)
        else:
            print(f"{' '.join(played[0])}: agrees, {seconds:.0f} s", flush=True)
    return caught


def _caught_alone(copy: Copy, number: int) -> int:
    """Say what caught it; whether it was."""
    began = time.monotonic()
    said: str | Unjudged
    try:
        said = copy.objection(number)
    except Unjudged as error:
        said = error
    return _told(number, said, time.monotonic() - began)


def _told(number: int, said: str | Unjudged, seconds: float) -> int:
    """Print it; 1 when it is an objection."""
    told = f"NOT JUDGED: {said}" if isinstance(said, Unjudged) else said or "NOT CAUGHT"
    print(f"{MUTANTS[number - 1].name}: {told}, {seconds:.0f} s", flush=True)
    return int(isinstance(said, str) and bool(said))


if __name__ == "__main__":
    sys.exit(main())

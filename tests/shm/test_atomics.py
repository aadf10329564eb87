"""Words: what may be one, how they read and write, and that the fence really is one."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core import types

from shm.atomics import (
    Words,
    check_words,
    fence_seq_cst,
    load_acquire,
    read_again,
    read_word,
    spin_until_all_at_least,
    spin_until_at_least,
    store_release,
    write_word,
)
from shm.jit import WORDS, compiled
from tests.shm.helpers import fork, reap, shared_words

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("value", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_word_holds_every_u64(value: int) -> None:
    words = np.zeros(4, np.uint64)
    write_word(words, 2, value)
    assert words.tolist() == [0, 0, value, 0]
    assert read_word(words, 2) == value


def test_a_read_only_view_can_be_read_and_not_written() -> None:
    words = np.arange(4, dtype=np.uint64)
    words.flags.writeable = False
    assert read_word(words, 3) == 3
    assert spin_until_at_least(words, 3, 3, 0)
    with pytest.raises(TypeError):
        write_word(words, 3, 9)


def test_only_aligned_contiguous_u64_words_are_words() -> None:
    raw = np.zeros(80, np.uint8)
    start = -raw.ctypes.data % 8
    good = raw[start : start + 64].view(np.uint64)
    assert check_words(good) is good
    with pytest.raises(ValueError, match="multiple of 8"):
        check_words(raw[start + 4 : start + 68].view(np.uint64))
    with pytest.raises(TypeError, match="strided"):
        check_words(good[::2])
    wrongs: list[Any] = [np.zeros(4, np.int64), np.zeros((2, 2), np.uint64), raw]
    for wrong in wrongs:
        with pytest.raises(TypeError, match="uint64"):
            check_words(wrong)
    with pytest.raises(TypeError):
        read_word(good[::2], 0)


def test_a_spin_is_bounded() -> None:
    words = np.array([5, 7, 9], np.uint64)
    assert spin_until_at_least(words, 1, 7, 0)
    assert not spin_until_at_least(words, 1, 8, 1000)
    every = np.arange(3)
    assert spin_until_all_at_least(words, every, 5, 0)
    assert not spin_until_all_at_least(words, every, 6, 1000)
    assert spin_until_all_at_least(words, np.zeros(0, np.int64), 99, 0)


def test_a_spin_sees_another_process_and_what_it_wrote_before() -> None:
    words = shared_words(64)

    def write() -> None:
        words[32:64] = 4321
        write_word(words, 0, 1)

    pid = fork(write)
    deadline = time.monotonic() + 30
    while not spin_until_all_at_least(words, np.array([0]), 1, 10_000):
        assert time.monotonic() < deadline
    assert words[32:64].tolist() == [4321] * 32
    assert reap(pid) == 0


@compiled(types.void(WORDS, types.int64, types.int64, WORDS))
def _store_then_load(words: Words, mine: int, other: int, seen: Words) -> None:
    for k in range(1, seen.size):
        store_release(words, mine, k)
        fence_seq_cst()
        seen[k] = load_acquire(words, other)


@pytest.mark.slow
def test_the_fence_orders_a_store_before_a_later_load() -> None:
    # Store buffering: with the fence, my store i is seen by the other's load j, or the other's
    # store j by my load i.  Both missed = the doorbell loses a wake-up.  No barrier is needed: the
    # first j that my load i missed is seen[i] + 1.
    count = 4_000_000
    words = shared_words(64)
    seen = [shared_words(count), shared_words(count)]

    def run(mine: int) -> None:
        write_word(words, 16 + 16 * mine, 1)
        deadline = time.monotonic() + 30
        while not spin_until_at_least(words, 16 + 16 * (1 - mine), 1, 10_000):
            assert time.monotonic() < deadline
        _store_then_load(words, mine * 8, (1 - mine) * 8, seen[mine])

    pid = fork(lambda: run(1))
    run(0)
    assert reap(pid) == 0
    missed = seen[0][1:] + np.uint64(1)
    i = np.arange(1, count)[missed < count]
    j = missed[missed < count].astype(np.int64)
    assert not (seen[1][j] < i).any()
    overlapped = np.unique(seen[0]).size
    print(f"{overlapped} values of the other process seen while both ran")


def test_the_compiled_code_keeps_the_order() -> None:
    """On x86-64 a plain store would pass every test that runs: so look at what is compiled."""

    def announce(words: Words) -> int:
        words[0] = 1
        store_release(words, 1, 2)
        return int(load_acquire(words, 2))

    publish: Any = numba.njit(announce)
    publish(shared_words(3))
    (code,) = publish.inspect_llvm().values()
    assert re.search(r"store atomic i64 .* release, align 8", code)
    assert re.search(r"load atomic i64, .* acquire, align 8", code)


def test_who_looks_at_a_commit_word_again_fences_before() -> None:
    """On x86-64 loads keep their order, so nothing that runs shows it; arm64 lets them pass."""
    again = re.compile(r"if load_acquire\([^)]*OFF_COMMIT // 8\) [!=]= ")
    found = 0
    for path in sorted((REPO / "corec").rglob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for before, line in itertools.pairwise(lines):
            if again.search(line):
                found += 1
                assert before.strip() == "fence_seq_cst()", f"{path}: {line.strip()}"
    assert found >= 3


def test_what_was_loaded_keeps_no_module_until_it_is_called_by_what_is_compiled() -> None:
    dispatcher: Any = read_again
    library = next(iter(dispatcher.overloads.values())).library
    loaded = bool(dispatcher.stats.cache_hits)
    assert (library._shared_module is None) == loaded

    @numba.njit
    def twice(words: Any) -> Any:
        return dispatcher(words, 0) + dispatcher(words, 1)

    assert twice(np.array([3, 4], np.uint64)) == 7
    assert library._shared_module is not None

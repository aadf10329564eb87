"""Many mutants of a file in one text: each stands beside its rule, behind a switch.

So all of them are compiled at once. What is compiled reads the switch, a word at an address that is
the same in each process, whenever it comes to a rule; plain Python reads it as well. A copy of the
checkout with such files, and with ``SWITCH`` among them, is what ``tests.oracle.mutants`` runs.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from typing import Any, Final

VARIABLE: Final = "ORACLE_MUTANT"
"""In the environment: the number of the mutant that is switched on; 0 or nothing: none."""
SWITCH: Final = f'''"""Which mutant of this copy is switched on."""

import ctypes
import os

from llvmlite import ir
from numba.core import types
from numba.extending import overload

from shm.jit import intrinsic

AT = 0x2000_0000_0000
_PAGE, _READ_WRITE, _PRIVATE_ANONYMOUS_FIXED_NOREPLACE = 4096, 3, 0x100022
_mmap = ctypes.CDLL(None).mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]
if _mmap(AT, _PAGE, _READ_WRITE, _PRIVATE_ANONYMOUS_FIXED_NOREPLACE, -1, 0) != AT:
    raise OSError("the address of the switch is taken")
_word = ctypes.c_int64.from_address(AT)
_word.value = int(os.environ.get("{VARIABLE}", "0"))


def which():
    return _word.value


def turn(number):
    _word.value = number


def broken(number):
    return _word.value == number


@intrinsic
def _which(typing_context):
    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        return builder.load(builder.inttoptr(ir.Constant(word, AT), word.as_pointer()), typ=word)

    return types.int64(), generate


@overload(broken)
def _broken(number):
    return lambda number: _which() == number
'''

Path = tuple[tuple[str, int], ...]
"""From a module to a node of it: fields, and places in their lists (−1: it is no list)."""
Site = tuple[Path, int, Any]
"""Where, how many statements (−1: an expression), what stands there instead."""


def _steps(right: ast.AST, wrong: ast.AST, path: Path) -> list[Site] | None:
    """The sites below a node; None: they are none of their own, so the node is one as a whole."""
    found: list[Site] = []
    for name in right._fields:
        mine, other = getattr(right, name, None), getattr(wrong, name, None)
        if isinstance(mine, list) and isinstance(other, list):
            inner = _of_lists(mine, other, (*path, (name, -1)))
        elif isinstance(mine, ast.AST) and isinstance(other, ast.AST):
            inner = _of_nodes(mine, other, (*path, (name, -1)))
        else:
            inner = [] if mine == other else None
        if inner is None:
            return None
        found += inner
    return found


def _of_lists(mine: list[Any], other: list[Any], path: Path) -> list[Site] | None:
    def at(k: int) -> Path:
        return (*path[:-1], (path[-1][0], k))

    if len(mine) == len(other):
        each = [
            _of_nodes(a, b, at(k)) if isinstance(a, ast.AST) else ([] if a == b else None)
            for k, (a, b) in enumerate(zip(mine, other, strict=True))
        ]
        return None if None in each else [site for sites in each if sites for site in sites]
    if not all(isinstance(each, ast.stmt) for each in mine + other):
        return None
    said, its = [ast.dump(each) for each in mine], [ast.dump(each) for each in other]
    shorter = min(len(said), len(its))
    first = next((k for k in range(shorter) if said[k] != its[k]), shorter)
    last = next((k for k in range(shorter - first) if said[-1 - k] != its[-1 - k]), shorter - first)
    instead = other[first : len(other) - last] or [ast.Pass()]
    return [(at(first), len(mine) - last - first, instead)]


def _of_nodes(right: ast.AST, wrong: ast.AST, path: Path) -> list[Site] | None:
    if ast.dump(right) == ast.dump(wrong):
        return []
    if isinstance(right, ast.Expr) and isinstance(wrong, ast.Expr):  # they may give another type
        return [(path, 1, [wrong])]
    if type(right) is type(wrong) and (inner := _steps(right, wrong, path)) is not None:
        return inner
    if isinstance(right, (ast.FunctionDef, ast.ClassDef)):
        return None
    if isinstance(right, ast.stmt) and isinstance(wrong, ast.stmt):
        return [(path, 1, [wrong])]
    plain = isinstance(right, ast.expr) and not isinstance(right, (ast.Slice, ast.Starred))
    if plain and isinstance(getattr(right, "ctx", ast.Load()), ast.Load):
        return [(path, -1, wrong)]
    return None


def _is_broken(number: int) -> ast.expr:
    return ast.parse(f"broken({number})", mode="eval").body


def _place(tree: ast.AST, path: Path, count: int, instead: Any, number: int) -> None:
    """Put what stands ``instead`` at a site, behind the switch."""
    node: Any = tree
    for name, k in path[:-1]:
        node = getattr(node, name) if k < 0 else getattr(node, name)[k]
    name, k = path[-1]
    held = getattr(node, name)
    if count >= 0:
        rule = held[k : k + count]
        held[k : k + count] = [ast.If(_is_broken(number), instead, rule)]
        return
    both = ast.IfExp(_is_broken(number), instead, held if k < 0 else held[k])
    if k < 0:
        setattr(node, name, both)
    else:
        held[k] = both


def merged(text: str, wrong: Mapping[int, str]) -> str:
    """The file ``text`` in which each of the ``wrong`` ones can be switched on by its number.

    Raises:
        ValueError: a mutant changes what can stand behind no switch.
    """
    pristine = ast.parse(text)
    sites: list[tuple[Path, int, Any, int]] = []
    for number, other in wrong.items():
        found = _steps(pristine, ast.parse(other), ())
        if not found:
            raise ValueError(f"mutant {number} changes nothing that can stand behind a switch")
        sites += [(*site, number) for site in found]
    tree = copy.deepcopy(pristine)
    for path, count, instead, number in sorted(sites, key=lambda site: site[0], reverse=True):
        _place(tree, path, count, copy.deepcopy(instead), number)
    behind = max(
        k for k, node in enumerate(tree.body)
        if k == 0 or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
    )  # fmt: skip
    tree.body.insert(behind + 1, ast.parse("from shm.switch import broken").body[0])
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"

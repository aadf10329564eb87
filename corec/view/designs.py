"""Points of a sweep that are no grid, and the file that ``corec sweep`` takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from corec.config.parse import read_json
from corec.view.reading import whole

_KEYS: Final = ("config", "over", "latin", "seeds", "ticks", "every", "collect", "out")
_LATIN: Final = ("over", "points", "seed")


def latin_hypercube(
    over: Mapping[str, tuple[float, float]], points: int, *, seed: int = 0
) -> list[dict[str, Any]]:
    """``points`` points that fill a box evenly, for ``sweep(over=…)``: of each path's range, cut
    into as many equal parts, every part has exactly one of them (McKay, Beckman, Conover 1979).

    Args:
        over: path → (low, high). Two whole numbers give whole numbers from low to high.
        points: how many.
        seed: the same gives the same points.

    Raises:
        ValueError: a range is none, or there is no point.
    """
    if type(points) is not int or points < 1:
        raise ValueError(f"points: found {points!r:.80}, expected a whole number, 1 or more")
    if not isinstance(over, Mapping):
        raise ValueError(f"over: found {over!r:.80}, expected a dict of ranges by path")
    random = np.random.default_rng(whole("seed", seed))
    columns: dict[str, list[Any]] = {}
    for path, given in over.items():
        low, high = _range(path, given)
        shares = (random.permutation(points) + random.random(points)) / points
        if type(low) is int and type(high) is int:
            width = high - low + 1
            columns[path] = [low + min(int(share * width), width - 1) for share in shares]
        else:
            columns[path] = [float(low + share * (high - low)) for share in shares]
    return [{path: column[k] for path, column in columns.items()} for k in range(points)]


def _range(path: str, given: Any) -> tuple[Any, Any]:
    try:
        low, high = given
        fine = all(isinstance(one, int | float) and math.isfinite(one) for one in (low, high))
        fine = fine and math.isfinite(high - low)
    except (TypeError, ValueError, OverflowError):
        fine = False
    if not fine or low > high:
        raise ValueError(f"over: {path}: found {given!r:.80}, expected (low, high), two numbers")
    return low, high


class Wanted(NamedTuple):
    """What a file of a sweep says."""

    config: Path
    over: Any
    seeds: Any
    ticks: int
    every: int | None
    collect: Mapping[str, Any]
    out: Path


def read_sweep(path: Path) -> Wanted:
    """The file of a sweep; its paths start where it lies.

    Raises:
        ConfigError: it can't be read, or is no JSON. ValueError: what it says is wrong.
    """
    raw = read_json(path)
    for name in raw:
        if name not in _KEYS:
            raise ValueError(f"{path}: found the key {name!r}, expected some of {', '.join(_KEYS)}")
    ticks = _whole(path, raw, "ticks")
    collect = raw.get("collect")
    lists = isinstance(collect, Mapping) and all(isinstance(c, list) for c in collect.values())
    if not isinstance(collect, Mapping) or not lists:
        raise ValueError(
            f"{path}: collect: found {collect!r:.80}, expected an object of lists by swarm"
        )
    if ("over" in raw) == ("latin" in raw):
        raise ValueError(f"{path}: expected one of over and latin")
    over = raw["over"] if "over" in raw else _latin(path, raw["latin"])
    if not isinstance(over, Mapping | list):
        raise ValueError(f"{path}: over: found {over!r:.80}, expected an object of lists by path")
    every = None if raw.get("every") is None else _whole(path, raw, "every")
    texts = {name: raw.get(name, default) for name, default in (
        ("config", "corec_config.json"), ("out", f"{path.stem}.parquet"))}  # fmt: skip
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"{path}: {name}: found {text!r:.80}, expected a path")
    out = path.parent / texts["out"]
    if out.suffix not in (".parquet", ".csv"):
        raise ValueError(f"{path}: out: found {texts['out']!r}, expected .parquet or .csv")
    if out.suffix == ".parquet" and find_spec("pyarrow") is None:  # not after hours of runs
        raise ValueError(
            f"{path}: out: found {texts['out']!r}, and pyarrow is not installed here; "
            "pip install pyarrow, or name a .csv file"
        )
    seeds = raw.get("seeds", 1)
    return Wanted(path.parent / texts["config"], over, seeds, ticks, every, collect, out)


def _whole(path: Path, raw: Mapping[str, Any], name: str) -> int:
    found = raw.get(name)
    if type(found) is not int or found < 1:
        raise ValueError(f"{path}: {name}: found {found!r:.80}, expected a whole number, 1 or more")
    return found


def _latin(path: Path, given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, Mapping) or not set(given) <= set(_LATIN):
        raise ValueError(f"{path}: latin: found {given!r:.80}, expected {', '.join(_LATIN)}")
    if not isinstance(given.get("over"), Mapping):
        raise ValueError(f"{path}: latin.over: expected an object of [low, high] by path")
    points: Any = given.get("points")
    try:
        return latin_hypercube(given["over"], points, seed=given.get("seed", 0))
    except ValueError as error:
        raise ValueError(f"{path}: latin.{error}") from None

"""``corec.sweep``: each row is what a ``World`` says, whatever ran first and what was killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corec
from corec.config import ConfigError
from corec.plan import make_plan
from corec.view.frame import Table
from corec.view.making import RunFailed
from corec.view.runs import mark_of
from corec.view.settings import configured
from tests.support.instance import REPO
from tests.support.processes import wait_until
from tests.view.test_world import town

pytestmark = pytest.mark.usefixtures("no_leaks")

OVER = {"town.beta": np.array([0.1, 0.9]), "bloques.town.umbral": ["nunca", 0.25]}
COLLECT = {"town": ["mean(fase == 1)", "count(activo)", "std(valor)"]}


def swept(**changes: Any) -> Table:
    """Eight runs, looked at three times each."""
    given: dict[str, Any] = {
        "over": OVER, "seeds": [3, 9], "ticks": 12, "every": 5, "collect": COLLECT, "processes": 2,
    }  # fmt: skip
    return corec.sweep(town(), **(given | changes))


def same(one: Table, other: Table) -> bool:
    """Whether two tables are alike to the bit."""
    columns = zip(one.items(), other.items(), strict=True)
    return all(a == b and np.array_equal(x, y, equal_nan=True) for (a, x), (b, y) in columns
               if x.dtype.kind != "U") and one.columns == other.columns  # fmt: skip


def test_each_row_is_what_a_world_says() -> None:
    runs = swept()
    assert runs.columns == [
        "run", "seed", "town.beta", "bloques.town.umbral", "tick", "town.mean(fase == 1)",
        "town.count(activo)", "town.std(valor)",
    ]  # fmt: skip
    assert len(runs) == 2 * 2 * 2 * 3
    assert runs["tick"][:6].tolist() == [5, 10, 12, 5, 10, 12]
    assert runs["seed"][:6].tolist() == [3, 3, 3, 9, 9, 9]
    for k in range(0, len(runs), 3):
        changes = {
            "town.beta": float(runs["town.beta"][k]),
            "bloques.town.umbral": "nunca" if runs["bloques.town.umbral"][k] == "nunca" else 0.25,
        }
        with corec.World(town(), seed=int(runs["seed"][k]), changes=changes) as world:
            for row, ticks in zip(range(k, k + 3), (5, 5, 2), strict=True):
                assert world.run(ticks) == runs["tick"][row]
                frame = world.frame()
                assert (frame["fase"] == 1).mean() == runs["town.mean(fase == 1)"][row]
                assert frame["valor"].std(dtype=np.float64) == runs["town.std(valor)"][row]
    assert same(swept(processes=1), runs)
    assert len(swept(over=[{"town.beta": 0.3}], seeds=1, every=None)) == 1


def test_finished_runs_are_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    whole = swept(path=path)
    assert same(swept(path=path), whole)
    head, first, second, third, *_ = path.read_text(encoding="utf-8").splitlines()
    done = json.loads(first)
    done["rows"][0][0] = 123.0  # as nothing that is run would say
    path.write_text("\n".join([head, json.dumps(done), second, third[:20]]), encoding="utf-8")
    again = swept(path=path)
    changed = np.flatnonzero(again["town.mean(fase == 1)"] != whole["town.mean(fase == 1)"])
    assert changed.tolist() == [3 * done["run"]]
    assert len(path.read_text(encoding="utf-8").splitlines()) == 9
    for other in ({"ticks": 13}, {"seeds": [3, 8]}, {"collect": {"town": "max(valor)"}}):
        with pytest.raises(ValueError, match="found another sweep's runs"):
            swept(path=path, **other)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_s_name_is_the_table_s(tmp_path: Path, suffix: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet") if suffix == ".parquet" else None
    path = tmp_path / f"runs{suffix}"
    kept = tmp_path / f"runs{suffix}.runs"
    words: dict[str, Any] = {"over": {"town.beta": [0.1, 0.9]}, "seeds": 1, "path": path}
    whole = swept(**words)
    assert not kept.exists()
    if parquet is None:
        names, *rows = path.read_text(encoding="utf-8").splitlines()
        assert names.split(",")[:2] == ["run", "seed"]
        assert len(rows) == len(whole)
    else:
        assert parquet.read_table(path).column_names == whole.columns
    path.unlink()
    bare = tmp_path / "lines"
    swept(**{**words, "path": bare})
    head, first, *_ = bare.read_text(encoding="utf-8").splitlines()
    done = json.loads(first)
    done["rows"][0][0] = 123.0  # as nothing that is run would say
    kept.write_text(f"{head}\n{json.dumps(done)}\n", encoding="utf-8")
    again = swept(**words)
    assert (again["town.mean(fase == 1)"] == 123.0).sum() == 1
    assert path.exists()
    assert not kept.exists()


def test_runs_of_other_code_are_refused(tmp_path: Path) -> None:
    """Of a processor that is named in ``over`` alone; of a number that no machine code has."""

    def marked(quiet: int, constant: float) -> str:
        plans = []
        for value in (1.0, constant):
            processor = corec.celu(silence=quiet)(giving(value))
            config, named = configured(town(procesador=processor, parametros={}), None)
            plans.append(make_plan(config, named))
        return mark_of(plans, {}, [])

    assert marked(5, 2.0) == marked(5, 2.0)
    assert len({marked(5, 2.0), marked(50, 2.0), marked(5, 3.0)}) == 3
    for entry in (5, 50):
        config = town(procesador=corec.celu(silence=entry)(giving(0.0)), parametros={})
        given: dict[str, Any] = {"over": {"carga": [1.0]}, "ticks": 8, "processes": 1}
        given |= {"collect": {"town": ["sum(quiet)"]}, "path": tmp_path / "runs.jsonl"}
        if entry == 5:
            assert corec.sweep(config, **given)["town.sum(quiet)"].tolist() == [100.0]
        else:
            with pytest.raises(ValueError, match="found another sweep's runs"):
                corec.sweep(config, **given)


def giving(constant: float) -> Callable[[Any, Any], Any]:
    """A function that gives ``constant``."""

    def function(me: Any, value: Any) -> Any:
        return constant

    return function


PROGRAM = """
import corec
corec.sweep({config!r}, over={{"town.beta": [0.1, 0.9]}}, seeds=12, ticks=2000,
            collect={{"town": ["mean(fase != 0)"]}}, path={path!r}, processes=2)
"""


@pytest.mark.slow
def test_a_killed_sweep_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    text = PROGRAM.format(config=town(), path=str(path))

    def finished() -> int:
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def reached(least: int) -> bool:
        return finished() >= least

    for least in (3, 8):
        with subprocess.Popen([sys.executable, "-c", text], cwd=REPO) as program:
            wait_until(partial(reached, least), "some runs", 60.0)
            program.kill()
    given: dict[str, Any] = {"seeds": 12, "ticks": 2000, "over": {"town.beta": [0.1, 0.9]}}
    given |= {"collect": {"town": ["mean(fase != 0)"]}, "every": None}
    before = finished()
    assert 8 <= before < 25
    resumed = swept(path=path, **given)
    assert finished() == 25
    assert same(resumed, swept(**given))


def test_processors_are_values_too(tmp_path: Path) -> None:
    """Also those that no other process could import; the table has their names."""
    path = tmp_path / "runs"
    words: dict[str, Any] = {"ticks": 1, "path": path, "collect": {"town": ["mean(valor)"]}}
    found = []
    for _ in range(2):  # made anew they are the same sweep's
        some = [corec.micro(given(value)) for value in (1.0, 2.0)]
        over = {"bloques.town.procesador": some}
        runs = corec.sweep(town(procesador=some[0], parametros={}), over=over, **words)
        assert runs["town.mean(valor)"].tolist() == [1.0, 2.0]
        assert runs["bloques.town.procesador"].tolist() == [one.name for one in some]
        found.append(path.read_bytes())
    assert found[0] == found[1]


def given(constant: float) -> Callable[[Any], Any]:
    """A function that gives ``constant``."""

    def function(me: Any) -> Any:
        return constant

    return function


@pytest.mark.parametrize("content", [b'{"mine": 1}', b"mine\n", b'{"sweep": "0123"}'])
def test_a_file_of_somebody_s_own_stays(tmp_path: Path, content: bytes) -> None:
    """Also one that ends without an end of line, as a kill leaves a sweep's."""
    path = tmp_path / "own.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="found another sweep's runs"):
        swept(path=path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("kept", [0, 1, 10, -1])
def test_a_head_cut_short_is_made_anew(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "runs.jsonl"
    few: dict[str, Any] = {"over": {"town.beta": [0.3]}, "seeds": 1}
    swept(path=path, **few)
    whole = path.read_bytes()
    path.write_bytes(whole.splitlines(keepends=True)[0][:kept])
    swept(path=path, **few)
    assert path.read_bytes() == whole


def infected(me: Any) -> Any:
    """Fails with a parameter that only a run can know to be wrong."""
    if me.share > 0.5:
        raise ValueError("too many")
    return 0.0


@corec.micro(params={"share": 0.1}, init=infected)
def fussy(me: Any) -> Any:
    """Nothing goes on."""
    return me.valor


def test_a_run_that_fails_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    config, path = town(procesador=fussy, parametros={}), tmp_path / "runs.jsonl"
    with pytest.raises(RunFailed, match=r"run 2: .*its init fails for 100 entities.*too many"):
        corec.sweep(config, over={"town.share": [0.1, 0.2, 0.9]}, ticks=1, path=path, processes=1,
                    collect={"town": ["mean(valor)"]})  # fmt: skip
    assert path.read_bytes().count(b"\n") == 3


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"over": {"town.gama": [1]}}, ConfigError, "gama: found .* a parameter"),
        ({"over": {"town.beta": 0.3}}, ValueError, "over: town.beta: found 0.3, expected a list"),
        ({"over": {"city.beta": [0.3]}}, ConfigError, "city"),
        ({"over": {"carga": [1, 2]}}, ConfigError, "carga: found 2"),
        ({"over": [{"carga": 1}, {}]}, ValueError, "over: found points with different paths"),
        ({"collect": {}}, ValueError, "collect: found nothing"),
        ({"collect": {"town": ["median(valor)"]}}, ValueError, "collect: town: found 'median"),
        ({"collect": {"town": ["mean(beta)"]}}, ValueError, "expected one of valor, activo"),
        ({"collect": {"city": ["mean(valor)"]}}, ValueError, "swarm: found 'city'"),
        ({"collect": "valor"}, ValueError, "collect: found 'valor', expected a dict of swarms"),
        ({"collect": {"town": 5}}, ValueError, "collect: town: found 5"),
        ({"over": 5}, ValueError, "over: found 5, expected a dict of lists, or a list of dicts"),
        ({"over": [5]}, ValueError, "a list of dicts"),
        ({"ticks": "5"}, ValueError, "ticks: found '5', expected a whole number"),
        ({"processes": -1}, ValueError, "processes: found -1, expected 1 or more"),
        ({"seeds": "5"}, ValueError, "seeds: found '5', expected how many"),
        ({"seeds": [0.5]}, ValueError, "seeds: found 0.5, expected a whole number"),
        ({"seeds": 0}, ValueError, "sweep: found 0 runs"),
        ({"seeds": [0, -1]}, ConfigError, "seed: found -1"),
        ({"seeds": [2**64, 0]}, ConfigError, "seed: found 18446744073709551616"),
        ({"over": {"bloques.town.procesador": ["ewma"], "bloques.town.parametros": [{}]}},
         ValueError, r"collect: town: found 'mean\(fase == 1\)', expected one of valor"),
        ({"collect": {"town": [5]}}, ValueError, "collect: town: found '5', expected mean"),
        ({"path": "/dev/zero"}, ValueError, "/dev/zero: found no file, expected one"),
        ({"path": "/dev"}, IsADirectoryError, "Is a directory: '/dev'"),
        ({"over": {"seed": [1, 2]}}, ValueError, "over: found seed, expected it apart"),
        ({"every": 0}, ValueError, "every 1 or more"),
        ({"over": {"town.beta": [0.1], "bloques.town.parametros.beta": [0.2]}}, ConfigError,
         "town.beta: found it beside bloques.town.parametros.beta, allowed one of both"),
        ({"over": {"bloques.town.umbral.min": [0.1], "bloques.town.umbral": ["nunca"]}},
         ConfigError, "umbral: found it beside bloques.town.umbral.min, allowed one of both"),
        ({"over": {"persist": [{}], "persist.every_ticks": [5]}}, ConfigError, "persist: found"),
        ({"over": {"carga": [None]}}, ConfigError, "carga: found null"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(
    changes: dict[str, Any], error: type[Exception], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error, match=said):
        swept(**changes)


def test_a_scale_counts_beside_what_it_multiplies_and_null_is_a_value() -> None:
    over: dict[str, list[Any]] = {
        "scale": [0.5, 1.0], "bloques.town.entidades": [40], "entidades_por_bloque": [None],
    }  # fmt: skip
    config = {**town(), "entidades_por_bloque": 10}
    del config["bloques"][0]["entidades_por_bloque"]
    collect = {"town": ["count(activo)"]}
    runs = corec.sweep(config, over=over, ticks=1, collect=collect, processes=1)
    assert runs["town.count(activo)"].tolist() == [20.0, 40.0]
    for path in ([*over], [*over][::-1]):
        with corec.World(config, changes={name: over[name][0] for name in path}) as world:
            assert (len(world.frame("town")), len(world.blocks())) == (20, 1)
    with pytest.raises(ConfigError, match="seed: found it beside seed=, allowed one of both"):
        corec.World(config, seed=1, changes={"seed": 2})


def test_a_table_of_runs_is_arrow_too() -> None:
    polars = pytest.importorskip("polars")
    runs = swept()
    table = polars.DataFrame(runs)
    assert table["bloques.town.umbral"].to_list() == runs["bloques.town.umbral"].tolist()
    assert table.height == len(runs)


def test_a_parquet_file_is_whole(tmp_path: Path) -> None:
    parquet: Callable[[Path], Any] = pytest.importorskip("pyarrow.parquet").read_table
    runs = swept()
    runs.to_parquet(tmp_path / "runs.parquet")
    assert parquet(tmp_path / "runs.parquet").num_rows == len(runs)
    assert [one.name for one in tmp_path.iterdir()] == ["runs.parquet"]

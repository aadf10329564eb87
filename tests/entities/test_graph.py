"""A graph space: generators, files and their faults, neighbours compiled and in plain Python."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corec
from corec.config import ConfigError, parse_config
from corec.graph.files import BadEdges, read_links
from corec.graph.generators import Words, generated, log
from corec.graph.links import Links, links_of
from corec.lab.oracle.graphs import generated as by_the_rules
from corec.plan import make_plan
from corec.testing import Block, PlainEntity, compare
from tests.entities.split import SplitWorld

FIELDS = {"a": "u1", "c": "f4", "d": "i4", "e": "f8", "n": "i4", "whole": "i8", "real": "f8",
          "single": "f4", "far": "i8"}  # fmt: skip


def begin(me: Any) -> Any:
    me.a, me.c, me.d, me.e = me.randint(0, 255), me.normal(), me.randint(-9, 9), me.normal()
    return 0.0


@corec.micro(state=FIELDS, public=("a", "c", "d", "e"), init=begin)
def links(me: Any) -> Any:
    near = me.neighbours
    me.n = near.count()
    me.whole = near.sum("a") - near.min("d") + near.max("a") + near.sum("d")
    me.whole += 1000 * near.count_equal("d", me.d) + 7 * near.count_equal("c", me.c)
    me.real = near.sum("e") + near.mean("e") - near.max("e")
    me.single = near.sum("c") + near.mean("a") + near.min("c")
    me.far = 0
    for other in me.neighbours:
        me.far = 3 * (me.far & 0xFFFFFFFF) + other.id - other.d
        for another in me.neighbours:
            me.far = me.far + another.a
    me.a, me.c, me.d = me.randint(0, 3), me.normal(), me.randint(-2, 2)
    return 0.25


@corec.micro(state={"x": "f4"}, public=("x",), init=lambda me: 0.0)
def weighted(me: Any) -> Any:
    x = 1.0
    for other in me.neighbours:
        x += other.weight * other.x
    me.x = 0.5 * x
    return me.x


def graph(edges: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "graph", "edges": edges, **more}


SMALL = {"generator": "erdos_renyi", "p": 0.1}


@pytest.mark.slow
def test_both_forms_see_the_same() -> None:
    assert compare(links, entities=40, ticks=3, space=graph(SMALL, directed=True), rtol=0.0) == 160


@pytest.mark.slow
def test_weights_and_any_number_of_workers(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    rng = np.random.default_rng(1)
    pairs = sorted({(int(a), int(b)) for a, b in rng.integers(0, 90, (300, 2)) if a < b})
    lines = [f"{a},{b},{k / 100}" for k, (a, b) in enumerate(pairs)]
    path.write_text("# contacts\nsource,target,weight\n\n" + "\n".join(lines) + "\n")
    space = graph(str(path), weights=True)
    compare(weighted, entities=90, ticks=3, space=space, rtol=0.0)
    bloque = {"id": "net", "canal": 1, "entidades": 90, "procesador": "t:w", "space": space,
              "entidades_por_bloque": 13}  # fmt: skip
    found = {SplitWorld([bloque], {"t:w": weighted}, k).run(6) for k in (1, 2, 3, 5)}
    assert len(found) == 1


def test_generators_make_what_they_say() -> None:
    n = 2000
    source, target = generated(n, {"generator": "erdos_renyi", "p": 0.01}, 3)
    assert abs(source.size - 0.01 * n * (n - 1) / 2) < 5 * 141
    keys = np.unique(source * n + target)
    assert keys.size == source.size
    assert (source > target).all()
    ring = links_of(n, *generated(n, {"generator": "watts_strogatz", "k": 6, "p": 0.0}, 3),
                    None, False)  # fmt: skip
    assert ring.of(5).tolist() == [2, 3, 4, 6, 7, 8]
    moved = links_of(n, *generated(n, {"generator": "watts_strogatz", "k": 6, "p": 0.3}, 3),
                     None, False)  # fmt: skip
    assert moved.count == 6 * n
    stay = sum(6 - len(set(moved.of(k).tolist()) - set(ring.of(k).tolist())) for k in range(n))
    assert abs(stay / (6 * n) - 0.7) < 0.03
    full = {"generator": "watts_strogatz", "k": 4, "p": 1.0, "seed": 5}
    assert links_of(6, *generated(6, full, 3), None, False).count == 24
    grown = links_of(n, *generated(n, {"generator": "barabasi_albert", "m": 4}, 3), None, False)
    degrees = np.diff(grown.starts)
    assert 7.5 < degrees.mean() <= 8.0
    assert degrees.max() > 60, "hubs"
    for p, count in ((0.0, 0), (1.0, 45)):
        assert generated(10, {"generator": "erdos_renyi", "p": p}, 1)[0].size == count


def test_a_directed_graph_has_each_pair_in_both_orders() -> None:
    """As G(n, p) of directed graphs is: nobody sees more for having a larger id."""
    n, p = 400, 0.05
    source, target = generated(n, {"generator": "erdos_renyi", "p": p}, 3, True)
    assert np.unique(source * n + target).size == source.size
    assert (source != target).all()
    for found, of in ((source.size, n * (n - 1)), ((source < target).sum(), n * (n - 1) / 2)):
        assert abs(found - p * of) < 5 * (p * (1 - p) * of) ** 0.5
    seen = np.bincount(source, minlength=n)
    for half in (seen[: n // 2], seen[n // 2 :]):
        assert abs(half.mean() - p * (n - 1)) < 5 * (p * n / half.size) ** 0.5
    for edges in ({"generator": "complete"}, {"generator": "erdos_renyi", "p": 1.0}):
        for size in (1, 2, 5):
            found = links_of(size, *generated(size, edges, 1, True), None, True)
            everybody = set(range(size))
            assert [set(found.of(k).tolist()) for k in range(size)] == [
                everybody - {k} for k in range(size)
            ]


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.003, 0.2, 0.97, 1.0])
def test_pairs_are_as_the_rules_count_them(directed: bool, p: float) -> None:
    for n, seed in ((1, 0), (2, 1), (3, 2), (60, 2**64 + 5)):
        edges = {"generator": "erdos_renyi", "p": p}
        source, target = generated(n, edges, seed, directed)
        wanted = by_the_rules(n, edges, seed, directed)
        assert list(zip(source.tolist(), target.tolist(), strict=True)) == wanted


def test_a_graph_is_the_same_on_every_machine() -> None:
    """Numbers written down once: they hold in whatever version of NumPy, on whatever CPU."""
    assert (Words(42).uniform(3) * 1e6).astype(int).tolist() == FIRST_OF_42
    rows = {name: links_of(50, *generated(50, {"generator": name, **more}, 42), None, False)
            for name, more in PARAMETERS.items()}  # fmt: skip
    assert {name: found.of(0).tolist()[:9] for name, found in rows.items()} == ROWS_OF_42
    x = np.random.default_rng(1).random(10000) + 1e-12
    assert np.abs(log(x) - np.log(x)).max() < 1e-14


def test_generators_without_chance_and_an_odd_number_of_neighbours() -> None:
    def rows(n: int, **edges: Any) -> list[list[int]]:
        found = links_of(n, *generated(n, edges, 1), None, False)
        return [found.of(k).tolist() for k in range(n)]

    assert rows(4, generator="complete") == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    for name in ("ring", "cycle"):
        assert rows(4, generator=name) == [[1, 3], [0, 2], [1, 3], [0, 2]]
        assert rows(2, generator=name) == [[1], [0]]
        assert rows(1, generator=name) == rows(1, generator="complete") == [[]]
        for n, seen in ((1, [[]]), (2, [[1], [0]]), (4, [[1], [2], [3], [0]])):
            found = links_of(n, *generated(n, {"generator": name}, 1, True), None, True)
            assert [found.of(k).tolist() for k in range(n)] == seen
    odd = rows(20, generator="watts_strogatz", k=5, p=0.4)
    assert odd == rows(20, generator="watts_strogatz", k=4, p=0.4)


PARAMETERS: dict[str, dict[str, float]] = {
    "erdos_renyi": {"p": 0.1}, "watts_strogatz": {"k": 4, "p": 0.5}, "barabasi_albert": {"m": 2},
}  # fmt: skip
FIRST_OF_42 = [820198, 189245, 867660]
ROWS_OF_42 = {
    "erdos_renyi": [13, 16, 29, 41, 47],
    "watts_strogatz": [1, 3, 22, 49],
    "barabasi_albert": [1, 2, 3, 5, 6, 7, 8, 9, 10],
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0,1\n1,x\n", "'1,x' in line 2 of e.csv, allowed source,target"),
        ("a,b\n0,1\n\n2,10\n", "2,10 in line 4 of e.csv, allowed entities from 0 to 9"),
        ("0 1\n-1 4\n", "-1,4 in line 2 of e.csv, allowed entities from 0 to 9"),
        ("0;1\n3;3\n", "3,3 in line 2 of e.csv, allowed two different ones"),
        ("0,1\n4\n", "'4' in line 2 of e.csv, allowed source,target"),
        ("0,1\n1.5,2\n", "'1.5,2' in line 2 of e.csv"),
        ("0,1\n1.0,2.0\n", "'1.0,2.0' in line 2 of e.csv"),
        ("0,1\n1,9223372036854775808\n", "'1,9223372036854775808' in line 2 of e.csv"),
        ("id,source,target\n0,1,2\n1,3,3\n", "3,3 in line 3 of e.csv, allowed two different ones"),
        ("id,source,target\n0,1,2\n1,3\n", "'1,3' in line 3 of e.csv, allowed source,target"),
        ("", "no edge in e.csv"),
        ("# nothing\n", "no edge in e.csv"),
    ],
)
def test_a_fault_of_a_file_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "e.csv"
    path.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadEdges) as caught:
            read_links(path, 10, False, False)
    assert said in str(caught.value)


def test_names_and_numbers_may_be_quoted(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text('"source","target"\n"0","1"\n1,"9"\n')
    assert read_links(path, 10, False, False).of(1).tolist() == [0, 9]
    path.write_text('"source", "target"\n"0", "1"\n\n# nobody\n 1,  "9"\n')
    assert read_links(path, 10, False, False).of(1).tolist() == [0, 9]
    path.write_text('"source";"target"\n"0";"1"\n"1";"10"\n')
    with pytest.raises(BadEdges, match=r"1,10 in line 3 of e\.csv"):
        read_links(path, 10, False, False)


@pytest.mark.parametrize(
    ("text", "weights", "seen", "weight"),
    [
        ("target,source\n1,0\n", False, [1], None),
        ('"","source","target"\n"7","0","1"\n', False, [1], None),
        ("weight; Source; target\n2; 0; 3\n", True, [3], [2.0]),
        ('kind "target" "source"\n9  "1"  "0"\n', False, [1], None),
        ("source,target,cost\n0,1,5\n", True, [1], [5.0]),
        ("from,to\n0,2\n", False, [2], None),
    ],
)
def test_columns_are_where_their_names_say(
    tmp_path: Path, text: str, weights: bool, seen: list[int], weight: list[float] | None
) -> None:
    path = tmp_path / "e.csv"
    path.write_text(text)
    links = read_links(path, 10, weights, True)
    assert links.of(0).tolist() == seen
    assert links.count == 1
    assert (None if links.weight is None else links.weight.tolist()) == weight


def test_a_weight_that_no_column_is_named_after_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("id,source,target\n0,1,2\n")
    with pytest.raises(BadEdges, match=r"no column weight in e\.csv"):
        read_links(path, 10, True, False)


def test_a_probability_beside_which_one_is_one_is_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for p in (5e-324, 1e-300, 1e-17, 1.2e-16):
            edges = {"generator": "erdos_renyi", "p": p}
            assert generated(1000, edges, 42)[0].size == 0
            assert generated(1, edges, 42)[0].size == 0
    assert generated(10**8, {"generator": "erdos_renyi", "p": 1e-15}, 1)[0].size == 6


def test_what_is_no_npz_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    broken = tmp_path / "b.npz"
    np.savez_compressed(broken, source=np.arange(1000), target=np.arange(1000)[::-1])
    content = bytearray(broken.read_bytes())
    content[100:300] = bytes(byte ^ 0x5A for byte in content[100:300])
    broken.write_bytes(content)
    for one in (path, broken):
        with pytest.raises(BadEdges, match="which is no npz file, allowed what"):
            read_links(one, 10, False, False)


def test_weights_are_numbers_and_of_one_edge_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    for text, said in (
        ("0,1,2\n1,0,3\n", "1,0 in line 2 of e.csv and in line 1, allowed each edge once"),
        ("0,1,nan\n", "weight nan in line 1"),
        ("0,1\n", "'0,1' in line 1 of e.csv, allowed source,target,weight"),
    ):
        path.write_text(text)
        with pytest.raises(BadEdges) as caught:
            read_links(path, 10, True, False)
        assert said in str(caught.value)
    path.write_text("0,1\n1,0\n0\t1\n".replace("\t", ","))
    assert read_links(path, 3, False, False).count == 2
    assert read_links(path, 3, False, True).of(1).tolist() == [0]


def test_npz_and_parquet(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    np.savez(path, source=np.array([0, 2]), target=np.array([1, 1]), weight=np.array([0.5, 2.0]))
    found = read_links(path, 3, True, False)
    assert found.of(1).tolist() == [0, 2]
    assert found.weight is not None
    assert found.weight.tolist() == [0.5, 0.5, 2.0, 2.0]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"source": np.array([0.5]), "target": np.array([1])}, "source of type float64"),
        ({"source": np.array([0])}, "no column target"),
        ({"source": np.array([0, 1]), "target": np.array([1])}, "of another length"),
        ({"source": np.array([0]), "target": np.array([7])}, "0,7 in row 0"),
    ]
    for columns, said in wrong:
        np.savez(path, **columns)
        with pytest.raises(BadEdges, match=said):
            read_links(path, 3, False, False)
    path.write_bytes(b"PK no")
    with pytest.raises(BadEdges, match="no npz file"):
        read_links(path, 3, False, False)
    with pytest.raises(BadEdges, match=r"no such file"):
        read_links(tmp_path / "none.csv", 3, False, False)
    try:
        import pyarrow  # noqa: F401  # whether there is one
    except ImportError:
        with pytest.raises(BadEdges, match=r"no reader of Parquet, allowed a .csv or .npz file"):
            read_links(tmp_path / "e.parquet", 3, False, False)


def faults(space: Any, entidades: int = 10) -> str:
    bloque = {"id": "a", "canal": 1, "entidades": entidades, "procesador": "t:l", "space": space}
    config = parse_config({"instance_id": "t", "bloques": [bloque]})
    for swarm in make_plan(config, {"t:l": weighted}).swarms:
        assert swarm.source is not None
        assert isinstance(swarm.source.links, Links)
    return ""


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (graph(None), "space.edges: found nothing, allowed a file (.csv, .parquet, .npz)"),
        (graph("net.txt"), 'space.edges: found "net.txt", allowed a file ending in .csv'),
        (graph("none.csv"), "none.csv: no such file or directory, allowed a file of edges that"),
        (graph({}), "space.edges.generator: found nothing, allowed one of erdos_renyi"),
        (graph({"generator": "tree"}), 'space.edges.generator: found "tree"'),
        (graph({**SMALL, "p": 1.5}), "space.edges.p: found 1.5, allowed a number from 0 to 1"),
        (graph({**SMALL, "m": 1}), "space.edges.m: found an unknown key, allowed only generator"),
        (graph({**SMALL, "seed": 0.5}), "space.edges.seed: found 0.5, allowed an integer"),
        (graph({"generator": "watts_strogatz", "k": 0, "p": 0.1}), "edges.k: found 0, allowed an"),
        (graph({**SMALL, "n": 11}), "edges.n: found 11, allowed as many as entidades, 10"),
        (graph({**SMALL, "n": 10}), ""),
        (graph({"generator": "ring", "p": 0.1}), "edges.p: found an unknown key, allowed only gen"),
        (graph({"generator": "barabasi_albert", "m": 10}), "edges.m: found 10, allowed an integer"),
        (graph(SMALL, weights=True), "space.edges: found a generator beside weights"),
        (graph(SMALL, radius=2), "space.radius: found a key that no graph has"),
        (graph({"generator": "barabasi_albert", "m": 9}), ""),
    ],
)
def test_a_wrong_graph_is_one_line_of_check(space: Any, said: str) -> None:
    if not said:
        assert faults(space) == said
        return
    with pytest.raises(ConfigError) as caught:
        faults(space)
    (line,) = str(caught.value).splitlines()
    assert said in line


def test_too_many_edges_are_refused_before_they_are_made() -> None:
    with pytest.raises(ConfigError, match=r"about 5000\d+ edges, allowed at most 200000000"):
        faults(graph({"generator": "erdos_renyi", "p": 0.01}), 1_000_001)
    with pytest.raises(ConfigError, match="about 224985000 edges, allowed at most 200000000"):
        faults(graph({"generator": "complete"}, directed=True), 15_000)


def test_the_mark_of_a_graph_is_in_the_fingerprint(tmp_path: Path) -> None:
    def print_of(space: Any) -> int:
        bloque = {"id": "a", "canal": 1, "entidades": 10, "procesador": "t:l", "space": space}
        config = parse_config({"instance_id": "t", "bloques": [bloque]})
        return make_plan(config, {"t:l": weighted}).fingerprint(1)

    path = tmp_path / "e.csv"
    path.write_text("0,1\n")
    before = print_of(graph(str(path)))
    assert before == print_of(graph(str(path)))
    path.write_text("0,2\n")
    assert before != print_of(graph(str(path)))
    assert print_of(graph(SMALL)) != print_of(graph({**SMALL, "seed": 3}))


@corec.micro(state={"x": "f4"}, public=("x",), steps_max=40)
def tires(me: Any) -> Any:
    total = 0.0
    for _ in range(me.id):
        total += me.neighbours.sum("x")
    return total


@pytest.mark.slow
def test_neighbours_cost_loop_steps_and_the_plain_form_needs_no_file() -> None:
    """Entity k of a ring of 4 goes k times through 4 neighbours, a step each."""
    space = graph({"generator": "watts_strogatz", "k": 4, "p": 0.0})
    block = Block(tires, entities=12, space=space, max_errores=1.0)
    block.tick()
    failed = block.view.fallos.tolist()
    assert failed[:7] == [0] * 7
    assert failed[10:] == [1, 1]
    me = PlainEntity(tires, id=3, others={"x": [1.0] * 12}, space=space)
    assert [other.id for other in me.neighbours] == [1, 2, 4, 5]
    assert tires(me) == 12.0

"""Finding instances: alive is who holds the lock, wherever its folder is."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import typer

from corec.cli.main import check
from corec.config import Config, parse_config
from corec.control import folders
from corec.control.discover import (
    Instance,
    NoInstance,
    SeveralInstances,
    find_instance,
    find_instances,
    read_instance,
    write_instance,
)
from corec.private import make_private
from shm.owner import OwnerLock

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base folder of this test's own."""
    monkeypatch.setenv(folders.BASE_VARIABLE, str(tmp_path / "base"))
    return tmp_path / "base"


def raw(name: str, folder: Path, **more: object) -> dict[str, object]:
    """Plain data of the least configuration."""
    return {
        "instance_id": name,
        "bloques": [{"id": "s", "canal": 1, "entidades": 1, "max_size_mb": 1}],
        "state_dir": str(folder / f"state-{name}"),
        **more,
    }


def instance_of(config: Config, folder: Path) -> Instance:
    """What a supervisor would write."""
    return Instance(
        config.instance_id, os.getpid(), str(folder), str(folder / "control.sock"), None,
        "redis://h:1", "h:2/d", 3, None, "0",
    )  # fmt: skip


@contextlib.contextmanager
def alive(config: Config) -> Iterator[Path]:
    """What a supervisor does from its lock to its end."""
    folder = make_private(folders.instance_folder(config))
    lock = OwnerLock(folder / folders.OWNER_LOCK)
    lock.acquire()
    folders.register(folder)
    write_instance(instance_of(config, folder))
    try:
        yield folder
    finally:
        (folder / folders.INSTANCE_FILE).unlink(missing_ok=True)
        lock.release(unlink=True)
        folder.rmdir()
        folders.unregister(folder)


def test_none_one_several(tmp_path: Path) -> None:
    with pytest.raises(NoInstance, match="no instance is running"):
        find_instance()
    with alive(parse_config(raw("a", tmp_path))) as folder:
        assert find_instance() == find_instance("a") == read_instance(folder)
        with pytest.raises(NoInstance, match=r"'b'.*running: a"):
            find_instance("b")
        with alive(parse_config(raw("b", tmp_path))):
            assert [one.instance_id for one in find_instances()] == ["a", "b"]
            assert find_instance("b").instance_id == "b"
            with pytest.raises(SeveralInstances, match="--instance") as several:
                find_instance()
            assert [one.instance_id for one in several.value.found] == ["a", "b"]
    assert find_instances() == []


def test_nothing_is_left(tmp_path: Path, base: Path) -> None:
    with alive(parse_config(raw("a", tmp_path, runtime_dir=str(tmp_path / "run")))):
        assert base.exists()
    assert not base.exists()


def test_by_config_file_also_with_equal_names(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    path = tmp_path / "c.json"
    path.write_text(json.dumps(raw("same", one)), encoding="utf-8")
    with alive(parse_config(raw("same", one))) as first, alive(parse_config(raw("same", two))):
        assert find_instance(config=path).path == first.resolve()
        with pytest.raises(SeveralInstances):
            find_instance("same")
        with pytest.raises(NoInstance, match="'same'"):
            find_instance("other", path)
    with pytest.raises(NoInstance, match=r"looked in [^,]*\); start one with"):
        find_instance(config=path)
    folder = folders.instance_folder(parse_config(raw("same", one)))
    (make_private(folder) / folders.CONTROL_FILE).touch()  # as a killed one has left it
    with pytest.raises(NoInstance, match="its world is in memory: the next start goes on with it"):
        find_instance(config=path)
    (folder / folders.CONTROL_FILE).unlink()
    folder.rmdir()


def test_a_configured_runtime_dir_is_registered(tmp_path: Path, base: Path) -> None:
    config = parse_config(raw("a", tmp_path, runtime_dir=str(tmp_path / "run")))
    assert folders.instance_folder(config) == tmp_path / "run" / "a"
    with alive(config) as folder:
        links = list((base / folders.REGISTRY).iterdir())
        assert [link.resolve() for link in links] == [folder.resolve()]
        assert find_instance("a").path == folder.resolve()
    assert find_instances() == []


def test_the_dead_and_the_broken_are_not_found(tmp_path: Path, base: Path) -> None:
    config = parse_config(raw("a", tmp_path))
    folder = make_private(folders.instance_folder(config))
    write_instance(instance_of(config, folder))
    assert find_instances() == []  # it holds no lock
    lock = OwnerLock(folder / folders.OWNER_LOCK)
    lock.acquire()
    for text in ("", "[]", "{}", '{"instance_id": 1}', "\x00"):
        (folder / folders.INSTANCE_FILE).write_text(text, encoding="utf-8")
        assert find_instances() == []
    dangling = make_private(base / folders.REGISTRY) / "gone"
    dangling.symlink_to(tmp_path / "nowhere")
    write_instance(instance_of(config, folder))
    assert len(find_instances()) == 1
    lock.release()


def test_files_are_private(tmp_path: Path) -> None:
    with alive(parse_config(raw("a", tmp_path))) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / folders.INSTANCE_FILE).stat().st_mode) == 0o600
        assert set(asdict(find_instance())) == set(Instance.__dataclass_fields__)


def test_a_folder_that_is_no_text_is_a_fault() -> None:
    plain = {"instance_id": "i", "bloques": [{"id": "s", "canal": 1, "entidades": 1}]}
    odd = parse_config(plain, base_dir=Path(os.fsdecode(b"/nowhere/caf\xe9")))
    told = str(folders.not_text(odd))
    assert told.startswith("state_dir: found a path that is not UTF-8, '/nowhere/caf\\udce9/var")
    assert folders.refusal(odd) == told
    assert folders.instance_folder(odd).name.startswith("i-")
    assert folders.not_text(parse_config(plain, base_dir=Path("/nowhere/café"))) is None


def test_a_path_that_leads_through_no_folder_is_a_fault_at_check(tmp_path: Path) -> None:
    plain = {"instance_id": "i", "bloques": [{"id": "s", "canal": 1, "entidades": 1}]}
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "later")
    paths = {"state_dir": "/dev/null", "runtime_dir": f"{file}/x/y", "log": {"file": f"{file}/l"}}
    told = [str(one) for one in folders.no_folder(parse_config(plain | paths, base_dir=tmp_path))]
    no = "which is no folder, on the way, allowed a path through folders"
    assert told == [
        f"state_dir: found /dev/null, {no}",
        f"runtime_dir: found {file}, {no}",
        f"log.file: found {file}, {no}",
    ]
    (tmp_path / "round").symlink_to(tmp_path / "round")
    odd = parse_config(plain | {"state_dir": "round/s"}, base_dir=tmp_path)
    (one,) = folders.no_folder(odd)
    assert str(one).startswith(f"state_dir: found {tmp_path}/round, a link that leads to itself")
    assert "symbolic links on the way" in str(folders.refusal(odd))
    log = plain | {"log": {"file": "."}}
    (one,) = folders.no_folder(parse_config(log, base_dir=tmp_path))
    assert str(one) == f"log.file: found {tmp_path}, which is a folder, allowed a file"
    fine = plain | {"state_dir": "dangling/s", "log": {"file": "/dev/null"}, "runtime_dir": "/r/x"}
    assert not list(folders.no_folder(parse_config(fine, base_dir=tmp_path)))
    config = tmp_path / "c.json"
    config.write_text(json.dumps(plain | paths))
    with pytest.raises(typer.Exit) as ended:
        check(config)
    assert ended.value.exit_code == 2

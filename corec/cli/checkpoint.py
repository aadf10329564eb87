"""``corec checkpoint``: its commands, as the command line shows them.

What they do is in ``saved``, imported when one of them runs: it needs compiled code, and ``corec
run`` must be able to say that it compiles before anything does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="checkpoint",
    help="The saved copies of a world: list them, check them, choose the one to resume from.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Configuration file.", show_default="configs/corec_config.json"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("ls")
def list_them(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the checkpoints, newest first. Every checksum is read; ``verify`` looks deeper."""
    from corec.cli import saved

    saved.list_them(config, as_json)


@app.command("verify")
def verify_them(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, a tick, or all.")] = "all",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read everything, recompute every checksum and the digest; exit 1 when something is bad."""
    from corec.cli import saved

    saved.verify_them(file, config, as_json)


@app.command("restore")
def restore_one(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or a tick.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make FILE the checkpoint the next start resumes from.

    Those made later, and a world that is still in memory, are set aside on disk, not deleted.
    """
    from corec.cli import saved

    saved.restore_one(file, config, as_json)


@app.command("trim-bound")
def trim_bound(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print, as commands for redis-cli, how far in-streams may be trimmed.

    Every sound checkpoint of the world can still be resumed from then.
    """
    from corec.cli import saved

    saved.trim_bound(config, as_json)


@app.command("free")
def free_them(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="As ls shows it, or all.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete what was set aside by restore, or by run --fresh: on disk, and worlds in memory."""
    from corec.cli import saved

    saved.free_them(folder, config, as_json)

"""Numbers and other values that somebody wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from corec.cli.worlds import setting
from corec.config import ConfigError, load_config
from corec.digits import DIGITS_MAX, whole_number
from tests.support.invoked import invoked


@pytest.mark.parametrize("text", ["0", "007", "9" * DIGITS_MAX])
def test_digits_are_a_number(text: str) -> None:
    assert whole_number(text) == int(text)


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1_000", "1.0", "²", "٣", "9" * (DIGITS_MAX + 1), "9" * 5000]
)
def test_anything_else_is_none(text: str) -> None:
    assert whole_number(text) is None


@pytest.mark.parametrize("digits", [DIGITS_MAX, DIGITS_MAX + 1, 5000])
def test_no_number_of_digits_is_too_many(digits: int, tmp_path: Path) -> None:
    """A word of the command line that Python's own ``int`` would not take is refused in a line."""
    config = tmp_path / "corec_config.json"
    config.write_text('{"instance_id": "a", "bloques": [{"id": "s", "canal": 1, "entidades": 10}]}')
    with pytest.raises(ConfigError, match=r"workers: found .*, allowed \"auto\""):
        load_config(config, overrides={"workers": "9" * digits})
    for command in ("verify", "restore"):
        done = invoked("checkpoint", command, "9" * digits, "--config", str(config))
        assert done.exit_code == 1, done.output
        # what the system refuses becomes a line in ``told_in_a_line``
        assert isinstance(done.exception, (SystemExit, OSError)), done.exception


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "NaN", "1e999", "nunca", ""])
def test_what_is_no_value_is_the_text_itself(text: str) -> None:
    assert setting(f"carga={text}") == ("carga", text)

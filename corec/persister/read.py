"""For those who read the tables: what is in ``bloques.payload``."""

from __future__ import annotations

from typing import Any

import orjson
import zstandard

_PAYLOAD_BYTES_MAX = 1 << 28


def decode_payload(payload: bytes | bytearray | memoryview) -> dict[str, Any]:
    """The JSON object in a row's ``payload`` (``corec.persister.payload`` draws it).

    Raises ValueError when the bytes are no payload of CoreC.
    """
    try:
        text = zstandard.ZstdDecompressor().decompress(
            bytes(payload), max_output_size=_PAYLOAD_BYTES_MAX
        )
        body = orjson.loads(text)
    except (zstandard.ZstdError, orjson.JSONDecodeError) as error:
        raise ValueError(f"payload: expected Zstandard of a JSON object, found {error}") from error
    if not isinstance(body, dict):
        raise ValueError(f"payload: expected a JSON object, found {type(body).__name__}")
    return body

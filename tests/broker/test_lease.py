"""The lease on one connection with everything else that is written: one after the other."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote, urlsplit

import pytest
import redis

from corec.broker.link import Link
from corec.broker.positions import Keys
from corec.broker.writer import Writer
from corec.lab.chaos.proxy import Proxy
from corec.process.runtime import Owner

KEYS = Keys("leased")
pytestmark = pytest.mark.usefixtures("no_leaks")


async def ended(url: str, proxy: Proxy) -> None:
    """The stop of a broker that meets a renewal, whose answer takes its time."""
    writer = Writer(
        Link(url, KEYS.pos), KEYS, 7, [1], lambda _state, _loss: None, owner=Owner("one", "here")
    )
    async with writer.lock:
        await writer.ensure()
    proxy.tell("delay 100")
    await asyncio.gather(writer.renew(), writer.release())
    await writer.link.close()


def test_it_is_given_back_behind_a_renewal_that_is_on_its_way(valkey_url: str) -> None:
    """Two who read one connection ended the broker by an exception, within the stop; its successor
    took the lease once more."""
    with Proxy(unquote(urlsplit(valkey_url).path)) as proxy:
        asyncio.run(ended(f"redis://127.0.0.1:{proxy.port}/0", proxy))
    with redis.Redis.from_url(valkey_url) as client:
        assert client.exists(KEYS.pos)
        assert not client.exists(KEYS.owner)

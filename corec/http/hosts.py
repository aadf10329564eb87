"""Answers only to the hosts it was told: a page of another site cannot ask through a browser.

A browser lets a page read what its own host answers. Whoever owns a name can point it at 127.0.0.1
(DNS rebinding), and his page then asks CoreC under that name. So the name in the ``Host`` header
must be one of the machine's loopback, the configured ``http.host``, one of ``http.hosts``, or the
very address that the connection came to: an address cannot be rebound. Ports are not looked at;
a proxy in front may have another.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

_MISDIRECTED = 421
_BAD_REQUEST = 400
_SHOWN_MAX = 100


def plain_host(text: str) -> str:
    """The host of ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``, in one spelling; empty when
    it is none."""
    host = text.strip()
    if host.startswith("[") or host.count(":") == 1:
        name, _, port = host.rpartition(":")
        if name and (not port or (port.isascii() and port.isdigit())):
            host = name
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.removesuffix(".").lower()
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


class HostCheck:
    """Passes on to ``app`` what was asked of a known host; 421, or 400 without a host, else."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = {"localhost", *(plain_host(host) for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if self.knows(given, scope.get("server")):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            code, text = _refusal(given)
            await PlainTextResponse(text, code)(scope, receive, send)

    def knows(self, given: Sequence[str], reached: Sequence[object] | None) -> bool:
        """Whether the one ``Host`` that was given is ours; ``reached`` is (address, port)."""
        if len(given) != 1:
            return False
        host = plain_host(given[0])
        if host in self._hosts or (reached and host == plain_host(f"[{reached[0]}]")):
            return bool(host)
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def _refusal(given: Sequence[str]) -> tuple[int, str]:
    if len(given) != 1:
        return _BAD_REQUEST, f"found {len(given)} Host headers, expected one\n"
    shown = given[0][:_SHOWN_MAX]
    return (
        _MISDIRECTED,
        f"host {shown!r} is not served here; add it to http.hosts if it should be\n",
    )

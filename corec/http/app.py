"""The HTTP application: five small read-only pages. It is given what to show and knows no words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from corec.http.hosts import HostCheck

_PAGE = Path(__file__).with_name("page.html")
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
)
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _json(data: Any, status_code: int = 200) -> Response:
    body = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(body, status_code, headers=_HEADERS, media_type="application/json")


def _exposed(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The metrics and their content type, in the form that was asked for; in the plain one for
    whoever names a version that is none, which the library compares with numbers."""
    for wanted in (accept, ""):
        try:
            encode, content_type = choose_encoder(wanted)
            return encode(registry), content_type
        except (TypeError, ValueError):
            if not wanted:
                raise
    raise AssertionError("unreachable: the second turn returns or raises")


def make_app(
    status: Callable[[], dict[str, Any]],
    not_ready: Callable[[], list[str]],
    registry: CollectorRegistry,
    hosts: Iterable[str] = (),
) -> Starlette:
    """The application.

    ``status`` gives the JSON of ``/status.json``; ``not_ready`` the reasons for a 503 of
    ``/readyz``, none for 200; ``registry`` what ``/metrics`` exposes; ``hosts`` the names that it
    answers to beside this machine's own (``corec.http.hosts``).
    """
    page = _PAGE.read_text(encoding="utf-8")

    async def metrics(request: Request) -> Response:
        text, content_type = _exposed(registry, request.headers.get("accept", ""))
        return Response(text, headers={**_HEADERS, "Content-Type": content_type})

    async def healthz(_: Request) -> Response:
        return _json({"ok": True})

    async def readyz(_: Request) -> Response:
        reasons = not_ready()
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def status_json(_: Request) -> Response:
        return _json(status())

    async def live_page(_: Request) -> Response:
        return HTMLResponse(page, headers={**_HEADERS, "Content-Security-Policy": _POLICY})

    return Starlette(
        routes=[
            Route("/", live_page),
            Route("/status.json", status_json),
            Route("/metrics", metrics),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
        middleware=[Middleware(HostCheck, hosts=list(hosts))],
    )

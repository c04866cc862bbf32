# SPDX-License-Identifier: Apache-2.0
"""Paths to routes, errors to replies, cross-origin access, health: over a real socket."""

import asyncio
import json
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from countermark.core import errors
from countermark.core.errors import CountermarkError
from countermark.httpkit import body, health, problems
from countermark.httpkit.application import Application
from countermark.httpkit.body import BodyTooLarge, read_body
from countermark.httpkit.cors import cors
from countermark.httpkit.replies import NO_CACHE, empty_reply, json_bytes_reply
from tests.unit.httpkit.serving import exchange, read_reply, run, served

_RAISED: dict[str, Exception] = {
    "pushback": errors.Pushback("full", 7),
    "bug": ZeroDivisionError("secret detail"),
    "broken": errors.InvariantBroken("secret detail"),
    "missing": errors.NotFound("nothing there"),
    "http": HTTPException(418, "teapot"),
}


async def _echo(request: Request) -> Response:
    body = await read_body(request, limit=100)
    return json_bytes_reply(b'{"size":%d}\n' % len(body), 201, {"etag": "x"})


async def _entry(request: Request) -> Response:
    return PlainTextResponse(request.path_params["id"] + " at " + request.url.path)


async def _fail(request: Request) -> Response:
    raise _RAISED[request.path_params["how"]]


async def _nothing(_: Request) -> Response:
    return empty_reply(404, NO_CACHE)


def _in_a_thread(_: Request) -> Response:
    return PlainTextResponse("threaded")


_ROUTES = [
    *cors(
        [
            Route("/api/entries", _echo, methods=["POST"]),
            Route("/api/entries", _nothing, methods=["GET"]),
        ]
    ),
    Route("/api/entries/{id}", _entry),
    Route("/fail/{how}", _fail),
    Route("/thread", _in_a_thread),
    Mount("/mounted", routes=[Route("/x", _in_a_thread)]),
]


def _ask(
    method: str, path: str, *headers: str, body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one exchange."""
    lines = [f"{method} {path} HTTP/1.1", "host: x", "connection: close", *headers]
    if body:
        lines.append(f"content-length: {len(body)}")
    raw: list[bytes] = []

    async def scenario() -> None:
        async with served(Application(_ROUTES)) as connect:
            request = "\r\n".join([*lines, "", ""]).encode() + body
            raw.append(await exchange(connect, request))

    run(scenario())
    head, _, content = raw[0].partition(b"\r\n\r\n")
    status, *rest = head.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in rest)
    return int(status.split()[1]), {name.lower(): value for name, value in pairs}, content


@pytest.mark.parametrize("path", ["/api/entries", "/api/entries/", "//api///entries//"])
def test_slashes_too_many_are_forgiven(path: str) -> None:
    status, headers, body = _ask("POST", path, body=b"12345")
    assert (status, body) == (201, b'{"size":5}\n')
    assert headers["content-type"] == "application/json"
    assert headers["etag"] == "x"
    assert headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in headers


def test_parameters_methods_threads_and_mounts() -> None:
    assert _ask("GET", "/api/entries/a%20b")[2] == b"a b at /api/entries/a b"
    assert _ask("GET", "/api/entries/ab/")[0] == 200
    assert _ask("GET", "/thread")[2] == b"threaded"
    assert _ask("GET", "/mounted/x")[2] == b"threaded"
    status, headers, body = _ask("GET", "/api/entries")
    assert (status, body, headers["content-length"]) == (404, b"", "0")
    assert "content-type" not in headers
    assert headers["x-accel-expires"] == "0"
    assert _ask("HEAD", "/thread")[2] == b""


def test_unknown_paths_and_methods_are_json() -> None:
    status, headers, body = _ask("GET", "/nowhere/")
    assert (status, json.loads(body)) == (
        404,
        {"code": 404, "message": "path /nowhere/ was not found"},
    )
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"  # another version may serve it tomorrow
    for path, allowed in (
        ("/api/entries", "GET, HEAD, OPTIONS, POST"),
        ("/api/entries/x", "GET, HEAD"),
    ):
        status, headers, body = _ask("DELETE", path)
        assert (status, headers["allow"], json.loads(body)["code"]) == (405, allowed, 405)


@pytest.mark.parametrize(
    ("how", "status", "slug"),
    [
        ("pushback", 503, "pushback"),
        ("bug", 500, None),
        ("broken", 500, "invariant-broken"),
        ("missing", 404, "not-found"),
        ("http", 418, None),
    ],
)
def test_errors_become_replies_without_our_secrets(
    how: str, status: int, slug: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    got, headers, body = _ask("GET", f"/fail/{how}")
    problem: dict[str, Any] = json.loads(body)
    assert (got, problem["code"], problem.get("error")) == (status, status, slug)
    assert "secret" not in problem["message"]
    assert headers.get("retry-after") == ("7" if how == "pushback" else None)
    assert bool(caplog.records) == (how in ("bug", "broken"))


def test_every_error_class_has_a_status_of_its_own_or_of_its_parent() -> None:
    pending, seen = [CountermarkError], 0
    while pending:
        cls = pending.pop()
        pending.extend(cls.__subclasses__())
        error = cls.__new__(cls)
        assert problems.status_of(error) in range(400, 504)
        seen += 1
    assert seen > 20


def test_a_body_over_the_limit_is_413() -> None:
    status, _, body = _ask("POST", "/api/entries", body=bytes(101))
    assert status == 413
    assert json.loads(body)["error"] == BodyTooLarge.code


def test_pages_of_other_origins() -> None:
    origin = "origin: https://search.example"
    status, headers, body = _ask("POST", "/api/entries", origin, body=b"1")
    assert (status, headers["access-control-allow-origin"]) == (201, "*")
    asked = "access-control-request-method: POST"
    status, headers, body = _ask("OPTIONS", "/api/entries", origin, asked)
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-methods"] == "GET, POST, HEAD"
    assert "access-control-allow-origin" not in _ask("GET", "/thread", origin)[1]


def test_health_asks_the_keeper(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[CountermarkError | None] = [None, errors.Unavailable("gone"), None]

    async def ask() -> None:
        fault = faults.pop(0)
        if fault is not None:
            raise fault
        if not faults:
            await asyncio.sleep(60)

    monkeypatch.setattr(health, "_PATIENCE_S", 0.1)

    async def scenario() -> None:
        async with served(Application(health.routes(ask))) as connect:

            async def get(path: str) -> bytes:
                head = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
                return await exchange(connect, head.encode())

            assert (await get("/healthz")).endswith(b'{"status":"SERVING"}')
            assert (await get("/readyz")).endswith(b'{"status":"READY"}')
            gone = await get("/readyz")
            assert gone.startswith(b"HTTP/1.1 503 ")
            assert b"gone" in gone
            assert b"does not answer" in await get("/readyz")

    run(scenario())


def test_uploads_share_a_bound_on_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body.HeldBodies.__init__, "__defaults__", (250_000,))

    async def store(request: Request) -> Response:
        return PlainTextResponse(str(len(await read_body(request, limit=200_000))))

    head = b"POST /store HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n"

    async def scenario() -> None:
        async with served(Application([Route("/store", store, methods=["POST"])])) as connect:
            peers = [await connect() for _ in range(2)]
            for _, writer in peers:
                writer.write(head)
                await asyncio.sleep(0.02)  # so that it does not come in one piece
                writer.write(bytes(150_000))
                await asyncio.sleep(0.05)
            refused = await read_reply(peers[1][0])
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 1\r\n" in refused
            peers[0][1].write(bytes(50_000))
            assert (await read_reply(peers[0][0])).endswith(b"200000")
            for _ in range(3):  # what was held is given back, also by requests that were refused
                reader, writer = await connect()
                writer.write(head)
                await asyncio.sleep(0.02)
                writer.write(bytes(200_000))
                assert (await read_reply(reader)).endswith(b"200000")

    run(scenario())

# SPDX-License-Identifier: Apache-2.0
"""HTTP connections, messages between processes, and files."""

import asyncio
import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.config import Config
from uvicorn.server import ServerState

from countermark.app import messages as app_messages
from countermark.app.instance import InstanceConfig
from countermark.app.settings import load_settings
from countermark.ca import messages as ca_messages
from countermark.client.choice import user_config
from countermark.client.instances import load_instances
from countermark.client.logins import load_email
from countermark.core.errors import CountermarkError, FormatError, InvariantBroken, SettingsError
from countermark.ctlog import messages as ct_messages
from countermark.httpkit.application import Application
from countermark.httpkit.body import read_body
from countermark.httpkit.protocol import BoundedHttp, Limits
from countermark.oidc import messages as oidc_messages
from countermark.rpc import codec, framing
from countermark.rpc.framing import FrameReader
from countermark.rpc.message import Request as KeeperRequest
from countermark.tlog import messages as tlog_messages
from countermark.tsa import messages as tsa_messages
from fuzz.target import Refusals, Target

_LIMITS = Limits(header_bytes=400)
_MODULES = (
    app_messages, ca_messages, ct_messages, oidc_messages, tlog_messages, tsa_messages,
)  # fmt: skip


class Wire(asyncio.Transport):
    """Records what a connection writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: object) -> None:
        """Keep it."""
        assert isinstance(data, bytes)
        self.written += data

    def close(self) -> None:
        """Remember that."""
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        """Whether it was."""
        return self.closed

    def can_write_eof(self) -> bool:
        """As TCP can."""
        return True

    def write_eof(self) -> None:
        """Nothing to keep."""

    def pause_reading(self) -> None:
        """Nobody reads."""

    resume_reading = pause_reading


async def _echo(request: Request) -> Response:
    return Response(await read_body(request, limit=1000))


@cache
def _config() -> Config:
    application = Application([Route("/echo", _echo, methods=["GET", "POST"])])
    config = Config(
        application, lifespan="off", access_log=False, log_config=None, ws="none",
        proxy_headers=False,
    )  # fmt: skip
    config.load()
    return config


def _http(data: bytes) -> bool:
    """Chunks as they arrive, parted by NUL."""
    wire = asyncio.run(_feed([chunk for chunk in data.split(b"\x00") if chunk]))
    assert wire.written == b"" or wire.written.startswith(b"HTTP/1.1 ")
    assert b"HTTP/1.1 500" not in wire.written
    assert wire.closed
    return b"HTTP/1.1 200" in wire.written


async def _feed(chunks: list[bytes]) -> Wire:
    state = ServerState()
    connection = BoundedHttp(_LIMITS, _config(), state, {})
    wire = Wire()
    connection.connection_made(wire)
    for chunk in chunks:
        connection.data_received(chunk)
        await asyncio.sleep(0)
    connection.expire(connection.loop.time() + 1000)
    connection.expire(connection.loop.time() + 2000)
    connection.connection_lost(None)
    if state.tasks:
        await asyncio.wait_for(asyncio.gather(*state.tasks), 5)
    return wire


def _frames(data: bytes) -> bool:
    """The first byte is the size of the steps in which the rest arrives."""
    step, stream = (data[0] or 1, data[1:]) if data else (1, b"")
    reader, frames = FrameReader(), []
    with Refusals(FormatError):
        for at in range(0, len(stream), step):
            frames += reader.feed(stream[at : at + step])
    taken = b"".join(framing.serialize(*frame) for frame in frames)
    assert stream.startswith(taken)
    return bool(frames)


async def _unused(request: object) -> msgspec.Struct:
    raise AssertionError(request)


@cache
def request_types() -> tuple[type[KeeperRequest[msgspec.Struct]], ...]:
    """Everything that a worker can ask a keeper."""
    found = [value for module in _MODULES for value in vars(module).values()]
    return tuple(
        kind
        for kind in found
        if isinstance(kind, type) and issubclass(kind, KeeperRequest) and kind is not KeeperRequest
    )


@cache
def _decoder() -> codec.RequestDecoder:
    return codec.RequestDecoder(dict.fromkeys(request_types(), _unused))


def _messages(data: bytes) -> bool:
    taken = False
    with Refusals(FormatError):
        request = _decoder().decode(data)
        assert _decoder().decode(codec.encode(request)) == request
        taken = True
    for kind in request_types():
        with Refusals(FormatError):
            reply = codec.decode_reply(kind, data)
            assert codec.decode_reply(kind, codec.encode(reply)) == reply
            taken = True
    with Refusals(FormatError):
        error = codec.decode_error(data)
        assert isinstance(error, CountermarkError)
        taken = True
    return taken


@cache
def _home() -> Path:
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = Path(tempfile.mkdtemp(prefix="countermark-fuzz-", dir=memory))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _files(data: bytes) -> bool:
    """One file, in place of each that the program reads at its start."""
    home = _home()
    os.environ["COUNTERMARK_HOME"] = str(home)
    taken = False
    for name in ("instances.json", "logins.json", "config.toml", "settings.toml"):
        (home / name).write_bytes(data)
        (home / name).chmod(0o600)
    with Refusals(CountermarkError):
        load_instances()
        taken = True
    with Refusals(CountermarkError):
        assert isinstance(load_email("http://localhost:7446"), str)
        taken = True
    with Refusals(SettingsError):
        assert all(isinstance(value, str) for value in user_config().values())
        taken = True
    with Refusals(SettingsError):
        load_settings(home / "settings.toml", {})
        taken = True
    with Refusals(InvariantBroken):
        config = InstanceConfig.parse(data)
        assert InstanceConfig.parse(config.serialize()) == config
        taken = True
    return taken


TARGETS = (
    Target("http", _http, 4096),
    Target("frames", _frames, 4096),
    Target("messages", _messages, 4096),
    Target("files", _files, 8192),
)

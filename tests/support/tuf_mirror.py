# SPDX-License-Identifier: Apache-2.0
"""A TUF repository made with python-tuf, and a mirror that serves it as well or badly as told."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

Misbehaviour = Callable[[BaseHTTPRequestHandler], None]
FAR = timedelta(days=300)
ROLES = ("root", "timestamp", "snapshot", "targets")


@dataclass
class Repository:
    """The newest state of a repository; `files` is what a mirror serves.

    Everything can be published that a real repository never would: that is what it is for.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    signers: dict[str, list[CryptoSigner]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expires = now() + FAR
        self.root = Root(expires=expires)
        self.timestamp = Timestamp(expires=expires)
        self.snapshot = Snapshot(expires=expires)
        self.targets = Targets(expires=expires)
        for role in ROLES:
            self.use_keys(role, 2 if role == "root" else 1)
        self.root.roles["root"].threshold = 2
        self.publish_root()
        self.publish({"trusted_root.json": b"{}"})

    def use_keys(self, role: str, count: int = 1) -> None:
        """Give a role new keys; `publish_root` makes it so."""
        for keyid in list(self.root.roles[role].keyids):
            self.root.revoke_key(keyid, role)
        self.signers[role] = [CryptoSigner.generate_ed25519() for _ in range(count)]
        for signer in self.signers[role]:
            self.root.add_key(signer.public_key, role)

    def publish_root(self, *, signers: list[CryptoSigner] | None = None) -> bytes:
        """Sign the root as it stands and serve it under its version."""
        data = sign(self.root, self.signers["root"] if signers is None else signers)
        self.files[f"{self.root.version}.root.json"] = data
        return data

    def rotate_root(self, *roles: str) -> None:
        """A next root with new keys for `roles`, signed by old and new root keys."""
        signers = list(self.signers["root"])
        self.root.version += 1
        for role in roles:
            self.use_keys(role, len(self.signers[role]))
        both = [*signers, *(s for s in self.signers["root"] if s not in signers)]
        self.publish_root(signers=both)

    def publish(self, contents: dict[str, bytes] | None = None) -> None:
        """New targets (if given), snapshot and timestamp, each one version up."""
        if contents is not None:
            self.contents = dict(contents)
            self.targets.targets = {
                name: TargetFile.from_data(name, data, ["sha256"])
                for name, data in contents.items()
            }
            for name, data in contents.items():
                (path,) = self.targets.targets[name].get_prefixed_paths()
                self.files[f"targets/{path}"] = data
        self.targets.version += 1
        self.sign_targets()
        self.snapshot.meta["targets.json"] = MetaFile(self.targets.version)
        self.snapshot.version += 1
        self.sign_snapshot()
        self.timestamp.snapshot_meta = MetaFile(self.snapshot.version)
        self.timestamp.version += 1
        self.sign_timestamp()

    def sign_targets(self) -> None:
        """Serve targets as they stand."""
        name = f"{self.targets.version}.targets.json"
        self.files[name] = sign(self.targets, self.signers["targets"])

    def sign_snapshot(self) -> None:
        """Serve the snapshot as it stands."""
        name = f"{self.snapshot.version}.snapshot.json"
        self.files[name] = sign(self.snapshot, self.signers["snapshot"])

    def sign_timestamp(self) -> None:
        """Serve the timestamp as it stands."""
        self.files["timestamp.json"] = sign(self.timestamp, self.signers["timestamp"])

    @property
    def first_root(self) -> bytes:
        return self.files["1.root.json"]


T = TypeVar("T", Root, Timestamp, Snapshot, Targets)


def sign(part: T, signers: list[CryptoSigner]) -> bytes:
    """Metadata bytes with these signatures."""
    metadata = Metadata(part)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def changed(trusted_root: bytes) -> bytes:
    """Another file that says the same."""
    return trusted_root.rstrip() + b"\n\n"


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Mirror:
    """A server of files; `misbehaviours` by path take the place of files."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    misbehaviours: dict[str, Misbehaviour] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    """Tells its handlers when it is over."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.over = threading.Event()


@contextmanager
def mirror_of(files: dict[str, bytes]) -> Iterator[Mirror]:
    """Serve `files` below ``/tuf/`` on a free loopback port."""
    mirror = Mirror(files=files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.removeprefix("/tuf/")
            mirror.asked.append(name)
            if name in mirror.misbehaviours:
                self.close_connection = True
                with suppress(OSError):
                    mirror.misbehaviours[name](self)
                return
            data = mirror.files.get(name)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = Server(Handler)
    mirror.url = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Send zeros for as long as anybody takes them."""
    handler.send_response(200)
    handler.end_headers()
    while not _over(handler, 0):
        handler.wfile.write(bytes(64 * 1024))


def dripping(handler: BaseHTTPRequestHandler) -> None:
    """One byte at a time, each soon enough after the one before."""
    handler.send_response(200)
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    while not _over(handler, 0.05):
        handler.wfile.write(b" ")


def dripping_headers(handler: BaseHTTPRequestHandler) -> None:
    """The same before any body begins."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-A: ")
    while not _over(handler, 0.05):
        handler.wfile.write(b"a")


def _over(handler: BaseHTTPRequestHandler, wait_s: float) -> bool:
    assert isinstance(handler.server, Server)
    return handler.server.over.wait(wait_s)


def hanging_up(handler: BaseHTTPRequestHandler) -> None:
    """Break off in the middle."""
    handler.send_response(200)
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    handler.wfile.write(b"{")
    handler.connection.shutdown(socket.SHUT_RDWR)


def redirecting(to: str) -> Misbehaviour:
    """Send whoever asks to another address."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer

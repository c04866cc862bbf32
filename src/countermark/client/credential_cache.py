# SPDX-License-Identifier: Apache-2.0
"""A small process of the user's own that keeps keys and certificates for some minutes.

Git asks for a signature in a process of its own for each commit; with this, a rebase of fifty
needs one login. The keys are made in the keeper and never leave it: it signs digests. It has no
network, and nothing it holds is ever on a disk. Who may ask is decided by the socket's folder
and mode (0700, 0600) and by the kernel's word for the other side's user.

Frames: 4 bytes of length, then one JSON object; one question for each connection.
"""

import hashlib
import json
import os
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from countermark.client.instances import home_dir
from countermark.core.crypto.certificate import Certificate
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_base64, to_base64
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    SettingsError,
    Unavailable,
)

MAX_FRAME_BYTES = 128 * 1024
_MAX_PATH_BYTES = 100  # of a socket's address; the least of any system is 104 with its end
_TIMEOUT_S = 10
_START_S = 20
_NAME = "git-keys.sock"
READY = "ready"
_LENGTH = struct.Struct(">I")
_WHAT = "credential cache"


class Held(NamedTuple):
    """A certificate whose key the cache holds.

    Attributes:
        key: the cache's own name for the key.
        certificate: the certificate.
    """

    key: str
    certificate: Certificate


class CachedKey:
    """A P-256 key that lives in the cache. A `SigningKey`."""

    def __init__(self, cache: "CredentialCache", name: str, public_key: PublicKey) -> None:
        self._cache = cache
        self.name = name
        self._public_key = public_key

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """DER ECDSA signature over SHA-256 of `message`."""
        return self.sign_digest(hashlib.sha256(message).digest())

    def sign_digest(self, digest: bytes) -> bytes:
        """DER ECDSA signature over data with this SHA-256 digest."""
        return self._cache.sign(self.name, digest)


class CredentialCache:
    """The client's side. Every call may raise Unavailable: then there is no cache to ask."""

    def __init__(self, path: str) -> None:
        self.path = path

    def find(self, slot: str) -> Held | None:
        """The certificate that was kept under a name, while it lives."""
        reply = self._ask({"do": "find", "slot": slot})
        if not reply.get("found"):
            return None
        certificate = from_base64(_text(reply, "certificate"), "certificate")
        return Held(_text(reply, "key"), Certificate.parse(certificate))

    def new_key(self) -> CachedKey:
        """A new key, which is forgotten within minutes unless a certificate is kept for it."""
        reply = self._ask({"do": "new"})
        spki = from_base64(_text(reply, "publicKey"), "public key")
        return CachedKey(self, _text(reply, "key"), PublicKey.from_spki(spki))

    def keep(self, slot: str, key: str, certificate: Certificate) -> None:
        """Keep a key's certificate under a name until it expires."""
        encoded = to_base64(certificate.der)
        self._ask({"do": "keep", "slot": slot, "key": key, "certificate": encoded})

    def sign(self, key: str, digest: bytes) -> bytes:
        """A signature over a SHA-256 digest."""
        reply = self._ask({"do": "sign", "key": key, "digest": digest.hex()})
        return from_base64(_text(reply, "signature"), "signature")

    def status(self) -> list[dict[str, Any]]:
        """What is held: identity, issuer, expiry and number of signatures of each certificate."""
        held = self._ask({"do": "status"}).get("held")
        if not isinstance(held, list):
            raise FormatError(_WHAT, "did not answer as expected")
        return held

    def stop(self) -> None:
        """End it, and with it all keys."""
        self._ask({"do": "stop"})

    def _ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        with _connect(self.path) as connection:
            try:
                send(connection, question)
                reply = receive(connection)
            except OSError as error:
                raise Unavailable("the credential cache does not answer") from error
        if "error" in reply:
            raise Unavailable(f"the credential cache refused: {str(reply['error'])[:200]}")
        return reply


def cache_path(environ: Mapping[str, str] = os.environ) -> str:
    """Where the socket is: in memory where the system has a folder for that."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if not environ.get("COUNTERMARK_HOME") and os.path.isabs(runtime) and _is_own(runtime):
        return os.path.join(runtime, "countermark", _NAME)
    return os.path.join(home_dir(), "run", _NAME)


def _is_own(folder: str) -> bool:
    """Whether it is there and this user's: after `su`, the variable may still name another's."""
    try:
        return hasattr(os, "geteuid") and os.stat(folder).st_uid == os.geteuid()
    except OSError:
        return False


def running_cache() -> CredentialCache | None:
    """The cache if one runs. Raises SettingsError if what is there is not the user's own."""
    if not hasattr(socket, "AF_UNIX"):
        return None
    cache = CredentialCache(cache_path())
    try:
        cache.status()
    except Unavailable:
        return None
    return cache


def start_cache() -> CredentialCache:
    """Start it unless it runs. Raises SettingsError if it cannot be."""
    if (cache := running_cache()) is not None:
        return cache
    if not hasattr(socket, "AF_UNIX"):
        raise SettingsError("this system cannot keep keys in a process of their own")
    kept = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHOME", "SYSTEMROOT")
    try:
        # Its environment is what anybody of this user could read of it: no tokens. It leaves a
        # child behind, which is nobody's.
        done = subprocess.run(  # noqa: S603 - this very program
            [sys.executable, "-m", "countermark.client.credential_keeper", cache_path()],
            env={name: os.environ[name] for name in kept if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=os.path.abspath(os.sep),
            timeout=_START_S,
            check=False,
        )
        said = done.stdout.decode("utf-8", "replace").strip()
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingsError("the credential cache did not start") from error
    if said != READY:
        raise SettingsError(f"the credential cache did not start: {said or 'it ended at once'}")
    return CredentialCache(cache_path())


def send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """Write a frame. Raises OSError."""
    data = json.dumps(message).encode("ascii")
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket) -> Mapping[str, Any]:
    """Read a frame. Raises OSError, also at its end, and FormatError."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise FormatError(_WHAT, f"a message is larger than {MAX_FRAME_BYTES} bytes")
    try:
        message = json.loads(_exactly(connection, length))
    except (ValueError, RecursionError) as error:
        raise FormatError(_WHAT, "a message is not JSON") from error
    if not isinstance(message, dict):
        raise FormatError(_WHAT, "a message is not a JSON object")
    return message


def check_peer(connection: socket.socket) -> None:
    """Check that the other side is this very user. Raises SettingsError."""
    if peer_uid(connection) != os.geteuid():
        raise SettingsError("the other side of the credential cache's socket is another user")


def peer_uid(connection: socket.socket) -> int:
    """The kernel's word for whose process is on the other side. Raises SettingsError."""
    system: str = sys.platform
    if system == "linux":
        size = struct.calcsize("3i")
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(struct.unpack("3i", found)[1])
    if system == "darwin":
        found = connection.getsockopt(0, 1, 76)  # SOL_LOCAL, LOCAL_PEERCRED: struct xucred
        return int(struct.unpack_from("=II", found)[1])
    raise SettingsError("this system does not say who is on the other side of a socket")


def at_address(path: str, use: Callable[[str], Any]) -> None:
    """Call `use` with an address for the socket at `path`, however long that is."""
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        use(path)
        return
    if sys.platform != "linux":
        raise SettingsError(f"{path} is too long for a socket: set COUNTERMARK_HOME to a shorter")
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        use(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    finally:
        os.close(folder)


def check_folder(path: str) -> None:
    """Check that a folder is this user's alone. Raises SettingsError."""
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise SettingsError(f"{path} is not a folder of yours alone: chmod 700 it")


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_TIMEOUT_S)
        at_address(path, connection.connect)
        check_peer(connection)
    except OSError as error:
        connection.close()
        raise Unavailable("no credential cache runs") from error
    except CountermarkError:
        connection.close()
        raise
    return connection


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise ConnectionResetError("the connection ended early")
        data += piece
    return bytes(data)


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise FormatError(_WHAT, f"did not say its {name}")
    return value

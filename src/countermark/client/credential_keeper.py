# SPDX-License-Identifier: Apache-2.0
"""The process behind `credential_cache`: ``python -m countermark.client.credential_keeper PATH``.

Says ``ready`` on its standard output once it listens, and leaves a child behind that does the rest:
nobody's, in a session of its own. It ends when it is told to, or after half a
day in which nobody asked. Core dumps and other processes' looks into its memory are switched off.
"""

import contextlib
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from countermark.client.credential_cache import (
    READY,
    at_address,
    check_folder,
    check_peer,
    receive,
    send,
)
from countermark.client.ephemeral import EphemeralKey
from countermark.core.crypto.certificate import Certificate
from countermark.core.encoding import from_base64, from_hex, to_base64, to_rfc3339
from countermark.core.errors import CountermarkError, RequestRejected, SettingsError
from countermark.core.verify.signer import SignerIdentity

_IDLE_S = 12 * 3600
_PENDING_S = 15 * 60
_SWEEP_S = 20
_QUESTION_S = 5
_ENDING_S = 3  # that one may take to end after it was told to
_MAX_KEYS = 64
_MAX_NAME_CHARS = 128


@dataclass(slots=True)
class _Kept:
    """A key, and its certificate once there is one."""

    key: EphemeralKey
    forget_at_s: float
    slot: str = ""
    certificate: Certificate | None = None
    signatures: int = 0


class Keeper:
    """What is held, and the answers to questions; knows nothing of sockets."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self.stopped = False

    def answer(self, question: Mapping[str, Any], now_s: float) -> dict[str, Any]:
        """Answer one question at a time of the system clock. Raises CountermarkError."""
        self.sweep(now_s)
        do = question.get("do")
        if do == "find":
            return self._find(_name(question, "slot"))
        if do == "new":
            return self._new(now_s)
        if do == "keep":
            return self._keep(question, now_s)
        if do == "sign":
            return self._sign(question)
        if do == "status":
            return {"held": self._status()}
        if do == "stop":
            self.stopped = True
            self._kept.clear()
            return {}
        raise RequestRejected("the question is not known")

    def sweep(self, now_s: float) -> None:
        """Forget what has expired."""
        for name in [name for name, kept in self._kept.items() if kept.forget_at_s <= now_s]:
            del self._kept[name]

    def _find(self, slot: str) -> dict[str, Any]:
        for name, kept in self._kept.items():
            if kept.certificate is not None and kept.slot == slot:
                encoded = to_base64(kept.certificate.der)
                return {"found": True, "key": name, "certificate": encoded}
        return {"found": False}

    def _new(self, now_s: float) -> dict[str, Any]:
        if len(self._kept) >= _MAX_KEYS:
            raise RequestRejected(f"{_MAX_KEYS} keys are held already")
        name = secrets.token_hex(16)
        kept = self._kept[name] = _Kept(EphemeralKey(), now_s + _PENDING_S)
        return {"key": name, "publicKey": to_base64(kept.key.public_key.spki)}

    def _keep(self, question: Mapping[str, Any], now_s: float) -> dict[str, Any]:
        kept, slot = self._named(question), _name(question, "slot")
        encoded = question.get("certificate")
        if not isinstance(encoded, str):
            raise RequestRejected("there is no certificate")
        certificate = Certificate.parse(from_base64(encoded, "certificate"))
        if certificate.spki != kept.key.public_key.spki:
            raise RequestRejected("the certificate is for another key")
        if certificate.not_after.timestamp() <= now_s:
            raise RequestRejected("the certificate has expired")
        SignerIdentity.from_certificate(certificate)
        for name in [name for name, other in self._kept.items() if other.slot == slot]:
            del self._kept[name]
        kept.slot, kept.certificate = slot, certificate
        kept.forget_at_s = certificate.not_after.timestamp()
        self._kept[_name(question, "key")] = kept
        return {}

    def _sign(self, question: Mapping[str, Any]) -> dict[str, Any]:
        kept = self._named(question)
        digest = question.get("digest")
        if not isinstance(digest, str):
            raise RequestRejected("there is no digest")
        signature = kept.key.sign_digest(from_hex(digest, "digest", length=32))
        kept.signatures += 1
        return {"signature": to_base64(signature)}

    def _status(self) -> list[dict[str, Any]]:
        held = []
        for kept in self._kept.values():
            if kept.certificate is not None:
                signer = SignerIdentity.from_certificate(kept.certificate)
                held.append(
                    {
                        "identity": signer.name,
                        "issuer": signer.issuer,
                        "expires": to_rfc3339(kept.certificate.not_after),
                        "signatures": kept.signatures,
                    }
                )
        return held

    def _named(self, question: Mapping[str, Any]) -> _Kept:
        kept = self._kept.get(_name(question, "key"))
        if kept is None:
            raise RequestRejected("there is no such key, or no longer")
        return kept


def _name(question: Mapping[str, Any], field: str) -> str:
    value = question.get(field)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME_CHARS:
        raise RequestRejected(f"there is no {field}")
    return value


def listen(path: str) -> socket.socket:
    """The socket at `path`, where no other keeper may run. Raises SettingsError, OSError."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    check_folder(folder)
    _only_one(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of one that was killed: the lock says that none runs
    at_address(path, listener.bind)
    os.chmod(path, 0o600)
    listener.listen(16)
    return listener


def _only_one(path: str) -> None:
    """Hold the lock beside the socket for the rest of the process's life."""
    import fcntl

    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    ends_s = time.monotonic() + _ENDING_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > ends_s:
                raise SettingsError("another one runs") from error
            time.sleep(0.02)
        else:
            return


def serve(listener: socket.socket, keeper: Keeper) -> None:
    """Answer until told to stop, or nobody asks for long."""
    listener.settimeout(_SWEEP_S)
    asked_s = time.monotonic()
    while not keeper.stopped and time.monotonic() - asked_s < _IDLE_S:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            keeper.sweep(time.time())
            continue
        asked_s = time.monotonic()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(_QUESTION_S)
            _converse(connection, keeper)


def _converse(connection: socket.socket, keeper: Keeper) -> None:
    try:
        check_peer(connection)
        reply = keeper.answer(receive(connection), time.time())
    except CountermarkError as error:
        reply = {"error": str(error)}
    send(connection, reply)


def harden() -> None:
    """No core dumps, and no looks into this process's memory by others of the same user."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        set_dumpable = 4  # PR_SET_DUMPABLE
        if ctypes.CDLL(None, use_errno=True).prctl(set_dumpable, 0, 0, 0, 0):
            raise SettingsError("this process cannot be closed to others")


def main() -> int:
    """Keep keys until told to stop."""
    os.umask(0o077)
    path = sys.argv[1]
    try:
        harden()
        listener = listen(path)
    except (CountermarkError, OSError) as error:
        print(str(error).replace("\n", " "), flush=True)  # noqa: T201 - whoever started it reads this
        return 1
    print(READY, flush=True)  # noqa: T201 - likewise
    if os.fork():
        return 0
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        serve(listener, Keeper())
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

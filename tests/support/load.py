# SPDX-License-Identifier: Apache-2.0
"""Clients that load an instance from threads and remember every acknowledgement they got."""

import base64
import contextlib
import hashlib
import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from countermark.core.bundle.bundle import TransparencyLogEntry
from countermark.core.bundle.trusted_root import TransparencyLog
from countermark.core.crypto.certificate import OID_SCT_LIST, Certificate
from countermark.core.ct.leaf import CertificateEntry
from countermark.core.verify.log_entry import verify_inclusion_proof, verify_promise
from countermark.core.wire import fulcio, rekor_v1
from tests.support.rekor import SigningKey, encode, hashedrekord

EMAIL = "load@example.org"
# What may be seen while processes die: connections cut, and "try again later".
_PATIENCE = (503,)
_PAUSE_S = 0.01
_TOKEN_S = 240.0


@dataclass(slots=True)
class Acknowledged:
    """What the instance said is so, for ever.

    Attributes:
        entries: what is `lasting` of each log entry, by its 80-hex id.
        heads: the root hash that proofs led to, by tree size.
        certificates: DER leaf and issuing certificate of each issued certificate.
        conflicts: how many duplicates were refused with 409.
        failures: requests that failed in a way that a client must expect.
        wrong: what should never happen, in words.
    """

    entries: dict[str, "Lasting"] = field(default_factory=dict)
    heads: dict[int, bytes] = field(default_factory=dict)
    certificates: list[tuple[bytes, bytes]] = field(default_factory=list)
    conflicts: int = 0
    failures: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Acknowledgements so far."""
        return len(self.entries) + len(self.certificates)


class Load:
    """Threads that post entries and ask for certificates until `stop`."""

    def __init__(
        self,
        port: int,
        log: TransparencyLog,
        token: str,
        *,
        posters: int = 6,
        signers: int = 2,
        seen: Acknowledged | None = None,
        secret: str = "",
    ) -> None:
        """With the login's `secret`, `token` is replaced before it expires."""
        self.seen = Acknowledged() if seen is None else seen
        self._port = port
        self._log = log
        self._token = token
        self._secret = secret
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        work: list[Callable[[int], None]] = [self._post_entries] * posters
        work += [self._ask_certificates] * signers
        self._threads = [
            threading.Thread(target=each, args=(number,), daemon=True)
            for number, each in enumerate(work)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all threads."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a client hangs"

    def wait_for_more(self, seconds: float = 180.0) -> None:
        """Wait until something more is acknowledged than now; fails after `seconds`."""
        before = self.seen.count
        deadline = time.monotonic() + seconds
        while self.seen.count == before:
            assert time.monotonic() < deadline, f"nothing was acknowledged for {seconds} s"
            time.sleep(0.005)

    def _post_entries(self, number: int) -> None:
        key = SigningKey.new()
        chance = random.Random(number)
        posted: list[tuple[bytes, str]] = []
        client = Client(self._port)
        turn = 0
        while not self._stopping.is_set():
            if posted and chance.random() < 0.1:
                body, entry_id = chance.choice(posted)
                self._post(client, body, expected=entry_id)
                continue
            turn += 1
            body = encode(hashedrekord(key, b"artifact %d of %d" % (turn, number)))
            entry_id = self._post(client, body)
            if entry_id:
                posted.append((body, entry_id))
        client.close()

    def _post(self, client: "Client", body: bytes, expected: str = "") -> str:
        """Post an entry; returns its id once it is acknowledged.

        A duplicate must be refused with the id of the first; one that was never acknowledged
        may have been logged all the same, and is then fetched.
        """
        status, headers, data = client.post("/api/v1/log/entries", body)
        if status == 409:
            location = headers.get("location", "")
            entry_id = location.rpartition("/")[2]
            with self._lock:
                self.seen.conflicts += 1
                if expected and entry_id != expected:
                    self.seen.wrong.append(f"{expected} was refused as {entry_id}")
            status, _, data = client.get(location)
        elif status == 201 and expected:
            with self._lock:
                self.seen.wrong.append(f"{expected} was logged twice")
        if status not in (200, 201):
            self._note_failure(status, data)
            return ""
        logged = rekor_v1.parse_log_entry(data)
        proof = logged.entry.inclusion_proof
        assert proof is not None
        verify_promise(logged.entry, self._log)
        verify_inclusion_proof(logged.entry, proof, self._log)
        now = lasting(logged.entry)
        with self._lock:
            if self.seen.entries.setdefault(logged.entry_id, now) != now:
                self.seen.wrong.append(f"{logged.entry_id} is not what it was")
            if self.seen.heads.setdefault(proof.tree_size, proof.root_hash) != proof.root_hash:
                self.seen.wrong.append(f"there are two trees of {proof.tree_size} entries")
        return logged.entry_id

    def _ask_certificates(self, number: int) -> None:
        client = Client(self._port)
        key = SigningKey.new()
        proof = key.sign(EMAIL.encode())
        token, began = self._token, time.monotonic()
        while not self._stopping.is_set():
            if self._secret and time.monotonic() - began > _TOKEN_S:
                with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
                    token, began = local_token(self._port, self._secret), time.monotonic()
            body = fulcio.signing_cert_request(token, key.pem, proof)
            status, _, data = client.post("/api/v2/signingCert", body)
            if status != 200:
                self._note_failure(status, data)
                continue
            leaf, issuer, *_ = fulcio.parse_signing_cert_response(data)
            with self._lock:
                self.seen.certificates.append((leaf, issuer))
            self._stopping.wait(0.02)
        client.close()

    def _note_failure(self, status: int, data: bytes) -> None:
        with self._lock:
            self.seen.failures += 1
            if status and status not in _PATIENCE:
                self.seen.wrong.append(f"status {status}: {data[:200]!r}")
        self._stopping.wait(_PAUSE_S)


class Client:
    """A kept connection; status 0 stands for one that was cut."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        return self.ask("POST", path, body, {"content-type": "application/json"})

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        return self.ask("GET", path, None, {})

    def close(self) -> None:
        self._connection.close()

    def ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        try:
            self._connection.request(method, path, body, headers)
            reply = self._connection.getresponse()
            data = reply.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, {}, b""
        found = {name.lower(): value for name, value in reply.getheaders()}
        return reply.status, found, data


def ct_identity(leaf: bytes, issuer: bytes) -> bytes:
    """How the CT log knows the precertificate of a certificate."""
    tbs = Certificate.parse(leaf).tbs_without(OID_SCT_LIST)
    issuer_key_hash = hashlib.sha256(Certificate.parse(issuer).spki).digest()
    return CertificateEntry(issuer_key_hash, tbs).identity


def local_token(port: int, secret: str, email: str = EMAIL) -> str:
    """A token of the instance's own login, for scripts."""
    connection = http.client.HTTPConnection("localhost", port, timeout=60)
    headers = {"content-type": "application/json", "countermark-local-secret": secret}
    body = json.dumps({"email": email}).encode()
    connection.request("POST", "/oidc/local-token", body, headers)
    reply = connection.getresponse()
    answer: dict[str, Any] = json.loads(reply.read())
    connection.close()
    assert reply.status == 200, answer
    token: str = answer["id_token"]
    assert base64.urlsafe_b64decode(token.split(".")[1] + "==")
    return token


class Lasting(NamedTuple):
    """What must be the same whenever an entry is shown; of the body, its SHA-256."""

    log_index: int
    integrated_time: int
    log_id: bytes
    body_hash: bytes


def lasting(entry: TransparencyLogEntry) -> Lasting:
    """What must be the same whenever this entry is shown."""
    body_hash = hashlib.sha256(entry.canonicalized_body).digest()
    return Lasting(entry.log_index, entry.integrated_time, entry.log_id, body_hash)

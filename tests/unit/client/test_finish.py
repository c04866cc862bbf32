# SPDX-License-Identifier: Apache-2.0
"""Bundles with entries of several logs and timestamps of several authorities, all of them real."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.client.choice import Instance
from countermark.client.credential import ManagedKey
from countermark.client.deadline import Deadline
from countermark.client.sign import Signer
from countermark.client.transport import Transport
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.signing_config import Service, ServiceSelection, SigningConfig
from countermark.core.bundle.trusted_root import (
    CertificateAuthority,
    TransparencyLog,
    TrustedRoot,
    Validity,
)
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    CountermarkError,
    Pushback,
    RequestRejected,
    TimeUnproven,
    UpstreamDown,
)
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.verifier import Thresholds, verify
from countermark.drivers.keys.file import FileSigner
from countermark.rpc.local import LocalKeeper
from countermark.tsa.api import routes
from countermark.tsa.keeper import TimestampKeeper
from tests.support.asgi import Browser, Reply
from tests.support.instance import free_port
from tests.support.scripted_server import scripted
from tests.support.timestamps import StandingClock, SystemEntropy, make_authority
from tests.support.v1_log import RunningLog

EVER = Validity(datetime(2000, 1, 1, tzinfo=UTC), None)
DATA = b"a release"
THEN = datetime.fromtimestamp(1_800_000_000, UTC)  # as the logs' clocks have it
VALID = (THEN - timedelta(days=1), THEN + timedelta(days=1))


class Key:
    """A managed key as the signer wants one."""

    def __init__(self, curve: ec.EllipticCurve) -> None:
        self._key = ec.generate_private_key(curve)
        self.public_key = FileSigner(self._key).public_key

    def sign(self, message: bytes) -> bytes:
        return FileSigner(self._key).sign(message)

    def sign_digest(self, digest: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

        kinds = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}
        return self._key.sign(digest, ec.ECDSA(Prehashed(kinds[self.public_key.hash_name])))


@contextmanager
def served(browser: Browser) -> Iterator[str]:
    """An application behind a real port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {"content-type": self.headers["content-type"]}
            self._answer(browser.send("POST", self.path, headers=headers, body=body))

        def do_GET(self) -> None:
            self._answer(browser.send("GET", self.path))

        def _answer(self, reply: Reply) -> None:
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.body)))
            if "location" in reply.headers:
                self.send_header("Location", reply.headers["location"])
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class World:
    """Two logs and two timestamp authorities, of operators a and b."""

    root: TrustedRoot
    logs: tuple[Service, ...]
    stamps: tuple[Service, ...]

    def signer(self, curve: ec.EllipticCurve | None = None, **changes: Any) -> Signer:
        fields = {"rekor_tlog_urls": self.logs, "tsa_urls": self.stamps} | changes
        config = SigningConfig((), (), **fields)
        key = ManagedKey(Key(curve or ec.SECP256R1()))
        transport = Transport(timeout_s=5)
        return Signer(
            Instance("test", "", self.root, config), key, transport=transport, timeout_s=10
        )


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        logs, stamps, log_roots, stamp_roots = [], [], [], []
        for operator in "ab":
            log = stack.enter_context(RunningLog())
            logs.append(Service(stack.enter_context(served(log.browser)), 1, operator=operator))
            key = log.signer.public_key
            log_roots.append(
                TransparencyLog(
                    f"https://log.example/{operator}", "SHA2_256", key.spki, key.details, EVER,
                    key.key_id, operator=operator,
                )
            )  # fmt: skip
            authority = make_authority(valid=VALID)
            keeper = TimestampKeeper(
                authority.chain, authority.signer, StandingClock(THEN), SystemEntropy()
            )
            url = stack.enter_context(served(Browser(routes(LocalKeeper(keeper.handlers())))))
            stamps.append(Service(f"{url}/api/v1/timestamp", 1, operator=operator))
            stamp_roots.append(
                CertificateAuthority(
                    "example", "tsa", f"https://tsa-{operator}.example", authority.chain, EVER,
                    operator,
                )
            )  # fmt: skip
        root = TrustedRoot(tuple(log_roots), (), (), tuple(stamp_roots))
        yield World(root, tuple(logs), tuple(stamps))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=["P-256", "P-384"])
def test_all_services_are_in_the_bundle(world: World, curve: ec.EllipticCurve) -> None:
    every = ServiceSelection("ALL")
    signer = world.signer(curve, rekor_tlog_config=every, tsa_config=every)
    signed = signer.sign(DATA)
    assert {record.log for record in signed.evidence.records} == {
        "https://log.example/a",
        "https://log.example/b",
    }
    bundle = Bundle.parse(signed.bundle.serialize())
    assert (len(bundle.tlog_entries), len(bundle.timestamps)) == (2, 2)
    key = signed.evidence.key
    assert bundle.public_key_hint
    strict = Thresholds(times=2, logs=2)
    verify(bundle, BytesArtifact(DATA), world.root, key, thresholds=strict)
    fewer = bundle._replace(tlog_entries=bundle.tlog_entries[:1])
    with pytest.raises(CountermarkError, match="must"):
        verify(fewer, BytesArtifact(DATA), world.root, key, thresholds=strict)


def test_statements_are_logged_everywhere_too(world: World) -> None:
    statement = (
        b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://x.example/y",'
        b'"subject":[{"name":"a","digest":{"sha256":"' + b"ab" * 32 + b'"}}],"predicate":{}}'
    )
    signed = world.signer(rekor_tlog_config=ServiceSelection("ALL")).sign_statement(statement)
    assert [entry.kind for entry in signed.bundle.tlog_entries] == ["dsse", "dsse"]
    assert len(signed.bundle.timestamps) == 1


def test_any_asks_one_and_exact_as_many_as_it_says(world: World) -> None:
    for selection, count in ((ServiceSelection("ANY"), 1), (ServiceSelection("EXACT", 2), 2)):
        signed = world.signer(rekor_tlog_config=selection, tsa_config=selection).sign(DATA)
        assert (len(signed.bundle.tlog_entries), len(signed.bundle.timestamps)) == (count, count)


def test_another_operator_stands_in_for_one_that_is_away(world: World) -> None:
    dead = Service(f"http://127.0.0.1:{free_port()}", 1, datetime(2026, 1, 1, tzinfo=UTC))
    with scripted((503, {"Retry-After": "9999"}, b"")) as busy:
        full = Service(busy.url, 1, datetime(2026, 1, 2, tzinfo=UTC), operator="busy")
        listed = (dead, full, *world.logs)
        exact = ServiceSelection("EXACT", 2)
        signed = world.signer(rekor_tlog_urls=listed, rekor_tlog_config=exact).sign(DATA)
        assert len(signed.bundle.tlog_entries) == 2
        with pytest.raises(Pushback) as raised:
            world.signer(
                rekor_tlog_urls=listed, rekor_tlog_config=ServiceSelection("EXACT", 3)
            ).sign(DATA)
    for url in (dead.url, full.url):
        assert f"the transparency log at {url}" in str(raised.value)
    assert raised.value.retry_after_s == 9999


def test_all_means_all(world: World) -> None:
    dead = Service(f"http://127.0.0.1:{free_port()}/x", 1, operator="dead")
    signer = world.signer(tsa_urls=(*world.stamps, dead), tsa_config=ServiceSelection("ALL"))
    with pytest.raises(UpstreamDown, match=f"timestamp authority at {dead.url[:-2]} does not"):
        signer.sign(DATA)


def test_a_refusal_is_not_shopped_around(world: World) -> None:
    """Another log might take what the first one found wrong, but nobody should have to guess."""
    with scripted((400, {}, b'{"code":400,"message":"no"}')) as strict:
        newest = Service(strict.url, 1, datetime(2026, 1, 1, tzinfo=UTC), operator="strict")
        with pytest.raises(RequestRejected, match=f"log at {strict.url} refused: no"):
            world.signer(rekor_tlog_urls=(newest, *world.logs)).sign(DATA)


def test_a_lying_authority_leaves_no_entry_and_no_bundle(world: World) -> None:
    other = make_authority(valid=VALID)
    keeper = TimestampKeeper(other.chain, other.signer, StandingClock(THEN), SystemEntropy())
    with served(Browser(routes(LocalKeeper(keeper.handlers())))) as url:
        liar = Service(f"{url}/api/v1/timestamp", 1)
        with scripted((500, {}, b"")) as log, pytest.raises(TimeUnproven):
            world.signer(tsa_urls=(liar,), rekor_tlog_urls=(Service(log.url, 1),)).sign(DATA)
    assert log.asked == []


def test_a_managed_keys_bundle_names_the_key(world: World) -> None:
    signed = world.signer().sign(DATA)
    assert isinstance(signed.evidence.key, PublicKey)
    assert signed.evidence.signer is None
    other = Key(ec.SECP256R1()).public_key
    with pytest.raises(CountermarkError):
        verify(signed.bundle, BytesArtifact(DATA), world.root, other)


def test_timestamp_and_log_share_one_budget_of_time(world: World) -> None:
    signer = world.signer()
    prepared = signer.prepare(DATA)
    assert prepared.deadline is not None
    assert prepared.deadline.left_s() < 10
    late = prepared._replace(deadline=Deadline.after(-1))
    with pytest.raises(UpstreamDown, match=r"transparency log at \S+ takes too long"):
        signer.finish(late)
    assert signer.finish(late._replace(deadline=None)).evidence.records
    again = signer.finish(prepared)  # found again
    assert again.bundle.signature == prepared.bundle.signature

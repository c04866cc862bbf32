# SPDX-License-Identifier: Apache-2.0
"""The timestamp authority through its routes, judged by OpenSSL."""

import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from hashlib import new
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from countermark.core.crypto import der
from countermark.core.crypto.keys import encode_pem
from countermark.core.tsp.request import SIGSTORE_POLICY, TimestampRequest
from countermark.core.wire.tsa import request_to_json
from countermark.rpc.local import LocalKeeper
from countermark.tsa.api import routes
from countermark.tsa.keeper import TimestampKeeper
from tests.support.asgi import Browser, Reply
from tests.support.timestamps import (
    NOW,
    Authority,
    StandingClock,
    SystemEntropy,
    make_authority,
)

PATH = "/api/v1/timestamp"
QUERY = "application/timestamp-query"
DATA = b"the bytes of a signature"
OPENSSL = shutil.which("openssl") or "openssl"
by_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None and os.environ.get("CI") != "true",
    reason="needs the openssl command",
)


def browse(authority: Authority, clock: StandingClock | None = None) -> Browser:
    keeper = TimestampKeeper(
        authority.chain, authority.signer, clock or StandingClock(), SystemEntropy()
    )
    return Browser(routes(LocalKeeper(keeper.handlers())))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority()


@pytest.fixture
def browser(authority: Authority) -> Browser:
    return browse(authority)


def openssl(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [OPENSSL, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def ask(browser: Browser, query: bytes) -> Reply:
    return browser.post(PATH, query, content_type=QUERY)


def query_by_openssl(folder: Path, hash_name: str, *flags: str) -> bytes:
    (folder / "data").write_bytes(DATA)
    openssl(
        "ts", "-query", "-data", "data", f"-{hash_name}", *flags, "-out", "query.tsq", cwd=folder
    )
    return (folder / "query.tsq").read_bytes()


def verify_by_openssl(folder: Path, authority: Authority, at: datetime = NOW) -> str:
    (folder / "root.pem").write_text(encode_pem("CERTIFICATE", authority.chain[1]))
    (folder / "leaf.pem").write_text(encode_pem("CERTIFICATE", authority.chain[0]))
    return openssl(
        "ts", "-verify", "-in", "reply.tsr", "-queryfile", "query.tsq", "-CAfile", "root.pem",
        "-untrusted", "leaf.pem", "-attime", str(int(at.timestamp())), cwd=folder,
    )  # fmt: skip


@by_openssl
@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("nonce", [True, False])
@pytest.mark.parametrize("certificates", [True, False])
def test_openssl_verifies_what_it_asked_for(
    browser: Browser,
    authority: Authority,
    tmp_path: Path,
    hash_name: str,
    nonce: bool,
    certificates: bool,
) -> None:
    flags = ([] if nonce else ["-no_nonce"]) + (["-cert"] if certificates else [])
    reply = ask(browser, query_by_openssl(tmp_path, hash_name, *flags))
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/timestamp-reply"
    assert reply.headers["cache-control"] == "no-store"
    (tmp_path / "reply.tsr").write_bytes(reply.body)
    assert "Verification: OK" in verify_by_openssl(tmp_path, authority)
    text = openssl("ts", "-reply", "-in", "reply.tsr", "-text", cwd=tmp_path)
    assert "Status: Granted." in text
    assert f"Policy OID: {SIGSTORE_POLICY}" in text
    assert f"Hash Algorithm: {hash_name}" in text
    assert "Time stamp: Mar  4 05:06:07 2026 GMT" in text  # the clock's 890 ms are cut
    assert "Accuracy: 0x01 seconds" in text
    assert "Ordering: no" in text
    assert "TSA: DirName:/O=countermark tests/CN=tsa" in text
    assert bool(re.search(r"Nonce: 0x[0-9A-F]+", text)) == nonce
    assert (authority.chain[0] in reply.body) == certificates
    assert authority.chain[1] not in reply.body  # the root is never sent along


@by_openssl
def test_openssl_refuses_the_token_for_other_data(
    browser: Browser, authority: Authority, tmp_path: Path
) -> None:
    reply = ask(browser, query_by_openssl(tmp_path, "sha256", "-cert"))
    (tmp_path / "reply.tsr").write_bytes(reply.body)
    openssl("ts", "-query", "-digest", "00" * 32, "-sha256", "-out", "query.tsq", cwd=tmp_path)
    with pytest.raises(AssertionError, match=r"message imprint mismatch"):
        verify_by_openssl(tmp_path, authority)


@by_openssl
@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
    ids=["P-384", "RSA"],
)
def test_openssl_verifies_tokens_of_other_keys(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> None:
    authority = make_authority(key)
    reply = ask(browse(authority), query_by_openssl(tmp_path, "sha512", "-cert"))
    (tmp_path / "reply.tsr").write_bytes(reply.body)
    assert "Verification: OK" in verify_by_openssl(tmp_path, authority)


@by_openssl
@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_json_form_of_sigstore_js(
    browser: Browser, authority: Authority, tmp_path: Path, hash_name: str
) -> None:
    """sigstore-js sends {artifactHash, hashAlgorithm} and nothing else."""
    digest = new(hash_name, DATA).digest()
    request = TimestampRequest(hash_name, digest)
    reply = browser.post(PATH, request_to_json(request), content_type="application/json")
    assert reply.status == 200
    (tmp_path / "reply.tsr").write_bytes(reply.body)
    (tmp_path / "query.tsq").write_bytes(request.serialize())
    assert "Verification: OK" in verify_by_openssl(tmp_path, authority)
    assert authority.chain[0] not in reply.body


@by_openssl
def test_json_form_with_everything(browser: Browser, authority: Authority, tmp_path: Path) -> None:
    digest = new("sha384", DATA).digest()
    request = TimestampRequest("sha384", digest, 2**150 + 1, SIGSTORE_POLICY, certificates=True)
    reply = browser.post(PATH, request_to_json(request), content_type="Application/JSON; charset=x")
    (tmp_path / "reply.tsr").write_bytes(reply.body)
    (tmp_path / "query.tsq").write_bytes(request.serialize())
    assert "Verification: OK" in verify_by_openssl(tmp_path, authority)
    assert authority.chain[0] in reply.body


def test_every_token_has_a_serial_number_of_its_own(browser: Browser) -> None:
    query = TimestampRequest("sha256", bytes(32)).serialize()
    replies = {ask(browser, query).body for _ in range(50)}
    assert len(replies) == 50


@pytest.mark.parametrize("nonce", [0, 1, -1, 127, 128, -129, 2**63, 2**159, -(2**510)])
def test_nonces_come_back_as_they_were(browser: Browser, nonce: int) -> None:
    reply = ask(browser, TimestampRequest("sha256", bytes(32), nonce).serialize())
    assert der.integer(nonce) + b"\xa0" in reply.body  # the nonce, then the TSA's name


def test_certificate_chain(browser: Browser, authority: Authority) -> None:
    reply = browser.get("/api/v1/timestamp/certchain")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/pem-certificate-chain"
    assert reply.headers["cache-control"] == "max-age=86400, immutable"
    assert reply.text == "".join(encode_pem("CERTIFICATE", part) for part in authority.chain)


def refused(reply: Reply, status: int, code: int, message: str) -> None:
    assert (reply.status, json.loads(reply.body)) == (status, {"code": code, "message": message})
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"


def test_refusals_of_queries(browser: Browser) -> None:
    unreadable = "Error generating timestamp response"
    good = TimestampRequest("sha256", bytes(32)).serialize()
    refused(ask(browser, b""), 422, 602, "request in body is required")
    refused(ask(browser, b"\x30"), 400, 400, unreadable)
    refused(ask(browser, good + b"\x00"), 400, 400, unreadable)
    refused(ask(browser, bytes(70_000)), 400, 400, "timestamp request is too large")
    sha1 = der.sequence(
        der.integer(1),
        der.sequence(
            der.sequence(der.oid("1.3.14.3.2.26"), b"\x05\x00"), der.octet_string(bytes(20))
        ),
    )
    refused(ask(browser, sha1), 400, 400, "Weak hash algorithm in timestamp request")
    short = der.sequence(
        der.integer(1),
        der.sequence(der.sequence(der.oid("2.16.840.1.101.3.4.2.1")), der.octet_string(bytes(31))),
    )
    wrong_length = "Message digest has incorrect length for specified algorithm"
    refused(ask(browser, short), 400, 400, wrong_length)
    policy = TimestampRequest("sha256", bytes(32), policy="1.2.3.4").serialize()
    refused(ask(browser, policy), 400, 400, "unaccepted policy: 1.2.3.4")
    extension = der.encode(der.context(0), der.sequence(der.oid("1.2.5"), der.octet_string(b"x")))
    extended = der.sequence(der.decode(good, "query").content + extension)
    refused(ask(browser, extended), 400, 400, "unaccepted extension: 1.2.5")


def test_refusals_of_json(browser: Browser) -> None:
    def post(text: str) -> Reply:
        return browser.post(PATH, text.encode(), content_type="application/json")

    unreadable = "Error generating timestamp response"
    refused(post(""), 422, 602, "request in body is required")
    for text in ("{", "[]", '{"artifactHash":1}', '{"nonce":NaN}', "\xff", '{"nonce":1.5}'):
        refused(post(text), 400, 400, unreadable)
    refused(post(" " * 1025), 400, 400, "timestamp request is too large")
    weak = '{"artifactHash":"AAAAAAAAAAAAAAAAAAAAAAAAAAA=","hashAlgorithm":"SHA1"}'
    refused(post(weak), 400, 400, "Weak hash algorithm in timestamp request")
    wrong_length = "Message digest has incorrect length for specified algorithm"
    refused(post('{"artifactHash":"AAAA","hashAlgorithm":"sha512"}'), 400, 400, wrong_length)


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/timestamp-reply"])
def test_other_media_types(browser: Browser, media_type: str) -> None:
    reply = browser.post(PATH, b"x", content_type=media_type)
    assert reply.status == 415
    assert json.loads(reply.body)["code"] == 415


def test_pages_of_other_origins_may_ask(browser: Browser) -> None:
    query = TimestampRequest("sha256", bytes(32)).serialize()
    reply = browser.post(PATH, query, content_type=QUERY, origin="https://example.com")
    assert reply.headers["access-control-allow-origin"] == "*"


def test_an_expired_authority_says_so_and_signs_nothing(authority: Authority) -> None:
    browser = browse(authority, StandingClock(NOW + timedelta(days=301)))
    reply = ask(browser, TimestampRequest("sha256", bytes(32)).serialize())
    message = "the timestamp authority's certificate is not valid now"
    refused(reply, 503, 503, message)
    assert reply.headers["retry-after"] == "1"


@by_openssl
def test_time_is_the_clock_s(authority: Authority, tmp_path: Path) -> None:
    later = datetime(2026, 5, 6, 7, 8, 9, 999_999, tzinfo=UTC)
    browser = browse(authority, StandingClock(later))
    reply = ask(browser, query_by_openssl(tmp_path, "sha256"))
    (tmp_path / "reply.tsr").write_bytes(reply.body)
    text = openssl("ts", "-reply", "-in", "reply.tsr", "-text", cwd=tmp_path)
    assert "Time stamp: May  6 07:08:09 2026 GMT" in text

# SPDX-License-Identifier: Apache-2.0
"""What schemathesis must know to get past the first check of each service.

It loads this module in its own process (see `tests.support.openapi`). Formats of the documents get
real values among others: keys, proofs of possession, ids that exist, certificates that chain. What
is good once or for minutes only (tokens, codes, signatures over a generated digest) is generated
as a word and filled in just before the request is sent.
"""

import base64
import hashlib
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import schemathesis
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateSigningRequestBuilder, Name
from hypothesis import strategies as st

from countermark.core.tsp.request import SIGSTORE_POLICY, TimestampRequest
from countermark.core.wire import ct, fulcio
from tests.support.load import EMAIL, Client, local_token
from tests.support.login import CHALLENGE, REDIRECT, VERIFIER
from tests.support.rekor import SigningKey, b64, envelope

URL = os.environ["COUNTERMARK_FUZZ_URL"]
"""The instance's."""
SECRET = Path(os.environ["COUNTERMARK_FUZZ_SECRET"])
"""The instance's file with the secret of its local tokens."""

_PORT = urlsplit(URL).port or 80
_TOKEN, _CODE = "A-TOKEN", "A-CODE"
_SIGNATURE, _CHAIN = b64("a signature"), b64("a chain")
_TOKEN_S = 60.0
_HASHES: dict[str, HashAlgorithm] = {"sha256": SHA256(), "sha384": SHA384(), "sha512": SHA512()}
_KEY = SigningKey.new()
_P384 = ec.generate_private_key(ec.SECP384R1())
_ENVELOPES = [envelope(b'{"subject":[]}', _KEY), envelope(b"text", _KEY, payload_type="text/plain")]


@cache
def _token(minute: int) -> str:
    """A token of this minute; they live for ten."""
    return local_token(_PORT, SECRET.read_text().strip())


def _fresh_token() -> str:
    return _token(int(time.monotonic() / _TOKEN_S))


def _csr(key: ec.EllipticCurvePrivateKey, algorithm: SHA256 | SHA384) -> str:
    csr = CertificateSigningRequestBuilder().subject_name(Name([])).sign(key, algorithm)
    return b64(csr.public_bytes(Encoding.PEM))


@cache
def _certified() -> list[bytes]:
    """A certificate and what is above it, DER."""
    body = fulcio.signing_cert_request(_fresh_token(), _KEY.pem, _KEY.sign(EMAIL.encode()))
    status, _, reply = Client(_PORT).post("/api/v2/signingCert", body)
    assert status == 200, reply
    return list(fulcio.parse_signing_cert_response(reply))


def _entry_ids() -> list[str]:
    """Ids of the log's genesis entries, long and short."""
    query = b'{"logIndexes":[0,1]}'
    status, _, reply = Client(_PORT).post("/api/v1/log/entries/retrieve", query)
    assert status == 200, reply
    ids = [entry_id for entry in json.loads(reply) for entry_id in entry]
    return [*ids, *(entry_id[16:] for entry_id in ids), ids[0].upper(), "0" * 80, "f" * 80]


def _leaf_hashes() -> list[str]:
    """Leaf hashes of the certificate log's first entries."""
    path = "/ctlog/main/ct/v1/get-entries?start=0&end=9"
    status, _, reply = Client(_PORT).get(path)
    assert status == 200, reply
    leaves = [leaf for leaf, _ in ct.parse_entries_reply(reply)]
    return [b64(hashlib.sha256(b"\0" + leaf).digest()) for leaf in leaves]


def _target() -> tuple[str, str]:
    """SHA-256 in hex and name of a target of the trust root."""
    status, _, data = Client(_PORT).get("/trust/trusted_root.json")
    assert status == 200, data
    return hashlib.sha256(data).hexdigest(), "trusted_root.json"


def _code() -> str:
    """A code of the login page."""
    form = {
        "response_type": "code",
        "client_id": "sigstore",
        "scope": "openid email",
        "redirect_uri": REDIRECT,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "email": EMAIL,
    }
    origin = f"http://127.0.0.1:{_PORT}"  # where the client goes
    headers = {"content-type": "application/x-www-form-urlencoded", "origin": origin}
    client = Client(_PORT)
    _, answered, _ = client.ask("POST", "/oidc/auth", urlencode(form).encode(), headers)
    client.close()
    return parse_qs(urlsplit(answered["location"]).query)["code"][0]


def _base64(max_size: int = 96) -> st.SearchStrategy[str]:
    return st.binary(min_size=1, max_size=max_size).map(b64)


def _often(*values: str, other: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """One of `values`, three times out of four."""
    real = st.sampled_from(values)
    return st.one_of(real, real, real, other)


def _register() -> None:
    chain = _certified()
    pem = b64(_KEY.pem)
    spki = b64(base64.b64decode("".join(_KEY.pem.splitlines()[1:-1])))
    leaf = b64(fulcio.pem_chain(chain[:1]))
    issuers = [hashlib.sha256(der).hexdigest() for der in chain[1:]]
    proof = b64(_KEY.sign(EMAIL.encode()))
    target_hash, target_name = _target()
    digests = st.one_of(*(st.binary(min_size=n, max_size=n) for n in (32, 32, 48, 64)))
    formats = {
        "identity-token": _often(_TOKEN, other=st.sampled_from(["", "a.b.c", "A-TOKEN.", "ey.ey"])),
        "public-key": _often(_KEY.pem, other=st.text(max_size=40)),
        "public-key-base64": _often(pem, spki, other=_base64()),
        "proof": _often(proof, other=_base64()),
        "csr": _often(
            _csr(_KEY.private, SHA256()),
            _csr(_P384, SHA384()),
            other=st.one_of(_base64(), st.just(_csr(_P384, SHA256()))),
        ),
        "digest": digests.map(bytes.hex),
        "signature": _often(_SIGNATURE, other=_base64()),
        "pem": _often(pem, other=st.one_of(_base64(), st.sampled_from([leaf, spki]))),
        "envelope": _often(*_ENVELOPES, other=st.sampled_from(["{}", "[]", '{"payload":""}', "x"])),
        "entry-id": _often(*_entry_ids(), other=digests.filter(_is_short).map(bytes.hex)),
        "certificate": _often(_CHAIN, *map(b64, chain), other=_base64()),
        "issuer-fingerprint": _often(*issuers, other=digests.filter(_is_short).map(bytes.hex)),
        "tile-index": _often("000.p/1", "000.p/2", other=st.sampled_from(["000", "x001/000.p/9"])),
        "leaf-hash": _often(*_leaf_hashes(), other=digests.filter(_is_short).map(b64)),
        "log-name": _often("main", other=st.sampled_from(["other", "Main", "main-2"])),
        "target-hash": _often(target_hash, other=digests.filter(_is_short).map(bytes.hex)),
        "target-name": _often(target_name, other=st.sampled_from(["a", "secret.json", "A-b_c.9"])),
        "sha256-base64": digests.map(b64),
        "own-origin": st.just(URL),
        "redirect": _often(REDIRECT, other=st.just("urn:ietf:wg:oauth:2.0:oob")),
        "code-challenge": st.just(CHALLENGE),
        "code-verifier": _often(VERIFIER, other=st.just("A" * 43)),
        "code": _often(_CODE, other=st.text("abc", min_size=1, max_size=128)),
    }
    for name, strategy in formats.items():
        schemathesis.openapi.format(name, strategy)
    schemathesis.openapi.media_type("application/timestamp-query", _timestamp_queries())


def _is_short(digest: bytes) -> bool:
    return len(digest) == 32


@st.composite
def _timestamp_queries(draw: st.DrawFn) -> bytes:
    """DER queries; one in four with a byte changed, cut or added."""
    name, size = draw(st.sampled_from([("sha256", 32), ("sha384", 48), ("sha512", 64)]))
    query = TimestampRequest(
        name,
        draw(st.binary(min_size=size, max_size=size)),
        nonce=draw(st.none() | st.integers(-(2**500), 2**500)),
        policy=draw(st.sampled_from([None, None, SIGSTORE_POLICY, "1.2.3.4"])),
        certificates=draw(st.booleans()),
    ).serialize()
    place = draw(st.integers(0, len(query) - 1))
    damage = draw(st.sampled_from(["none", "none", "none", "change", "cut", "add"]))
    if damage == "change":
        return query[:place] + draw(st.binary(min_size=1, max_size=1)) + query[place + 1 :]
    if damage == "cut":
        return query[:place]
    return query + draw(st.binary(min_size=1, max_size=9)) if damage == "add" else query


def _filled(value: Any) -> Any:
    """The same JSON with words replaced by what they stand for."""
    if value == _TOKEN:
        return _fresh_token()
    if value == _CODE:
        return _code()
    if isinstance(value, list):
        if _CHAIN in value:
            return [b64(der) for der in _certified()]
        return [_filled(item) for item in value]
    if not isinstance(value, dict):
        return value
    filled = {name: _filled(item) for name, item in value.items()}
    if filled.get("kind") == "hashedrekord":
        _sign(filled.get("spec"))
    return filled


def _sign(spec: Any) -> None:
    """Put a true signature over a generated digest where one is asked for."""
    try:
        algorithm, value = spec["data"]["hash"]["algorithm"], spec["data"]["hash"]["value"]
        if spec["signature"]["content"] != _SIGNATURE:
            return
        digest, hashed = bytes.fromhex(value), _HASHES[algorithm]
        if len(digest) != hashed.digest_size:
            return
    except (KeyError, TypeError, ValueError):
        return
    spec["signature"]["content"] = b64(_KEY.private.sign(digest, ec.ECDSA(Prehashed(hashed))))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Fill in what cannot be generated."""
    if isinstance(case.body, dict | list):
        case.body = _filled(case.body)
    path = case.operation.path
    if path in ("/api/v1/signingCert", "/api/v2/signingCert"):
        case.headers["Authorization"] = f"Bearer {_fresh_token()}"
    if path in ("/oidc/token", "/oidc/device/code") and isinstance(case.body, dict):
        case.body.setdefault("client_id", "sigstore")


_register()

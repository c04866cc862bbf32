# SPDX-License-Identifier: Apache-2.0
"""Bad input to every endpoint of a running instance: the status and the words of each answer.

The table of docs/reference/statuses.md is this one.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.load import EMAIL, Client, local_token
from tests.support.rekor import SigningKey, b64, hashedrekord
from tests.support.running import Running

PAGE = Path(__file__).parents[2] / "docs/reference/statuses.md"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
DEEP = b"[" * 100_000
KEY = SigningKey.new()
OTHER = SigningKey.new()
CERT, OLD_CERT = "/api/v2/signingCert", "/api/v1/signingCert"
ENTRIES, RETRIEVE = "/api/v1/log/entries", "/api/v1/log/entries/retrieve"
STAMP, CT = "/api/v1/timestamp", "/ctlog/main/ct/v1"
TOKEN = "The header's token"


@dataclass(frozen=True, slots=True)
class Row:
    """One bad request.

    Attributes:
        endpoint: method and path; a query is not shown.
        what: is wrong with it, for the page.
        status: of the answer.
        said: a part of the answer's body; empty for one without a body.
        body: of the request; `TOKEN` asks for a good token in the header.
        media_type: of the request's body.
    """

    endpoint: str
    what: str
    status: int
    said: str
    body: bytes = b""
    media_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def _encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def _entry(**changes: str) -> bytes:
    entry = hashedrekord(KEY, b"artifact")
    spec = entry["spec"]
    if "signature" in changes:
        spec["signature"]["content"] = changes["signature"]
    if "key" in changes:
        spec["signature"]["publicKey"]["content"] = changes["key"]
    if "algorithm" in changes:
        spec["data"]["hash"]["algorithm"] = changes["algorithm"]
    if "digest" in changes:
        spec["data"]["hash"]["value"] = changes["digest"]
    return _encoded(entry | {k: v for k, v in changes.items() if k in ("kind", "apiVersion")})


def _certificate(key: str, proof: bytes, token: str = "") -> bytes:
    request = {"publicKey": {"content": key}, "proofOfPossession": b64(proof)}
    return _encoded(
        {
            "credentials": {"oidcIdentityToken": token} if token else None,
            "publicKeyRequest": request,
        }
    )


def _stamp(**changes: object) -> bytes:
    digest = b64(hashlib.sha256(b"").digest())
    return _encoded({"artifactHash": digest, "hashAlgorithm": "sha256", **changes})


def _unsigned(algorithm: str) -> str:
    parts = ({"alg": algorithm}, {"iss": "http://localhost", "aud": "sigstore", "email": EMAIL})
    text = [base64.urlsafe_b64encode(_encoded(each)).rstrip(b"=").decode() for each in parts]
    return ".".join((*text, "AAAA"))


AUTHORIZED = (("authorization", TOKEN),)
NO_TOKEN = "There was an error processing the identity token"
PROOF = KEY.sign(EMAIL.encode())
SECP256K1 = "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAE" + "A" * 86 + "=="
ROWS = [
    Row("POST " + ENTRIES, "no body", 422, '"code":602'),
    Row("POST " + ENTRIES, "broken JSON", 400, "parsing proposedEntry body", b'{"kind":'),
    Row("POST " + ENTRIES, "100,000 levels of JSON", 400, "parsing proposedEntry body", DEEP),
    Row("POST " + ENTRIES, "wrong type", 400, "parsing proposedEntry body", b'{"kind":1}'),
    Row("POST " + ENTRIES, "no kind", 422, "kind in body is required", b"{}"),
    Row("POST " + ENTRIES, "unknown kind", 422, "invalid kind value", _entry(kind="foo")),
    Row("POST " + ENTRIES, "version that is none", 422, '"code":605', _entry(apiVersion="1")),
    Row("POST " + ENTRIES, "kind not taken", 400, "is not enabled", _entry(kind="rpm")),
    Row("POST " + ENTRIES, "bad base64", 400, "signature.content", _entry(signature="*")),
    Row("POST " + ENTRIES, "bad key", 400, "invalid public key", _entry(key=b64("x"))),
    Row("POST " + ENTRIES, "another's key", 400, "verifying signature", _entry(key=b64(OTHER.pem))),
    Row("POST " + ENTRIES, "hash of another length", 400, "invalid value", _entry(digest="00")),
    Row("POST " + ENTRIES, "unknown hash", 400, "should be one of", _entry(algorithm="sha1")),
    Row("POST " + ENTRIES, "not JSON's media type", 415, "only [application/json]", b"{}", FORM),
    Row("POST " + ENTRIES, "17 MiB", 413, "Limit set to 16777216", b" " * (17 << 20)),
    Row(f"GET {ENTRIES}?", "no index", 422, "logIndex in query is required"),
    Row(f"GET {ENTRIES}?logIndex=-1", "negative index", 422, '"code":609'),
    Row(f"GET {ENTRIES}?logIndex=x", "index that is none", 422, '"code":601'),
    Row(f"GET {ENTRIES}?logIndex=999999", "no such entry", 404, ""),
    Row(f"GET {ENTRIES}/xyz", "id that is none", 422, '"code":605'),
    Row(f"GET {ENTRIES}/{'0' * 80}", "tree 0", 400, "invalid entryID"),
    Row(f"GET {ENTRIES}/{'a' * 64}", "no such id", 404, ""),
    Row("POST " + RETRIEVE, "broken JSON", 400, "parsing entry body", b"["),
    Row("POST " + RETRIEVE, "eleven ids", 422, '"code":611', _encoded({"logIndexes": [0] * 11})),
    Row(
        "POST " + RETRIEVE,
        "eleven things",
        422,
        "more than max allowed 10",
        _encoded({"logIndexes": [0] * 6, "entryUUIDs": ["a" * 64] * 5}),
    ),
    Row("GET /api/v1/log/proof?firstSize=2&lastSize=1", "sizes reversed", 400, "must be less than"),
    Row(
        "GET /api/v1/log/proof?lastSize=99999", "size beyond the tree", 400, "greater than what is"
    ),
    Row("GET /api/v1/log/proof?lastSize=1&treeID=7", "no such tree", 400, "no log range found"),
    Row("GET /api/v1/log/publicKey?treeID=x", "tree id that is none", 422, '"code":605'),
    Row(
        "GET /api/v1/log/publicKey",
        "wants JSON",
        406,
        "application/x-pem-file",
        b"",
        "",
        (("accept", JSON),),
    ),
    Row("PUT /api/v1/log", "wrong method", 405, "method PUT is not allowed, but [GET] are"),
    Row("POST " + CERT, "broken JSON", 400, '"code":3', b"{"),
    Row("POST " + CERT, "wrong type", 400, "Expected `object | null`", b'{"credentials":1}'),
    Row("POST " + CERT, "no token", 400, NO_TOKEN, b"{}"),
    Row("POST " + CERT, "`alg: none`", 400, NO_TOKEN, _certificate("x", b"x", _unsigned("none"))),
    Row("POST " + CERT, "`alg: HS256`", 400, NO_TOKEN, _certificate("x", b"x", _unsigned("HS256"))),
    Row("POST " + CERT, "many dots", 400, NO_TOKEN, _certificate("x", b"x", "." * 10_000)),
    Row("POST " + CERT, "bad base64", 400, "is not base64", b'{"certificateSigningRequest":"*"}'),
    Row("POST " + CERT, "no key", 400, "could not be parsed", b"{}", JSON, AUTHORIZED),
    Row(
        "POST " + CERT,
        "bad key",
        400,
        "public key supplied in the request could not be parsed",
        _certificate("x", PROOF),
        JSON,
        AUTHORIZED,
    ),
    Row(
        "POST " + CERT,
        "curve not allowed",
        400,
        "insecure",
        _certificate(f"-----BEGIN PUBLIC KEY-----\n{SECP256K1}\n-----END PUBLIC KEY-----\n", PROOF),
        JSON,
        AUTHORIZED,
    ),
    Row(
        "POST " + CERT,
        "another's proof",
        400,
        "could not be verified",
        _certificate(OTHER.pem, PROOF),
        JSON,
        AUTHORIZED,
    ),
    Row(
        "POST " + CERT,
        "bad CSR",
        400,
        "certificate signing request could not be parsed",
        _encoded({"certificateSigningRequest": b64("x")}),
        JSON,
        AUTHORIZED,
    ),
    Row("POST " + CERT, "5 MiB", 400, "larger than 4194304 bytes", b" " * (5 << 20)),
    Row("GET " + CERT, "wrong method", 501, "Method Not Allowed"),
    Row("GET /api/v2/x", "no such path", 404, '{"code":5,"message":"Not Found","details":[]}'),
    Row("POST " + OLD_CERT, "no key", 400, "public key supplied", b"{}", JSON, AUTHORIZED),
    Row("POST " + STAMP, "no body", 422, '"code":602'),
    Row("POST " + STAMP, "broken JSON", 400, "Error generating timestamp response", b"{"),
    Row(
        "POST " + STAMP,
        "no DER",
        400,
        "Error generating timestamp response",
        b"0",
        "application/timestamp-query",
    ),
    Row("POST " + STAMP, "SHA-1", 400, "Weak hash algorithm", _stamp(hashAlgorithm="sha1")),
    Row("POST " + STAMP, "digest too short", 400, "incorrect length", _stamp(artifactHash="AAAA")),
    Row("POST " + STAMP, "another policy", 400, "unaccepted policy", _stamp(tsaPolicyOID="1.2.3")),
    Row("POST " + STAMP, "another media type", 415, "unsupported media type", b"x", "text/plain"),
    Row("POST " + STAMP, "JSON of 2 KB", 400, "request is too large", b" " * 2048),
    Row("GET " + STAMP, "wrong method", 405, "method GET is not allowed"),
    Row(f"POST {CT}/add-chain", "broken JSON", 400, "failed to parse add-chain body", b"{"),
    Row(f"POST {CT}/add-chain", "empty chain", 400, "cert chain was empty", b'{"chain":[]}'),
    Row(f"POST {CT}/add-chain", "bad base64", 400, "is not base64", b'{"chain":["*"]}'),
    Row(f"POST {CT}/add-chain", "no certificate", 400, "failed to verify", b'{"chain":["AAAA"]}'),
    Row(f"POST {CT}/add-pre-chain", "513 KiB", 413, "Request Entity Too Large", b" " * (513 << 10)),
    Row(f"GET {CT}/get-entries?start=a&end=1", "index that is none", 400, "'start' is malformed"),
    Row(f"GET {CT}/get-sth-consistency", "no sizes", 400, "parameter 'first' is required"),
    Row(f"GET {CT}/get-proof-by-hash?hash=*&tree_size=1", "bad base64", 400, "invalid base64 hash"),
    Row(f"PUT {CT}/get-sth", "wrong method", 405, "method not allowed: PUT"),
    Row("GET /ctlog/main/tile/9/000", "no such tile", 404, "Not Found"),
    Row("GET /trust/secret.json", "no such file", 404, '"error":"not-found"'),
    Row("GET /oidc/auth?client_id=x", "unknown client", 400, "the only one known here"),
    Row("POST /oidc/auth", "not by the page", 403, "was not sent by the login page", b"a=b", FORM),
    Row(
        "POST /oidc/token",
        "unknown code",
        400,
        '"error":"invalid_grant"',
        b"grant_type=authorization_code&client_id=sigstore&code=x&redirect_uri=http://localhost/"
        b"&code_verifier=" + b"a" * 43,
        FORM,
    ),
    Row("POST /oidc/token", "unknown client", 401, '"error":"invalid_client"', b"a=b", FORM),
    Row("POST /oidc/token", "form of 17 KiB", 413, '"error":"invalid_request"', b"a" * 17408, FORM),
    Row(
        "POST /oidc/token",
        "unknown device code",
        400,
        '"error":"expired_token"',
        b"grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=x",
        FORM,
    ),
    Row("POST /oidc/device/code", "unknown client", 401, '"error":"invalid_client"', b"a=b", FORM),
    Row(
        "POST /oidc/device/code",
        "no scope",
        400,
        '"error":"invalid_scope"',
        b"client_id=sigstore",
        FORM,
    ),
    Row(
        "POST /oidc/device", "not by the page", 403, "was not sent by the login page", b"a=b", FORM
    ),
    Row("POST /oidc/local-token", "no secret", 401, "header is missing", b"{}"),
    Row(
        "POST /oidc/local-token",
        "from a page",
        403,
        "not for web pages",
        b"{}",
        JSON,
        (("origin", "https://example.org"),),
    ),
    Row("GET /nothing", "no such path", 404, "path /nothing was not found"),
    Row("POST /healthz", "wrong method", 405, "method POST is not allowed"),
    Row("GET /healthz?" + "a" * 17_000, "17 kB of target", 414, "URI Too Long"),
    Row(
        "GET /healthz",
        "70 kB of headers",
        431,
        "Request Header Fields Too Large",
        b"",
        "",
        (("x", "a" * 70_000),),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.endpoint[:60]} {row.what}")
def test_bad_input_gets_its_status_and_words(row: Row, instance: Running) -> None:
    port = int(instance.url.rpartition(":")[2])
    method, path = row.endpoint.split()
    headers = {"content-type": row.media_type} if row.body or method == "POST" else {}
    for name, value in row.headers:
        if value == TOKEN:
            value = f"Bearer {local_token(port, (instance.data / 'local-secret').read_text())}"
        headers[name] = value
    client = Client(port)
    status, answered, data = client.ask(method, path, row.body or None, headers)
    client.close()
    assert (status, row.said in data.decode()) == (row.status, True), data[:500]
    assert bool(data) == bool(row.said)
    assert answered.get("allow") if status == 405 else True


def test_the_page_has_this_table() -> None:
    lines = re.findall(r"^\| `.*\|$", PAGE.read_text(), re.MULTILINE)
    assert lines == [_line(row) for row in ROWS]


def _line(row: Row) -> str:
    method, path = row.endpoint.split()
    said = f"`{row.said}`" if row.said and "`" not in row.said else row.said or "no body"
    said = said.replace("|", "\\|")
    return f"| `{method} {path.partition('?')[0][:60]}` | {row.what} | {row.status} | {said} |"

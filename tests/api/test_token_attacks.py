# SPDX-License-Identifier: Apache-2.0
"""Forged, bent and foreign identity tokens at the CA: none of them gets a certificate."""

import base64
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from countermark.core.wire.fulcio import signing_cert_request
from tests.support.asgi import Reply
from tests.support.authority import NOW, CertifyingInstance, email_claims, public_pem

EMAIL = "ann@example.com"
NOW_S = int(NOW.timestamp())
CLAIMS = {"aud": "sigstore", "iat": NOW_S, "exp": NOW_S + 600, **email_claims(EMAIL)}
ATTACKERS_KEY = rsa.generate_private_key(65537, 2048)
SIGNING_CERT = "/api/v2/signingCert"


@pytest.fixture(scope="module")
def instance() -> Iterator[CertifyingInstance]:
    with CertifyingInstance() as running:
        yield running


def b64(data: bytes | str) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def encode(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def rs256(key: rsa.RSAPrivateKey, message: bytes) -> bytes:
    return key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def signed(instance: CertifyingInstance, header: object = None, claims: object = None) -> str:
    """A token that the issuer itself signed, whatever stands in it."""
    header = {"alg": "RS256", "kid": "1"} if header is None else header
    claims = CLAIMS | {"iss": instance.email.url} if claims is None else claims
    message = f"{b64(encode(header))}.{b64(encode(claims))}"
    return f"{message}.{b64(rs256(instance.email.key, message.encode()))}"


def with_claims(instance: CertifyingInstance, **changes: Any) -> str:
    return signed(instance, claims=CLAIMS | {"iss": instance.email.url} | changes)


def ask(instance: CertifyingInstance, token: str, name: str = EMAIL) -> Reply:
    key = ec.generate_private_key(ec.SECP256R1())
    proof = key.sign(name.encode("utf-8", "surrogatepass"), ec.ECDSA(hashes.SHA256()))
    body = signing_cert_request(token, public_pem(key), proof)
    return instance.browser.post(SIGNING_CERT, body)


def refused(instance: CertifyingInstance, token: str, name: str = EMAIL) -> str:
    """The reason; nothing was certified, and nothing of the token is repeated."""
    before = instance.log.head.tree_size
    reply = ask(instance, token, name)
    assert reply.status == 400, reply.text
    assert instance.log.head.tree_size == before
    for part in token.split("."):
        assert len(part) < 16 or part not in reply.text
    message: str = json.loads(reply.body)["message"]
    return reply.headers.get("countermark-reason", message)


def test_a_good_one_is_taken(instance: CertifyingInstance) -> None:
    assert ask(instance, signed(instance)).status == 200


def test_secrets_made_of_the_public_key(instance: CertifyingInstance) -> None:
    """HS256 with whatever form of the RSA key a careless verifier would hand to HMAC."""
    public = instance.email.key.public_key()
    numbers = public.public_numbers()
    forms = serialization.PublicFormat
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    secrets = [
        public.public_bytes(pem, forms.SubjectPublicKeyInfo),
        public.public_bytes(pem, forms.SubjectPublicKeyInfo).strip(),
        public.public_bytes(der, forms.SubjectPublicKeyInfo),
        public.public_bytes(pem, forms.PKCS1),
        public.public_bytes(der, forms.PKCS1),
        numbers.n.to_bytes(256),
        str(numbers.n).encode(),
        b"",
    ]
    for name, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
        for secret in secrets:
            header, payload, _ = signed(instance, {"alg": name, "kid": "1"}).split(".")
            mac = hmac.new(secret, f"{header}.{payload}".encode(), digest).digest()
            reason = refused(instance, f"{header}.{payload}.{b64(mac)}")
            assert "algorithm is not allowed" in reason


@pytest.mark.parametrize(
    "algorithm",
    ["none", "None", "NONE", "nOnE", "", None, 0, [], ["RS256"], {}, "rs256", "RS256 ", "RS1",
     "ES256K", "RSA-OAEP", "dir", "HS256", "\u0052S256\u0000"],
)  # fmt: skip
def test_algorithms(instance: CertifyingInstance, algorithm: object) -> None:
    """Even with the issuer's own RS256 signature below."""
    token = signed(instance, {"alg": algorithm, "kid": "1"})
    assert "algorithm is not allowed" in refused(instance, token)
    header, payload, _ = token.split(".")
    refused(instance, f"{header}.{payload}.")
    refused(instance, f"{header}.{payload}.AA")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"kid": "2"}, "does not publish"),
        ({"kid": "../../1"}, "does not publish"),
        ({"kid": "1' OR '1'='1"}, "does not publish"),
        ({"kid": "1\u0000"}, "does not publish"),
        ({"kid": "https://evil.example/keys"}, "does not publish"),
        ({"kid": "1" * 513}, "not a short text"),
        ({"kid": None}, "not a short text"),
        ({"kid": ["1"]}, "not a short text"),
        ({"kid": 1}, "not a short text"),
        ({"kid": "1", "crit": ["exp"]}, "critical"),
        ({"kid": "1", "crit": []}, "critical"),
        ({"kid": "1", "b64": False, "crit": ["b64"]}, "critical"),
        ({"kid": "1", "b64": True}, "critical"),
    ],
)
def test_headers(instance: CertifyingInstance, header: dict[str, Any], reason: str) -> None:
    assert reason in refused(instance, signed(instance, {"alg": "RS256", **header}))


def test_keys_that_the_token_brings_are_not_looked_at(instance: CertifyingInstance) -> None:
    numbers = ATTACKERS_KEY.public_key().public_numbers()
    jwk = {"kty": "RSA", "kid": "1", "e": "AQAB", "n": b64(numbers.n.to_bytes(256))}
    claims = b64(encode(CLAIMS | {"iss": instance.email.url}))
    for more in (
        {"jwk": jwk},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/chain"},
        {"x5c": ["AAAA"]},
        {"x5t": "AAAA"},
        {},
    ):
        for kid in ({"kid": "1"}, {}):
            message = f"{b64(encode({'alg': 'RS256', **kid, **more}))}.{claims}"
            token = f"{message}.{b64(rs256(ATTACKERS_KEY, message.encode()))}"
            assert "signature does not verify" in refused(instance, token)


def test_doubled_members_have_one_reading(instance: CertifyingInstance) -> None:
    """The last one counts, as in Go: what is checked is what is used."""
    url = instance.email.url
    header = b'{"alg":"RS256","kid":"1","alg":"none"}'
    assert "algorithm is not allowed" in refused(instance, signed(instance, header))
    good = json.dumps(CLAIMS | {"iss": url})[:-1]
    for more, reason in (
        ('"iss":"https://evil.example"', "not one of those accepted"),
        ('"aud":"other"', "not meant for"),
        ('"exp":1', "has expired"),
        ('"email_verified":false', "not verified"),
    ):
        token = signed(instance, claims=f"{good},{more}}}".encode())
        assert reason in refused(instance, token)
    twice = signed(instance, claims=f'{good},"email":"eve@example.com"}}'.encode())
    refused(instance, twice, EMAIL)
    assert ask(instance, twice, "eve@example.com").status == 200


def test_names_of_members_are_exact(instance: CertifyingInstance) -> None:
    """Go's JSON reader ignores case; a claim in another case is no claim here."""
    for name in ("iss", "aud", "exp", "email", "email_verified"):
        claims = CLAIMS | {"iss": instance.email.url}
        claims[name.upper()] = claims.pop(name)
        refused(instance, signed(instance, claims=claims))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW_S}, "has expired"),
        ({"exp": 0}, "has expired"),
        ({"exp": -1}, "has expired"),
        ({"exp": -(10**400)}, "has expired"),
        ({"exp": None}, "not a time"),
        ({"exp": str(NOW_S + 60)}, "not a time"),
        ({"exp": True}, "not a time"),
        ({"exp": [NOW_S + 60]}, "not a time"),
        ({"nbf": NOW_S + 301}, "not valid yet"),
        ({"nbf": 10**400}, "not valid yet"),
        ({"nbf": "0"}, "not a time"),
        ({"aud": "sigstore "}, "not meant for"),
        ({"aud": "SIGSTORE"}, "not meant for"),
        ({"aud": "sigstore\u0000"}, "not meant for"),
        ({"aud": "sigstore,other"}, "not meant for"),
        ({"aud": ["other"]}, "not meant for"),
        ({"aud": [["sigstore"]]}, "not meant for"),
        ({"aud": {"sigstore": 1}}, "not meant for"),
        ({"aud": []}, "not meant for"),
        ({"aud": None}, "not meant for"),
        ({"iss": None}, "names no issuer"),
        ({"iss": ""}, "names no issuer"),
        ({"iss": ["http://localhost:7446/oidc"]}, "names no issuer"),
        ({"iss": "http://localhost:7446/oidc/"}, "not one of those accepted"),
        ({"iss": "https://localhost:7446/oidc"}, "not one of those accepted"),
        ({"iss": "http://LOCALHOST:7446/oidc"}, "not one of those accepted"),
        ({"iss": "http://localhost:7446/oidc\u0000"}, "not one of those accepted"),
        ({"iss": "http://loc\u0430lhost:7446/oidc"}, "not one of those accepted"),
    ],
)
def test_claims(instance: CertifyingInstance, claims: dict[str, Any], reason: str) -> None:
    assert reason in refused(instance, with_claims(instance, **claims))


def test_another_issuers_key_proves_nothing(instance: CertifyingInstance) -> None:
    """A token of one trusted issuer that calls itself another's, with that one's key id."""
    message = f"{b64(encode({'alg': 'RS256', 'kid': '1'}))}."
    message += b64(encode(CLAIMS | {"iss": instance.email.url}))
    other = rsa.generate_private_key(65537, 2048)
    assert "does not verify" in refused(
        instance, f"{message}.{b64(rs256(other, message.encode()))}"
    )


@pytest.mark.parametrize(
    "verified", [False, "false", "TRUE", "yes", "", 0, 1, 1.0, None, [True], {}]
)
def test_addresses_that_nobody_verified(instance: CertifyingInstance, verified: object) -> None:
    assert "not verified" in refused(instance, with_claims(instance, email_verified=verified))


@pytest.mark.parametrize(
    "email",
    [
        "ann@example.com\n",
        "ann@example.com\x00",
        "ann\x00@example.com",
        "ann@example.com\r\nBcc: eve@example.com",
        "\x1b[31mann@example.com",
        " ann@example.com",
        "ann@example.com ",
        "ann@example.com,eve@example.com",
        "ann@example.com;eve@example.com",
        "<ann@example.com>",
        "Ann <ann@example.com>",
        "ann@eve@example.com",
        "ann@",
        "@example.com",
        "ann@localhost",
        "ann@.example.com",
        "ann@example.com.",
        "ann@[127.0.0.1]",
        '"ann"@example.com',
        "ann@exa mple.com",
        "\u0430nn@example.com",  # Cyrillic
        "ann@ex\u0430mple.com",
        "ann\uff20example.com",  # full-width @
        "ann@example\u3002com",  # ideographic full stop
        "ann@example.com\u202e",
        "ann\u200b@example.com",
        "ann\u00ad@example.com",
        "a\u0301nn@example.com",
        "ann@example.com\ud800",
        "a" * 250 + "@example.com",
        ["ann@example.com"],
        {"email": "ann@example.com"},
        7,
    ],
)
def test_addresses_that_look_like_others(instance: CertifyingInstance, email: Any) -> None:
    """Whatever the issuer says: nothing of the kind ends in a certificate."""
    token = with_claims(instance, email=email)
    refused(instance, token, email if isinstance(email, str) else EMAIL)
    refused(instance, token, EMAIL)


def test_shapes(instance: CertifyingInstance) -> None:
    good = signed(instance)
    header, payload, signature = good.split(".")
    nested = json.dumps(CLAIMS | {"iss": instance.email.url})
    for token in (
        "",
        ".",
        "..",
        "." * 100_000,
        f"{header}.{payload}",
        f"{good}.",
        f".{good}",
        f"{good}.{payload}.{signature}",
        f"{header}..{signature}",
        f" {good}",
        f"{good}\n",
        f"{header}.{payload}\n.{signature}",
        f"{good}=",
        f"{header}.{payload}.{signature[:-1]}",
        f"{header}.{payload}.{signature}AAAA",
        f"{header}.{payload}.{signature[:-4]}",
        f"{header}.{payload}.{b64(bytes(256))}",
        f"{header}.{payload}.{b64(bytes(1))}",
        json.dumps({"protected": header, "payload": payload, "signature": signature}),
        good.replace(".", "\u3002"),
        signed(instance, claims=b64(nested).encode()),
        signed(instance, claims=json.dumps(nested).encode()),
        signed(instance, claims=f"[{nested}]".encode()),
        signed(instance, claims=nested.encode() + b"x"),
        signed(instance, claims=nested.encode("utf-16")),
        signed(instance, claims=b"\xef\xbb\xbf" + nested.encode()),
        signed(instance, claims=b'{"a":' * 6000 + b"1" + b"}" * 6000),
        signed(instance, claims=good.encode()),
        with_claims(instance, more="x" * 16_384),
    ):
        refused(instance, token)


def test_a_signature_has_one_spelling(instance: CertifyingInstance) -> None:
    """The last character of base64url holds bits that nobody signed."""
    good = signed(instance)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same = alphabet[alphabet.index(good[-1]) ^ 1]
    assert "canonical" in refused(instance, good[:-1] + same) or good[-1] == same


def test_every_byte_counts(instance: CertifyingInstance) -> None:
    good = signed(instance)
    for number in range(0, len(good), 37):
        old = good[number]
        new = "A" if old != "A" else "B"
        if old != ".":
            refused(instance, good[:number] + new + good[number + 1 :])

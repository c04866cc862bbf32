# SPDX-License-Identifier: Apache-2.0
"""The CA through its routes; its certificates judged by `cryptography` and OpenSSL."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.certificate_transparency import SignedCertificateTimestamp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from starlette.types import Message

from countermark.core.wire.fulcio import (
    error_message,
    parse_signing_cert_response,
    signing_cert_request,
)
from countermark.httpkit.replies import NO_STORE
from countermark.tilelog.log import Limits
from tests.support.asgi import Reply
from tests.support.authority import (
    NOW,
    CertifyingInstance,
    PrivateKey,
    email_claims,
    github_claims,
    log_id,
    make_chain,
    public_pem,
    spki,
)

SIGNING_CERT = "/api/v2/signingCert"
OPENSSL = shutil.which("openssl") or "openssl"
SHA256 = hashes.SHA256()
TOKEN_REFUSED = "There was an error processing the identity token"
FULCIO = "1.3.6.1.4.1.57264.1"


@pytest.fixture(scope="module")
def instance() -> Iterator[CertifyingInstance]:
    with CertifyingInstance() as running:
        yield running


def prove(key: PrivateKey, name: str) -> bytes:
    data = name.encode()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        hashed = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.key_size]
        return key.sign(data, ec.ECDSA(hashed))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data)


def ask(
    instance: CertifyingInstance,
    claims: dict[str, Any] | None = None,
    key: PrivateKey | None = None,
    **headers: str,
) -> Reply:
    key = key or ec.generate_private_key(ec.SECP256R1())
    claims = claims or email_claims()
    issuer = instance.github if "repository" in claims else instance.email
    name = claims["sub"] if "repository" in claims else claims["email"]
    body = signing_cert_request(
        issuer.token(claims, instance.clock.now), public_pem(key), prove(key, name)
    )
    return instance.browser.post(SIGNING_CERT, body, **headers)


def post_json(instance: CertifyingInstance, value: Any, **headers: str) -> Reply:
    return instance.browser.post(SIGNING_CERT, json.dumps(value).encode(), **headers)


def leaf_of(reply: Reply) -> x509.Certificate:
    assert reply.status == 200, reply.text
    return x509.load_der_x509_certificate(parse_signing_cert_response(reply.body)[0])


def csr_pem(key: Any, hashed: Any, subject: x509.Name | None = None) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    return builder.sign(key, hashed).public_bytes(Encoding.PEM)


def refusal(reply: Reply) -> tuple[int, int, str]:
    body = json.loads(reply.body)
    assert list(body) == ["code", "message", "details"]
    assert body["details"] == []
    assert reply.headers["content-type"] == "application/json"
    return reply.status, body["code"], body["message"]


# --- the certificate ---------------------------------------------------------------------------


def test_email_certificate_has_fulcios_profile(instance: CertifyingInstance) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    reply = ask(instance, key=key)
    leaf = leaf_of(reply)
    assert reply.headers["cache-control"] == NO_STORE["cache-control"]
    assert leaf.version is x509.Version.v3
    assert leaf.subject == x509.Name([])
    assert leaf.issuer == instance.chain.issuing.subject
    assert leaf.not_valid_before_utc == NOW
    assert leaf.not_valid_after_utc == NOW + timedelta(seconds=600)
    assert 0 < leaf.serial_number < 2**159
    assert leaf.signature_algorithm_oid.dotted_string == "1.2.840.10045.4.3.2"
    assert leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == spki(
        key
    )
    leaf.verify_directly_issued_by(instance.chain.issuing)

    extensions = [(e.oid.dotted_string, e.critical) for e in leaf.extensions]
    assert extensions == [
        ("2.5.29.15", True),
        ("2.5.29.37", False),
        ("2.5.29.14", False),
        ("2.5.29.35", False),
        ("2.5.29.17", True),
        (f"{FULCIO}.1", False),
        (f"{FULCIO}.8", False),
        (f"{FULCIO}.24", False),
        ("1.3.6.1.4.1.11129.2.4.2", False),
    ]
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CODE_SIGNING]
    expected = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    assert leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value == expected
    authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    issuer_id = instance.chain.issuing.extensions.get_extension_for_class(
        x509.SubjectKeyIdentifier
    ).value
    assert authority == x509.AuthorityKeyIdentifier(issuer_id.digest, None, None)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.RFC822Name("ann@example.com")]
    values = {e.oid.dotted_string: e.value for e in leaf.extensions}
    issuer = instance.email.url.encode()
    assert values[f"{FULCIO}.1"].value == issuer
    assert values[f"{FULCIO}.8"].value == bytes((12, len(issuer))) + issuer


def test_github_certificate_says_what_the_token_said(instance: CertifyingInstance) -> None:
    leaf = leaf_of(ask(instance, github_claims(environment="production")))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    workflow = "https://github.com/octo/shared/.github/workflows/build.yml@refs/tags/v2"
    assert list(names) == [x509.UniformResourceIdentifier(workflow)]
    values = {
        int(e.oid.dotted_string.rpartition(".")[2]): e.value.value
        for e in leaf.extensions
        if isinstance(e.value, x509.UnrecognizedExtension)
    }
    assert list(values) == [1, 2, 3, 4, 5, 6, *range(8, 25)]
    assert values[3] == b"a" * 40
    assert values[9] == b"\x0c" + bytes((len(workflow),)) + workflow.encode()
    run = b"https://github.com/octo/tools/actions/runs/777/attempts/1"
    assert values[21] == b"\x0c" + bytes((len(run),)) + run
    assert values[23] == b"\x0c\x0aproduction"
    assert values[24].endswith(b"repo:octo/tools:ref:refs/heads/main")


def test_sct_inside_verifies_by_reconstruction(instance: CertifyingInstance) -> None:
    chain = parse_signing_cert_response(ask(instance).body)
    leaf = x509.load_der_x509_certificate(chain[0])
    embedded = leaf.extensions.get_extension_for_oid(
        ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS
    ).value
    assert isinstance(embedded, x509.PrecertificateSignedCertificateTimestamps)
    (sct,) = embedded
    assert isinstance(sct, SignedCertificateTimestamp)
    assert sct.log_id == log_id(instance)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(spki(instance.chain.issuing_key))
    tbs = leaf.tbs_precertificate_bytes
    millis = int(sct.timestamp.replace(tzinfo=NOW.tzinfo).timestamp() * 1000)
    assert abs(millis - instance.clock.now_ms()) < 1000
    signed = (
        b"\x00\x00"
        + millis.to_bytes(8)
        + b"\x00\x01"
        + digest.finalize()
        + len(tbs).to_bytes(3)
        + tbs
        + b"\x00\x00"
    )
    public = instance.ct_signer.public_key
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public.spki[-65:]).verify(
        sct.signature, signed, ec.ECDSA(hashes.SHA256())
    )


def test_openssl_builds_the_chain(instance: CertifyingInstance, tmp_path: Path) -> None:
    files = []
    for number, der in enumerate(parse_signing_cert_response(ask(instance).body)):
        file = tmp_path / f"{number}.pem"
        certificate = x509.load_der_x509_certificate(der)
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
        files.append(str(file))
    leaf, intermediate, root = files
    command = [OPENSSL, "verify", "-x509_strict", "-purpose", "any", "-attime"]
    command += [str(int(NOW.timestamp()) + 60), "-trusted", root, "-untrusted", intermediate, leaf]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 2048),
        rsa.generate_private_key(65537, 3072),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["p256", "p384", "p521", "rsa2048", "rsa3072", "ed25519"],
)
def test_every_allowed_kind_of_key_is_certified(
    instance: CertifyingInstance, key: PrivateKey
) -> None:
    leaf = leaf_of(ask(instance, key=key))
    certified = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert certified == spki(key)


@pytest.mark.parametrize(
    "issuing_key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["p384", "rsa", "ed25519"],
)
def test_every_kind_of_issuing_key_signs(issuing_key: PrivateKey) -> None:
    with CertifyingInstance(make_chain(issuing_key)) as instance:
        leaf_of(ask(instance)).verify_directly_issued_by(instance.chain.issuing)


# --- requests ----------------------------------------------------------------------------------


def test_reply_is_json_even_if_pem_is_asked_for(instance: CertifyingInstance) -> None:
    reply = ask(instance, accept="application/pem-certificate-chain")
    assert reply.headers["content-type"] == "application/json"
    chain = json.loads(reply.body)["signedCertificateEmbeddedSct"]["chain"]["certificates"]
    assert len(chain) == 3
    assert all(pem.startswith("-----BEGIN") and pem.endswith("CERTIFICATE-----") for pem in chain)
    assert parse_signing_cert_response(reply.body)[1:] == instance.chain.certificates


def test_request_as_sigstore_python_sends_it(instance: CertifyingInstance) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = csr_pem(key, hashes.SHA256())
    token = instance.email.token(email_claims())
    reply = post_json(
        instance,
        {"certificateSigningRequest": base64.b64encode(pem).decode()},
        authorization=f"Bearer {token}",
        accept="application/pem-certificate-chain",
        content_type="application/json",
    )
    names = leaf_of(reply).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [x509.RFC822Name("ann@example.com")]


def test_names_in_a_csr_are_ignored(instance: CertifyingInstance) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "eve@example.com")])
    body = {
        "credentials": {"oidc_identity_token": instance.email.token(email_claims())},
        "certificate_signing_request": base64.urlsafe_b64encode(
            csr_pem(key, hashes.SHA256(), subject)
        ).decode(),
        "somethingElse": [1, {"x": None}],
    }
    leaf = leaf_of(post_json(instance, body))
    assert leaf.subject == x509.Name([])
    assert b"eve@" not in leaf.tbs_certificate_bytes


def test_token_of_the_body_wins_over_the_header(instance: CertifyingInstance) -> None:
    reply = ask(instance, authorization="Bearer not.a.token")
    assert reply.status == 200


def test_unpermitted_pair_of_csr_key_and_hash(instance: CertifyingInstance) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    csr = base64.b64encode(csr_pem(key, hashes.SHA256())).decode()
    token = instance.email.token(email_claims())
    reply = post_json(instance, {"certificateSigningRequest": csr}, authorization=f"Bearer {token}")
    message = "signing algorithm not permitted: *ecdsa.PublicKey, SHA-256"
    assert refusal(reply) == (400, 3, message)


def with_body(instance: CertifyingInstance, key: PrivateKey, **changes: Any) -> dict[str, Any]:
    """A good request whose parts a test replaces."""
    parts: dict[str, Any] = {
        "token": instance.email.token(email_claims()),
        "content": public_pem(key),
        "proof": base64.b64encode(prove(key, "ann@example.com")).decode(),
        **changes,
    }
    return {
        "credentials": {"oidcIdentityToken": parts["token"]},
        "publicKeyRequest": {
            "publicKey": {"algorithm": "ECDSA", "content": parts["content"]},
            "proofOfPossession": parts["proof"],
        },
    }


def test_refusals_say_what_upstream_says(instance: CertifyingInstance) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    small = rsa.generate_private_key(65537, 1024)
    p224 = ec.generate_private_key(ec.SECP224R1())
    odd_exponent = rsa.generate_private_key(3, 2048)
    eve = base64.b64encode(prove(key, "eve@example.com")).decode()
    unparsable = "The public key supplied in the request could not be parsed"
    insecure = "The public key supplied in the request is insecure"
    unproven = "The signature supplied in the request could not be verified"
    cases: list[tuple[dict[str, Any], str]] = [
        (with_body(instance, key, token="nonsense"), TOKEN_REFUSED),
        (with_body(instance, key, token=""), TOKEN_REFUSED),
        (with_body(instance, key, content=""), unparsable),
        (with_body(instance, key, content="-----BEGIN PUBLIC KEY-----\nAA\n"), unparsable),
        (with_body(instance, key, content=public_pem(small)), insecure),
        (with_body(instance, key, content=public_pem(p224)), insecure),
        (with_body(instance, key, content=public_pem(odd_exponent)), insecure),
        (with_body(instance, key, proof=eve), unproven),
        (with_body(instance, key, proof=""), unproven),
        # The token is judged before the key, and the key before the proof.
        (with_body(instance, key, token="a.b.c", content="", proof=""), TOKEN_REFUSED),
        (with_body(instance, key, content=public_pem(small), proof=eve), insecure),
        ({"credentials": {"oidcIdentityToken": with_body(instance, key)["credentials"]
            ["oidcIdentityToken"]}, "certificateSigningRequest": "AAAA"},
         "The certificate signing request could not be parsed"),
    ]  # fmt: skip
    for body, message in cases:
        assert refusal(post_json(instance, body)) == (400, 3, message)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (email_claims(email_verified=False), "not verified"),
        (email_claims(email_verified=None), "not verified"),
        (email_claims(email=""), "'email' claim is missing"),
        (email_claims("no-at-sign"), "not well-formed"),
        (email_claims("ann@example..com"), "not well-formed"),
        (email_claims("ann@localhost"), "not well-formed"),
        (email_claims(aud="somebody"), "not meant for"),
        (github_claims(job_workflow_ref=""), "'job_workflow_ref' claim is missing"),
        (github_claims(repository_id=7), "'repository_id' claim is not text"),
    ],
)
def test_tokens_that_prove_nobody(
    instance: CertifyingInstance, claims: dict[str, Any], reason: str
) -> None:
    reply = ask(instance, claims)
    assert refusal(reply) == (400, 3, TOKEN_REFUSED)
    assert reason in reply.headers["countermark-reason"]


@pytest.mark.parametrize("verified", [True, "true", "True"])
def test_email_verified_in_all_its_spellings(instance: CertifyingInstance, verified: Any) -> None:
    assert ask(instance, email_claims(email_verified=verified)).status == 200


def test_names_without_a_form_in_certificates_are_named(instance: CertifyingInstance) -> None:
    reply = ask(instance, email_claims("änn@example.com"))
    message = 'x509: "änn@example.com" cannot be encoded as an IA5String'
    assert refusal(reply) == (400, 3, message)
    reply = ask(instance, github_claims(job_workflow_ref="o/r/x.yml@refs/heads/50%-off"))
    assert refusal(reply)[2].endswith('invalid URL escape "%-o"')


def test_branch_names_are_escaped_as_go_does(instance: CertifyingInstance) -> None:
    ref = "o/r/.github/workflows/x.yml@refs/heads/größe 2"
    leaf = leaf_of(ask(instance, github_claims(job_workflow_ref=ref)))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    escaped = "https://github.com/o/r/.github/workflows/x.yml@refs/heads/gr%C3%B6%C3%9Fe%202"
    assert list(names) == [x509.UniformResourceIdentifier(escaped)]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"credentials":7}', b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_requests(instance: CertifyingInstance, body: bytes) -> None:
    reply = instance.browser.post(SIGNING_CERT, body)
    assert reply.status == 400
    assert json.loads(reply.body)["code"] == 3


def test_oversized_body_is_refused_unread(instance: CertifyingInstance) -> None:
    reply = instance.browser.post(SIGNING_CERT, b" " * ((4 << 20) + 1))
    assert refusal(reply)[:2] == (400, 3)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", SIGNING_CERT),
        ("PUT", SIGNING_CERT),
        ("POST", "/api/v2/trustBundle"),
        ("DELETE", "/api/v2/configuration"),
        ("GET", "/api/v1/signingCert"),
        ("POST", "/api/v1/rootCert"),
        ("TRACE", SIGNING_CERT),
        ("QUERY", "/api/v1/rootCert"),
    ],
)
def test_wrong_methods(instance: CertifyingInstance, method: str, path: str) -> None:
    reply = instance.browser.send(method, path)
    assert refusal(reply) == (501, 12, "Method Not Allowed")


@pytest.mark.parametrize("path", ["/api/v2/", "/api/v2/signingCert/x", "/api/v2/nothing"])
def test_unknown_paths(instance: CertifyingInstance, path: str) -> None:
    assert refusal(instance.browser.post(path)) == (404, 5, "Not Found")


def test_pages_of_any_origin_may_ask(instance: CertifyingInstance) -> None:
    reply = instance.browser.send("OPTIONS", SIGNING_CERT, headers={"origin": "https://x.example"})
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "Authorization" in reply.headers["access-control-allow-headers"]
    reply = instance.browser.get("/api/v2/trustBundle", origin="https://x.example")
    assert reply.headers["access-control-allow-origin"] == "*"


# --- the other resources -----------------------------------------------------------------------


def test_trust_bundle_holds_the_chain_in_use(instance: CertifyingInstance) -> None:
    reply = instance.browser.get("/api/v2/trustBundle")
    (chain,) = json.loads(reply.body)["chains"]
    assert all(pem.endswith("-----\n") for pem in chain["certificates"])
    found = [x509.load_pem_x509_certificate(pem.encode()) for pem in chain["certificates"]]
    assert tuple(c.public_bytes(Encoding.DER) for c in found) == instance.chain.certificates


def test_configuration_lists_issuers_with_defaults(instance: CertifyingInstance) -> None:
    reply = instance.browser.get("/api/v2/configuration")
    common = {"spiffeTrustDomain": "", "subjectDomain": "", "skipEmailVerification": False}
    assert json.loads(reply.body) == {
        "issuers": [
            {
                "issuerUrl": instance.email.url,
                "audience": "sigstore",
                "challengeClaim": "email",
                "issuerType": "email",
                **common,
            },
            {
                "issuerUrl": instance.github.url,
                "audience": "sigstore",
                "challengeClaim": "sub",
                "issuerType": "github-workflow",
                **common,
            },
        ]
    }


@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
def test_v1_certifies_keys_as_pem_and_as_der(instance: CertifyingInstance, form: Encoding) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    content = key.public_key().public_bytes(form, PublicFormat.SubjectPublicKeyInfo)
    body = {
        "publicKey": {"content": base64.b64encode(content).decode(), "algorithm": "ecdsa"},
        "signedEmailAddress": base64.b64encode(prove(key, "ann@example.com")).decode(),
    }
    token = instance.email.token(email_claims())
    reply = instance.browser.post(
        "/api/v1/signingCert", json.dumps(body).encode(), authorization=f"Bearer {token}"
    )
    assert reply.status == 201
    assert reply.headers["content-type"] == "application/pem-certificate-chain"
    assert "sct" not in reply.headers
    assert not reply.text.endswith("\n")
    leaf, *rest = x509.load_pem_x509_certificates(reply.body)
    assert leaf.extensions.get_extension_for_oid(ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS)
    assert tuple(c.public_bytes(Encoding.DER) for c in rest) == instance.chain.certificates


def test_v1_without_a_key_is_told_so_before_its_token_is_read(
    instance: CertifyingInstance,
) -> None:
    reply = instance.browser.post("/api/v1/signingCert", b"{}")
    message = "The public key supplied in the request could not be parsed"
    assert refusal(reply) == (400, 3, message)


def test_v1_root_certificates(instance: CertifyingInstance) -> None:
    reply = instance.browser.get("/api/v1/rootCert")
    assert reply.status == 200
    found = x509.load_pem_x509_certificates(reply.body)
    assert tuple(c.public_bytes(Encoding.DER) for c in found) == instance.chain.certificates


# --- when things go wrong ----------------------------------------------------------------------


def test_sct_by_an_unexpected_key_is_not_handed_out() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with CertifyingInstance(trusted_ct_key=other) as instance:
        assert refusal(ask(instance)) == (500, 13, "Error entering certificate in CTL")


def test_expired_authority_issues_nothing() -> None:
    with CertifyingInstance(make_chain(days=1)) as instance:
        assert ask(instance).status == 200
        instance.clock.now = NOW + timedelta(days=1) - timedelta(seconds=599)
        status, code, message = refusal(ask(instance))
        assert (status, code) == (503, 14)
        assert "issuing certificate" in message


def test_stopped_log_is_a_server_error_that_may_pass() -> None:
    with CertifyingInstance() as instance:
        instance.wait(instance.log.drain())
        assert refusal(ask(instance)) == (503, 14, "log ct-main is stopping")


def test_full_queue_asks_to_wait() -> None:
    with CertifyingInstance(limits=Limits(queued=0)) as instance:
        reply = ask(instance)
        assert refusal(reply)[:2] == (503, 14)
        assert int(reply.headers["retry-after"]) > 0


def test_damaged_store_is_our_own_fault() -> None:
    with CertifyingInstance() as instance:
        fingerprint = instance.chain.issuing.fingerprint(SHA256)
        instance.objects.data.immutable[f"issuer/{fingerprint.hex()}"] = b"something else"
        assert refusal(ask(instance)) == (500, 13, "error communicating with CA backend")


def test_client_that_went_away_is_not_answered(instance: CertifyingInstance) -> None:
    async def exchange() -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await instance.browser.app(
            {
                "type": "http",
                "method": "POST",
                "path": SIGNING_CERT,
                "root_path": "",
                "query_string": b"",
                "headers": [],
            },
            receive,
            send,
        )
        return sent

    assert instance.wait(exchange()) == []


def test_error_message_of_the_client_side(instance: CertifyingInstance) -> None:
    reply = instance.browser.post(SIGNING_CERT, b"{}")
    assert error_message(reply.body) == TOKEN_REFUSED
    assert error_message(b"<html>429 Too Many Requests</html>") == ""

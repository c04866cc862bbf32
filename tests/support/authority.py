# SPDX-License-Identifier: Apache-2.0
"""A CA with its CT log in this process: real engine, real keys, real tokens, no sockets.

Chains are made by `cryptography`, so what our profile takes over from them was not written by us.
"""

import asyncio
import hashlib
import json
import os
import threading
from base64 import b64encode
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Self, TypeAlias, TypeVar

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from jwt.algorithms import RSAAlgorithm

from countermark.ca.api import AcceptedIssuer
from countermark.ca.api import routes as ca_routes
from countermark.ca.authority import IssuingAuthority
from countermark.ca.keeper import CertificateKeeper
from countermark.core.identity.jws import KeySet
from countermark.ctlog.api import routes as ct_routes
from countermark.ctlog.keeper import CTLog, CTLogKeeper
from countermark.ctlog.personality import CTPersonality
from countermark.drivers.keys.file import FileSigner
from countermark.drivers.memory import MemoryLogStore, MemoryObjectStore
from countermark.oidc.verifier import IssuerVerifier, TrustedIssuer
from countermark.rpc.local import LocalKeeper
from countermark.tilelog.log import Limits, Log
from tests.support.asgi import Browser, Reply

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
EMAIL_ISSUER = "http://localhost:7446/oidc"
GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
ORIGIN = "localhost:7446/ctlog/main"

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
T = TypeVar("T")


class SettableClock:
    """A clock that a test moves. A `Clock`."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def now_ms(self) -> int:
        return int(self.now.timestamp() * 1000)


class Randomness:
    """The machine's. An `Entropy`."""

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)


@dataclass
class Chain:
    """An issuing CA under a root; DER, issuing CA first."""

    certificates: tuple[bytes, ...]
    issuing_key: PrivateKey
    root_key: ec.EllipticCurvePrivateKey

    @property
    def issuing(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.certificates[0])

    @property
    def root(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.certificates[-1])


def make_chain(
    issuing_key: PrivateKey | None = None,
    *,
    name: str = "localhost",
    purposes: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CODE_SIGNING,),
    is_ca: bool = True,
    days: int = 1000,
) -> Chain:
    """A root (P-384) and an intermediate (P-256 unless a key is given)."""
    root_key = ec.generate_private_key(ec.SECP384R1())
    key = issuing_key or ec.generate_private_key(ec.SECP256R1())
    root_name, middle_name = _name(name, "root"), _name(name, "intermediate")
    root = _certificate(root_name, root_name, root_key.public_key(), days)
    root = root.add_extension(x509.BasicConstraints(True, None), True)
    root = root.add_extension(_cert_sign_usage(), True)
    middle = _certificate(middle_name, root_name, key.public_key(), days)
    middle = middle.add_extension(x509.BasicConstraints(is_ca, 0 if is_ca else None), True)
    middle = middle.add_extension(_cert_sign_usage(), True)
    root_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    middle = middle.add_extension(root_id, False)
    if purposes is not None:
        middle = middle.add_extension(x509.ExtendedKeyUsage(purposes), False)
    made = [builder.sign(root_key, hashes.SHA384()) for builder in (middle, root)]
    return Chain(tuple(c.public_bytes(Encoding.DER) for c in made), key, root_key)


def _name(organization: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Any, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
    )


def _cert_sign_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


@cache
def _token_key() -> rsa.RSAPrivateKey:
    """One for all: making one takes longer than most tests."""
    return rsa.generate_private_key(65537, 2048)


@dataclass
class TestIssuer:
    """An OIDC issuer that signs tokens with RS256."""

    url: str
    key: rsa.RSAPrivateKey = field(default_factory=_token_key)

    __test__ = False

    def token(self, claims: Mapping[str, Any], now: datetime = NOW) -> str:
        times = {"iat": int(now.timestamp()), "exp": int(now.timestamp()) + 600}
        payload = {"iss": self.url, "aud": "sigstore", **times, **claims}
        return jwt.encode(payload, self.key, "RS256", headers={"kid": "1"})

    async def keys(self) -> KeySet:
        jwk = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True) | {"kid": "1"}
        return KeySet.parse(json.dumps({"keys": [jwk]}).encode())


def email_claims(email: str = "ann@example.com", **more: Any) -> dict[str, Any]:
    return {"sub": "subject-1", "email": email, "email_verified": True, **more}


def github_claims(**changes: Any) -> dict[str, Any]:
    """What a real GitHub Actions token says."""
    claims = {
        "sub": "repo:octo/tools:ref:refs/heads/main",
        "job_workflow_ref": "octo/shared/.github/workflows/build.yml@refs/tags/v2",
        "job_workflow_sha": "c" * 40,
        "sha": "a" * 40,
        "event_name": "push",
        "repository": "octo/tools",
        "repository_id": "1234",
        "repository_owner": "octo",
        "repository_owner_id": "56",
        "repository_visibility": "public",
        "workflow": "release",
        "workflow_ref": "octo/tools/.github/workflows/release.yml@refs/heads/main",
        "workflow_sha": "b" * 40,
        "ref": "refs/heads/main",
        "run_id": "777",
        "run_attempt": "1",
        "runner_environment": "github-hosted",
    }
    return {**claims, **changes}


class LoopBrowser(Browser):
    """A browser whose exchanges run in the instance's own event loop."""

    loop: asyncio.AbstractEventLoop

    def execute(self, exchange: Coroutine[Any, Any, Reply]) -> Reply:
        return asyncio.run_coroutine_threadsafe(exchange, self.loop).result(30)


class CertifyingInstance:
    """CA, CT log and issuers, running. A context manager; everything ends with it."""

    def __init__(
        self,
        chain: Chain | None = None,
        ct_key: PrivateKey | None = None,
        trusted_ct_key: PrivateKey | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`trusted_ct_key` is what the CA takes for the log's key, if it is misconfigured."""
        self.clock = SettableClock()
        self.chain = chain or make_chain()
        self.ct_signer = FileSigner(ct_key or ec.generate_private_key(ec.SECP256R1()))
        self.email = TestIssuer(EMAIL_ISSUER)
        self.github = TestIssuer(GITHUB_ISSUER)
        self.objects = MemoryObjectStore()
        self.store = MemoryLogStore()
        self.personality = CTPersonality(ORIGIN, self.ct_signer)
        self.log = Log.create(
            "ct-main", self.personality, self.store, self.objects, self.clock, limits
        )
        self.ct = self.new_ct_log()
        trusted = FileSigner(trusted_ct_key) if trusted_ct_key else self.ct_signer
        self.authority = IssuingAuthority.load(
            self.chain.certificates, FileSigner(self.chain.issuing_key)
        )
        self.ca = CertificateKeeper(
            self.authority, self.ct, trusted.public_key, self.clock, Randomness()
        )
        handlers = {**self.ca.handlers(), **CTLogKeeper({"main": self.ct}).handlers()}
        self.keeper = LocalKeeper(handlers)
        issuers = [
            TrustedIssuer(self.email.url, "email", self.email.keys),
            TrustedIssuer(self.github.url, "github-workflow", self.github.keys),
        ]
        accepted = [AcceptedIssuer(issuer.url, issuer.type) for issuer in issuers]
        verifier = IssuerVerifier(issuers, self.clock)
        self.browser = LoopBrowser(
            [
                *ca_routes(self.keeper, verifier, accepted),
                *ct_routes(self.keeper, {"main": self.objects}),
            ]
        )
        self._loop = self.browser.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def new_ct_log(self) -> CTLog:
        """The service as it is after a restart, over the same log."""
        roots = self.chain.certificates[-1:]
        return CTLog(self.log, self.personality, self.objects, roots, self.clock)

    def __enter__(self) -> Self:
        self._thread.start()
        self._running = asyncio.run_coroutine_threadsafe(self.log.run(), self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        self.wait(self.log.drain())
        self._running.result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the instance's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def public_pem(key: PrivateKey) -> str:
    data = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return data.decode("ascii")


def spki(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def b64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def log_id(instance: CertifyingInstance) -> bytes:
    return hashlib.sha256(instance.ct_signer.public_key.spki).digest()

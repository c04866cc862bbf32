# SPDX-License-Identifier: Apache-2.0
"""Keyless signing: an artifact and an identity token become a bundle.

The order is that of Sigstore's clients: token, throw-away key, certificate, its SCT checked,
signature, timestamp over the signature, log entry, bundle. The bundle is verified before anybody
sees it, so what `sign` returns will verify.
"""

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from os import PathLike
from typing import BinaryIO, NamedTuple, TypeAlias

from countermark.client.certificate import Credential, check_name, obtain_credential
from countermark.client.choice import Instance, InstanceChoice, choose_instance
from countermark.client.identity import IdentityToken, find_identity
from countermark.client.submit import request_timestamp, submit_entry
from countermark.client.transport import Transport
from countermark.client.verify import FileArtifact
from countermark.core.bundle.bundle import Bundle, MessageSignature
from countermark.core.bundle.signing_config import select_one, select_several
from countermark.core.encoding import to_base64
from countermark.core.errors import RequestRejected
from countermark.core.intoto.envelope import PAYLOAD_TYPE_IN_TOTO, Envelope, EnvelopeSignature
from countermark.core.intoto.statement import parse_statement
from countermark.core.tsp.request import TimestampRequest
from countermark.core.verify.artifact import Artifact, DigestArtifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import UnsafeAnyIdentity
from countermark.core.verify.verifier import verify
from countermark.core.wire import rekor_v1

Source: TypeAlias = bytes | PathLike[str] | BinaryIO
_LEAST_CERTIFICATE_LIFE = timedelta(seconds=30)
_NONCE_BITS = 64


class Signed(NamedTuple):
    """A bundle, and what verifying it found out: who, when, which log, which checks."""

    bundle: Bundle
    evidence: Evidence


class Signer:
    """Signs as one person or workload with one instance; safe to use from several threads.

    A certificate is asked for at the first signature and again when its minutes are over, as
    long as the identity token lives.
    """

    def __init__(
        self, instance: Instance, token: IdentityToken, *, transport: Transport | None = None
    ) -> None:
        """Nothing is sent yet.

        Args:
            instance: the services to sign with and the root to verify their answers under.
            token: who signs.
            transport: to share connections with other work.
        """
        self._instance = instance
        self._token = token
        self._transport = transport or Transport()
        self._lock = threading.Lock()
        self._credential: Credential | None = None

    @classmethod
    def create(
        cls, *, url: str = "", instance: str = "", token: str = "", email: str = ""
    ) -> "Signer":
        """A signer found as `countermark sign` finds it; no browser is opened.

        Args:
            url: base URL of an instance in the user's registry.
            instance: ``public`` for the public-good instance.
            token: identity token; else one of the CI system is used, or one of this machine's
                instance for the address that `countermark login` remembers.
            email: an address to sign as, with an instance of this machine.

        Raises SettingsError or TokenRejected, with notes that say what to do.
        """
        chosen = choose_instance(InstanceChoice(url=url, instance=instance))
        transport = Transport()
        identity = find_identity(chosen, transport, token=token, email=email)
        return cls(chosen, identity, transport=transport)

    def sign(self, source: Source, *, progress: Callable[[int], None] | None = None) -> Signed:
        """Sign a file, an open binary file or bytes; only its SHA-256 leaves this machine.

        Args:
            source: read to its end in pieces, whatever its size.
            progress: told how many more bytes were read, from time to time.

        Raises RequestRejected or Unavailable if a service does not do its part,
        VerificationError if one did it wrong, NotFound or OSError if the source can't be read.
        """
        digest = _sha256(source, progress)
        credential = self._current()
        signature = credential.key.sign_digest(digest)
        proposal = rekor_v1.proposed_hashedrekord(
            "sha256", digest.hex(), signature, credential.certificate.to_pem()
        )
        content = MessageSignature(signature, "SHA2_256", digest)
        return self._complete(credential, content, proposal, DigestArtifact("sha256", digest))

    def sign_statement(self, payload: bytes) -> Signed:
        """Sign an in-toto statement, byte for byte as it is, in a DSSE envelope."""
        digests = next(
            (item.digests for item in parse_statement(payload).subjects if item.digests), None
        )
        if digests is None:
            raise RequestRejected("the statement gives no SHA-2 digest of any artifact")
        credential = self._current()
        unsigned = Envelope(payload, PAYLOAD_TYPE_IN_TOTO, ())
        signature = credential.key.sign(unsigned.pae())
        envelope = unsigned._replace(signatures=(EnvelopeSignature(signature),))
        proposal = rekor_v1.proposed_dsse(
            _envelope_json(envelope), [credential.certificate.to_pem()]
        )
        return self._complete(credential, envelope, proposal, _KnownDigests(digests))

    def _current(self) -> Credential:
        with self._lock:
            now = datetime.now(tz=UTC)
            held = self._credential
            if held is None or not held.good_until(now + _LEAST_CERTIFICATE_LIFE):
                self._token.check_alive(time.time())
                ca = select_one(
                    self._instance.signing_config.ca_urls,
                    "certificate authority",
                    supported=(1,),
                    now=now,
                )
                held = self._credential = obtain_credential(
                    self._transport, ca.url, self._token, self._instance.trusted_root
                )
            return held

    def _complete(
        self,
        credential: Credential,
        content: MessageSignature | Envelope,
        proposal: bytes,
        artifact: Artifact,
    ) -> Signed:
        """Timestamp the signature, log it, and verify the whole."""
        services = self._instance.signing_config
        now = datetime.now(tz=UTC)
        logs = select_several(
            services.rekor_tlog_urls,
            services.rekor_tlog_config,
            "transparency log",
            supported=(1,),
            now=now,
        )
        bundle = Bundle("0.3", (credential.certificate.der,), None, (), (), content)
        # Before the log: a timestamp that can't be had should leave no entry behind.
        stamps = tuple(self._timestamp(url, bundle.signature) for url in self._tsa_urls(now))
        entries = tuple(submit_entry(self._transport, log.url, proposal) for log in logs)
        bundle = bundle._replace(tlog_entries=entries, timestamps=stamps)
        evidence = verify(bundle, artifact, self._instance.trusted_root, UnsafeAnyIdentity())
        assert evidence.signer is not None
        check_name(evidence.signer, self._token)
        return Signed(bundle, evidence)

    def _tsa_urls(self, now: datetime) -> tuple[str, ...]:
        services = self._instance.signing_config
        if not services.tsa_urls:
            return ()
        chosen = select_several(
            services.tsa_urls, services.tsa_config, "timestamp authority", supported=(1,), now=now
        )
        return tuple(service.url for service in chosen)

    def _timestamp(self, url: str, signature: bytes) -> bytes:
        request = TimestampRequest(
            "sha256",
            hashlib.sha256(signature).digest(),
            nonce=secrets.randbits(_NONCE_BITS),
            certificates=True,
        )
        return request_timestamp(self._transport, url, request)


class _KnownDigests:
    """An artifact known by the digests that a statement gives it."""

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        self._digests = digests

    def digest(self, hash_name: str) -> bytes:
        """See `Artifact.digest`."""
        if hash_name not in self._digests:
            raise RequestRejected(f"the statement does not give the {hash_name} digest")
        return self._digests[hash_name]


def _sha256(source: Source, progress: Callable[[int], None] | None) -> bytes:
    if isinstance(source, bytes):
        return hashlib.sha256(source).digest()
    return FileArtifact(source, progress).digest("sha256")


def _envelope_json(envelope: Envelope) -> str:
    return json.dumps(
        {
            "payload": to_base64(envelope.payload),
            "payloadType": envelope.payload_type,
            "signatures": [{"sig": to_base64(item.sig)} for item in envelope.signatures],
        }
    )

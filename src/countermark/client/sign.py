# SPDX-License-Identifier: Apache-2.0
"""Signing: an artifact and a credential become a bundle.

The order is that of Sigstore's clients: token, throw-away key, certificate, its SCT checked,
signature, timestamp over the signature, log entry, bundle. The bundle is verified before anybody
sees it, so what `sign` returns will verify. A managed key needs neither token nor certificate.
"""

import hashlib
from collections.abc import Callable, Mapping
from os import PathLike
from typing import BinaryIO, TypeAlias

from countermark.client.certificate import Keyless
from countermark.client.choice import Instance, InstanceChoice, choose_instance
from countermark.client.credential import Credential, CredentialSource
from countermark.client.deadline import Deadline
from countermark.client.finish import Prepared, Signed, check_whole, enter, stamp
from countermark.client.identity import IdentityToken, find_identity
from countermark.client.transport import Transport
from countermark.client.verify import FileArtifact
from countermark.core.bundle.bundle import HASH_ALGORITHMS, Content, MessageSignature
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import AlgorithmRefused, RequestRejected
from countermark.core.intoto.envelope import PAYLOAD_TYPE_IN_TOTO, Envelope, EnvelopeSignature
from countermark.core.intoto.statement import parse_statement
from countermark.core.verify.artifact import Artifact, DigestArtifact

__all__ = ("DEFAULT_TIMEOUT_S", "Prepared", "Signed", "Signer", "Source")

Source: TypeAlias = bytes | PathLike[str] | BinaryIO
DEFAULT_TIMEOUT_S = 60.0
_NAMES = {hash_name: name for name, hash_name in HASH_ALGORITHMS.items()}


class Signer:
    """Signs as one person, workload or key with one instance; threads may share it.

    A certificate is asked for at the first signature and again when its minutes are over, as
    long as the identity token lives.
    """

    def __init__(
        self,
        instance: Instance,
        who: IdentityToken | CredentialSource,
        *,
        transport: Transport | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Nothing is sent yet.

        Args:
            instance: the services to sign with and the root to verify their answers under.
            who: who signs: an identity token, or where credentials come from.
            transport: to share connections with other work.
            timeout_s: how long the services may take for one signature, all calls, tries and
                waits together; reading the artifact does not count.
        """
        self._instance = instance
        self._source = Keyless(instance, who) if isinstance(who, IdentityToken) else who
        self._transport = transport or Transport()
        self._timeout_s = timeout_s

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
        """Sign a file, an open binary file or bytes; only its digest leaves this machine.

        Args:
            source: read to its end in pieces, whatever its size.
            progress: told how many more bytes were read, from time to time.

        Raises RequestRejected or Unavailable if a service does not do its part,
        VerificationError if one did it wrong, NotFound or OSError if the source can't be read.
        """
        return self.finish(self.prepare(source, progress=progress))

    def sign_statement(self, payload: bytes) -> Signed:
        """Sign an in-toto statement, byte for byte as it is, in a DSSE envelope."""
        return self.finish(self.prepare_statement(payload))

    def prepare(self, source: Source, *, progress: Callable[[int], None] | None = None) -> Prepared:
        """`sign` up to the log: what it returns is signed and timestamped. See `finish`."""
        artifact = self._digest(source, progress)
        deadline = Deadline.after(self._timeout_s)
        credential = self._source.current(self._transport.until(deadline))
        signature = credential.key.sign_digest(artifact.value)
        content = MessageSignature(signature, _NAMES[artifact.hash_name], artifact.value)
        return self._prepared(credential, content, artifact, deadline)

    def prepare_statement(self, payload: bytes) -> Prepared:
        """`sign_statement` up to the log."""
        digests = next(
            (item.digests for item in parse_statement(payload).subjects if item.digests), None
        )
        if digests is None:
            raise RequestRejected("the statement gives no SHA-2 digest of any artifact")
        deadline = Deadline.after(self._timeout_s)
        credential = self._source.current(self._transport.until(deadline))
        _check_fits_statements(credential.key.public_key)
        unsigned = Envelope(payload, PAYLOAD_TYPE_IN_TOTO, ())
        # Without a key id: where it is not the one that Go reckons, Go passes the signature over.
        signature = EnvelopeSignature(credential.key.sign(unsigned.pae()))
        envelope = unsigned._replace(signatures=(signature,))
        return self._prepared(credential, envelope, KnownDigests(digests), deadline)

    def finish(self, prepared: Prepared) -> Signed:
        """Log what `prepare` made, and verify the whole. Safe to repeat: an entry is found again.

        The log has what is left of the time that `prepare` began with; all of it again for
        ``prepared._replace(deadline=None)``. Raises Unavailable if the log is out of reach.
        """
        deadline = prepared.deadline or Deadline.after(self._timeout_s)
        bundle = enter(self._instance, prepared, self._transport.until(deadline))
        return check_whole(self._instance, prepared, bundle)

    def _digest(self, source: Source, progress: Callable[[int], None] | None) -> DigestArtifact:
        hash_name = self._source.hash_name
        if isinstance(source, bytes):
            return DigestArtifact(hash_name, hashlib.new(hash_name, source).digest())
        return DigestArtifact(hash_name, FileArtifact(source, progress).digest(hash_name))

    def _prepared(
        self, credential: Credential, content: Content, artifact: Artifact, deadline: Deadline
    ) -> Prepared:
        # Before the log: a timestamp that can't be had should leave no entry behind.
        transport = self._transport.until(deadline)
        bundle = stamp(self._instance, credential.bundle(content), transport)
        pem, policy = credential.verifier_pem, credential.policy
        return Prepared(bundle, pem, artifact, policy, deadline)


def _check_fits_statements(key: PublicKey) -> None:
    """API v1 hashes statements with SHA-256 whatever the key, and verifiers with the key's own."""
    if key.hash_name not in ("", "sha256"):
        error = AlgorithmRefused(
            f"a log of API v1 takes no statement signed with a {key.details} key"
        )
        error.add_note("sign statements with a P-256, RSA or Ed25519 key")
        raise error


class KnownDigests:
    """An artifact known by the digests that a statement gives it."""

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        self._digests = digests

    def digest(self, hash_name: str) -> bytes:
        """See `Artifact.digest`."""
        if hash_name not in self._digests:
            raise RequestRejected(f"the statement does not give the {hash_name} digest")
        return self._digests[hash_name]

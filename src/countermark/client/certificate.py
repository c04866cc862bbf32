# SPDX-License-Identifier: Apache-2.0
"""The throw-away key and its certificate, checked before anything is signed with them."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from countermark.client.choice import Instance
from countermark.client.credential import Credential, SigningKey
from countermark.client.ephemeral import EphemeralKey as EphemeralKey
from countermark.client.identity import IdentityToken
from countermark.client.submit import request_certificate
from countermark.client.transport import Transport
from countermark.core.bundle.signing_config import select_one
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.crypto import der
from countermark.core.crypto.certificate import EKU_CODE_SIGNING, OID_SCT_LIST, Certificate
from countermark.core.crypto.chain import verify_chain
from countermark.core.ct.sct import parse_sct_list, sct_message_precert
from countermark.core.errors import ChainInvalid, IdentityMismatch, SCTInvalid
from countermark.core.verify.signer import SignerIdentity

_LEAST_CERTIFICATE_LIFE = timedelta(seconds=30)


class Keyless:
    """Credentials of whoever an identity token is about. A `CredentialSource`.

    A certificate is asked for when the first signature needs one and again when its minutes are
    over, as long as the token lives.
    """

    hash_name = "sha256"

    def __init__(
        self,
        instance: Instance,
        token: IdentityToken,
        *,
        new_key: Callable[[], SigningKey] = EphemeralKey,
    ) -> None:
        """Nothing is asked yet.

        Args:
            instance: whose certificate authority to ask.
            token: who signs.
            new_key: makes a P-256 key, elsewhere than in this process for instance.
        """
        self._instance = instance
        self._token = token
        self._new_key = new_key
        self._lock = threading.Lock()
        self._credential: Credential | None = None

    def current(self, transport: Transport) -> Credential:
        """See `CredentialSource`. Raises what `obtain_credential` raises, or TokenRejected."""
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
                    transport, ca.url, self._token, self._instance.trusted_root, self._new_key()
                )
            return held


def obtain_credential(
    transport: Transport, ca_url: str, token: IdentityToken, root: TrustedRoot, key: SigningKey
) -> Credential:
    """A fresh key, certified for the holder of `token`.

    Raises what `request_certificate` raises, and a VerificationError if the certificate is not
    ours, not this instance's, or on no trusted CT log.
    """
    chain = request_certificate(
        transport,
        ca_url,
        token=token.text,
        public_key_pem=key.public_key.to_pem(),
        proof=key.sign(token.subject.encode("utf-8")),
    )
    leaf = Certificate.parse(chain[0])
    if leaf.spki != key.public_key.spki:
        raise ChainInvalid("the certificate authority certified another key than ours")
    check_certificate(leaf, root, datetime.now(tz=UTC))
    check_name(SignerIdentity.from_certificate(leaf), token)
    return Credential(key, leaf)


def check_certificate(leaf: Certificate, root: TrustedRoot, now: datetime) -> None:
    """Check a certificate that was issued just now: its chain, and at least one SCT.

    The chain is judged at the start of the certificate's life, so that a clock of ours that is
    slow does no harm; the bundle will be judged at its proven time.

    Args:
        leaf: the new certificate.
        root: its authority and CT logs must be in it.
        now: those keys must be in use.
    """
    refusal = ChainInvalid("the certificate's issuer is not in the trusted root")
    for authority in root.certificate_authorities:
        issuers = authority.certificates
        if issuers[0].subject != leaf.issuer or not authority.validity.covers(now):
            continue
        try:
            verify_chain(leaf, issuers, leaf.not_before, purpose=EKU_CODE_SIGNING)
        except ChainInvalid as error:
            refusal = error
            continue
        _check_sct(leaf, issuers[0], root, now)
        return
    raise refusal


def check_name(signer: SignerIdentity, token: IdentityToken) -> None:
    """Check that an e-mail certificate is for the token's address."""
    if signer.kind == "email" and signer.name != token.subject:
        raise IdentityMismatch(f"the certificate is for {signer.name!r}, not {token.subject!r}")


def _check_sct(leaf: Certificate, issuer: Certificate, root: TrustedRoot, now: datetime) -> None:
    extension = leaf.extension(OID_SCT_LIST)
    if extension is None:
        raise SCTInvalid("the certificate carries no SCT")
    scts = parse_sct_list(der.decode(extension.value, "SCT list", der.OCTET_STRING).content)
    for sct in scts:
        for log in root.ctlogs:
            if log.log_id == sct.log_id and log.validity.covers(now):
                message = sct_message_precert(
                    sct.timestamp_ms,
                    issuer.issuer_key_hash,
                    leaf.tbs_without(OID_SCT_LIST),
                    sct.extensions,
                )
                sct.verify(log.public_key, message)
                return
    raise SCTInvalid("no trusted certificate log vouches for the certificate")

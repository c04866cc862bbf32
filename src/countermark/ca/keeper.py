# SPDX-License-Identifier: Apache-2.0
"""The CA's half in the keeper: builds certificates, has them logged, signs them.

Workers have verified token and possession; what arrives here is typed fields, and the only
foreign bytes are the public key, taken over as they are. The CA keeps no records: the CT log is
the record.
"""

from typing import Protocol

from countermark.ca.authority import IssuingAuthority
from countermark.ca.messages import (
    Authorities,
    CTSubmissionFailed,
    GetAuthorities,
    IssueCertificate,
    Issued,
)
from countermark.core.crypto.keys import PublicKey
from countermark.core.ct.precert import POISON_EXTENSION, sct_list_extension
from countermark.core.ct.sct import (
    SignedCertificateTimestamp,
    sct_message_precert,
    serialize_sct_list,
)
from countermark.core.errors import (
    CountermarkError,
    InvariantBroken,
    SCTInvalid,
    Unavailable,
    UpstreamDown,
)
from countermark.core.identity.claims import CertificateIdentity
from countermark.core.identity.profile import (
    LIFETIME_S,
    SERIAL_BYTES,
    LeafTemplate,
    serial_from,
)
from countermark.core.identity.uri import ia5
from countermark.ports.clock import Clock, Entropy
from countermark.rpc.message import Handlers


class PrecertificateSubmitter(Protocol):
    """A CT log as the CA sees it: in this process, or behind ``add-pre-chain``."""

    async def submit_precertificate(
        self, precertificate: bytes, tbs: bytes, issuer_key_hash: bytes, chain: tuple[bytes, ...]
    ) -> bytes:
        """Have a precertificate logged, durably. Returns the SCT's bytes.

        Args:
            precertificate: its DER, signed, with poison.
            tbs: its TBSCertificate without poison: what the log records.
            issuer_key_hash: SHA-256 of the SPKI of `chain`'s first certificate.
            chain: DER, issuing CA first, root last.

        Raises Pushback, or another of our errors if the log does not take it.
        """
        ...


class CertificateKeeper:
    """Issues certificates of Fulcio's profile, each with an SCT of one log inside."""

    def __init__(
        self,
        authority: IssuingAuthority,
        submitter: PrecertificateSubmitter,
        ct_log_key: PublicKey,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._authority = authority
        self._submitter = submitter
        self._ct_log_key = ct_log_key
        self._ct_log_id = ct_log_key.key_id
        self._clock = clock
        self._entropy = entropy

    def handlers(self) -> Handlers:
        """What it answers, by request type."""
        return {IssueCertificate: self.issue, GetAuthorities: self.authorities}

    def rotate(self, authority: IssuingAuthority) -> None:
        """Issue under another chain from now on; certificates under way keep the old one."""
        self._authority = authority

    async def authorities(self, request: GetAuthorities) -> Authorities:
        """The chain in use."""
        return Authorities((self._authority.chain,))

    async def issue(self, request: IssueCertificate) -> Issued:
        """Precertificate, SCT, certificate.

        Raises CTSubmissionFailed; Unavailable when the log takes nothing now, or the issuing
        certificate is not valid for as long as the new one would be.
        """
        # One authority for both signatures, whatever happens while the log has its turn: two
        # keys under one serial number would be an SCT that does not fit (RFC 6962 section 3.2).
        authority = self._authority
        now_s = self._clock.now_ms() // 1000
        first, last = authority.valid_s
        if not first <= now_s <= last - LIFETIME_S:
            raise Unavailable("the CA's issuing certificate is not valid long enough")
        template = LeafTemplate.for_identity(
            CertificateIdentity(request.san_type, ia5(request.san_value), request.extensions),
            request.spki,
            request.key_id,
            authority.profile,
            serial=serial_from(self._entropy.bytes(SERIAL_BYTES)),
            not_before_s=now_s,
        )
        sign = authority.signer.sign
        poisoned_tbs = template.tbs(POISON_EXTENSION)
        precertificate = template.certificate(poisoned_tbs, sign(poisoned_tbs))
        sct = await self._logged(precertificate, template.tbs(), authority)
        final_tbs = template.tbs(sct_list_extension(serialize_sct_list((sct,))))
        return Issued((template.certificate(final_tbs, sign(final_tbs)), *authority.chain))

    async def _logged(
        self, precertificate: bytes, tbs: bytes, authority: IssuingAuthority
    ) -> SignedCertificateTimestamp:
        issuer_key_hash = authority.issuer_key_hash
        try:
            data = await self._submitter.submit_precertificate(
                precertificate, tbs, issuer_key_hash, authority.chain
            )
            sct = SignedCertificateTimestamp.parse(data)
            if sct.log_id != self._ct_log_id:
                raise SCTInvalid("the SCT is of another log than the configured one")
            message = sct_message_precert(sct.timestamp_ms, issuer_key_hash, tbs, sct.extensions)
            # Clients refuse certificates without a good SCT: a wrong key in the settings must
            # show here, not in everybody's verification.
            sct.verify(self._ct_log_key, message)
        except (Unavailable, InvariantBroken) as error:
            if not isinstance(error, UpstreamDown):
                raise  # this process is busy, stopping or broken: not the log's refusal
            raise CTSubmissionFailed(f"the CT log does not answer: {error}") from error
        except CountermarkError as error:
            raise CTSubmissionFailed(f"the CT log did not take the certificate: {error}") from error
        return sct

# SPDX-License-Identifier: Apache-2.0
"""Steps 2 and 3: who vouches for the signer's certificate, and whether that is on public record."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from countermark.core.bundle.trusted_root import TransparencyLog, TrustedRoot
from countermark.core.crypto import der
from countermark.core.crypto.certificate import (
    EKU_CODE_SIGNING,
    OID_SCT_LIST,
    OID_SUBJECT_ALT_NAME,
    Certificate,
    name_text,
)
from countermark.core.crypto.chain import verify_chain
from countermark.core.crypto.keys import PublicKey
from countermark.core.ct.sct import (
    SignedCertificateTimestamp,
    parse_sct_list,
    sct_message_precert,
    sct_message_x509,
)
from countermark.core.errors import ChainInvalid, FormatError, SCTInvalid
from countermark.core.verify.evidence import Check
from countermark.core.verify.words import authority_name, log_name, operator_of, times, utc, window

_EMPTY_NAME = b"\x30\x00"


def check_no_root(others: Sequence[Certificate]) -> None:
    """Check that no root came along with the signer's certificate. Raises ChainInvalid."""
    for other in others:
        if other.is_self_issued and other.basic_constraints()[0]:
            raise ChainInvalid(
                "the bundle brings a root certificate along",
                found=f"a root named {name_text(other.subject)}",
                expected="roots in the trusted root only",
            )


def check_chain(
    leaf: Certificate, proven: Sequence[datetime], root: TrustedRoot
) -> tuple[Certificate, Check]:
    """Step 2: an authority that was believed, and a valid path, at every proven time.

    Gives the certificate that issued `leaf`. Raises ChainInvalid.
    """
    _check_names(leaf)
    refusal: ChainInvalid | None = None
    for authority in root.certificate_authorities:
        issuers = authority.certificates
        if issuers[0].subject != leaf.issuer:
            continue
        try:
            for time in proven:
                if not authority.validity.covers(time):
                    raise ChainInvalid(
                        "the trusted root limits the authority to another time",
                        found=f"signed at {utc(time)}",
                        expected=f"{authority_name(authority)}: {window(authority.validity)}",
                    )
                verify_chain(leaf, issuers, time, purpose=EKU_CODE_SIGNING)
        except ChainInvalid as error:
            refusal = error
            error.found = error.found or f"certificate {leaf.serial:x}, signed at {times(proven)}"
            error.expected = error.expected or f"a valid path to {authority_name(authority)}"
            continue
        name = authority_name(authority)
        check = Check(
            "certificate",
            f"issued by {name}, valid at the proven time",
            2,
            f"certificate {leaf.serial:x}, valid {_life(leaf)}; signed at {times(proven)}",
            f"{name}, believed {window(authority.validity)}",
            f"each certificate is signed by the next of {len(issuers)} that the trusted root "
            "lists, made for signing code, and all of them were valid at every proven time",
        )
        return issuers[0], check
    raise refusal or ChainInvalid(
        "the certificate's issuer is not in the trusted root",
        found=f"issued by {name_text(leaf.issuer)}",
        expected="one of " + (_authorities(root) or "no authorities at all"),
    )


def _check_names(leaf: Certificate) -> None:
    # RFC 5280 section 4.2.1.6: then the alternative name is all there is to go by.
    names = leaf.extension(OID_SUBJECT_ALT_NAME)
    if names is not None and not names.critical and leaf.subject == _EMPTY_NAME:
        raise ChainInvalid(
            "the certificate has no subject, and its names are not critical",
            found="names that a reader may pass over",
            expected="critical names, or a subject",
        )


def _authorities(root: TrustedRoot) -> str:
    found = [name_text(item.certificates[0].subject) for item in root.certificate_authorities[:8]]
    return "; ".join(dict.fromkeys(found))


def _life(certificate: Certificate) -> str:
    return f"from {utc(certificate.not_before)} to {utc(certificate.not_after)}"


def check_scts(
    leaf: Certificate,
    issuer: Certificate,
    root: TrustedRoot,
    threshold: int,
    detached: Sequence[bytes] = (),
) -> list[Check]:
    """Step 3: SCTs of trusted CT logs, embedded or not; those of unknown logs are passed over.

    `threshold` operators must vouch. Raises SCTInvalid.
    """
    embedded = leaf.extension(OID_SCT_LIST) is not None
    if not (embedded or detached) and not threshold:
        return []
    vouching: dict[str, Check] = {}
    scts = _scts(leaf.der) if embedded or not detached else ()
    apart = tuple(map(SignedCertificateTimestamp.parse, detached))
    for sct in (*scts, *apart):
        time = _from_ms(sct.timestamp_ms)
        for log in root.ctlogs:
            if log.log_id == sct.log_id and log.validity.covers(time):
                try:
                    if sct in apart:
                        message = sct_message_x509(sct.timestamp_ms, leaf.der, sct.extensions)
                        sct.verify(log.public_key, message)
                    else:
                        _verify_sct(leaf.der, issuer.der, sct, log.public_key)
                except SCTInvalid as error:
                    error.found = f"an SCT under log id {sct.log_id.hex()}, made at {utc(time)}"
                    error.expected = f"a signature by the key of {log_name(log)}"
                    raise
                vouching[operator_of(log)] = _vouched(sct, time, log)
    if len(vouching) < threshold:
        raise SCTInvalid(
            f"{len(vouching)} trusted certificate logs vouch for the certificate, "
            f"{threshold} must",
            found="SCTs of " + ", ".join(
                f"log {sct.log_id.hex()[:16]}… at {utc(_from_ms(sct.timestamp_ms))}"
                for sct in (*scts, *apart)[:8]
            ),
            expected="one of " + (
                ", ".join(f"{log_name(log)} {window(log.validity)}" for log in root.ctlogs[:8])
                or "no logs at all"
            ),
        )  # fmt: skip
    return list(vouching.values())


def _vouched(sct: SignedCertificateTimestamp, time: datetime, log: TransparencyLog) -> Check:
    return Check(
        "sct",
        f"{utc(time)}, by {log.base_url}",
        3,
        f"a promise of log {sct.log_id.hex()} made at {utc(time)}",
        f"{log_name(log)}, believed {window(log.validity)}",
        "the CT log's key signed this very certificate, without the promise in it, and the name "
        "of its issuer's key",
    )


@lru_cache(maxsize=256)
def _scts(leaf_der: bytes) -> tuple[SignedCertificateTimestamp, ...]:
    extension = Certificate.parse(leaf_der).extension(OID_SCT_LIST)
    if extension is None:
        raise SCTInvalid("the certificate carries no SCT")
    return parse_sct_list(der.decode(extension.value, "SCT list", der.OCTET_STRING).content)


@lru_cache(maxsize=256)
def _verify_sct(
    leaf_der: bytes, issuer_der: bytes, sct: SignedCertificateTimestamp, key: PublicKey
) -> None:
    # Remembered: all signatures that a signer makes at a time share a certificate.
    leaf, issuer = Certificate.parse(leaf_der), Certificate.parse(issuer_der)
    message = sct_message_precert(
        sct.timestamp_ms, issuer.issuer_key_hash, leaf.tbs_without(OID_SCT_LIST), sct.extensions
    )
    sct.verify(key, message)


def _from_ms(timestamp_ms: int) -> datetime:
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise FormatError("SCT", "states no possible time") from error

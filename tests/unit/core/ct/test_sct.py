# SPDX-License-Identifier: Apache-2.0
"""SCTs: the structure, its list, and what a log signs."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.certificate_transparency import LogEntryType

from countermark.core.crypto import der
from countermark.core.crypto.certificate import OID_SCT_LIST, Certificate
from countermark.core.crypto.keys import PublicKey
from countermark.core.ct.sct import (
    SignedCertificateTimestamp,
    parse_sct_list,
    sct_message_precert,
    sct_message_x509,
    serialize_sct_list,
)
from countermark.core.errors import FormatError, SCTInvalid
from tests.support.forge import Forge, Plan
from tests.support.made_certificates import NOW, spki, to_der

FORGE = Forge()
KEY = PublicKey.from_spki(spki(FORGE.ct_key))
MADE = FORGE.leaf(ec.generate_private_key(ec.SECP256R1()), Plan(scts=2))
LEAF = Certificate.parse(to_der(MADE))
EXTENSION = LEAF.extension(OID_SCT_LIST)
assert EXTENSION is not None
LIST = der.decode(EXTENSION.value, "SCT list").content
SCTS = parse_sct_list(LIST)
MESSAGE = sct_message_precert(
    SCTS[0].timestamp_ms,
    Certificate.parse(to_der(FORGE.ca)).issuer_key_hash,
    LEAF.tbs_without(OID_SCT_LIST),
    SCTS[0].extensions,
)


def test_reads_what_cryptography_reads() -> None:
    theirs = MADE.extensions.get_extension_for_class(
        x509.PrecertificateSignedCertificateTimestamps
    ).value
    for ours, other in zip(SCTS, theirs, strict=True):
        assert ours.log_id == other.log_id
        assert ours.timestamp_ms == round(other.timestamp.timestamp() * 1000)
        assert other.entry_type is LogEntryType.PRE_CERTIFICATE
        assert ours.signature == other.signature
        assert ours.extensions == other.extension_bytes
    assert serialize_sct_list(SCTS) == LIST


def test_the_signature_covers_time_issuer_certificate_and_extensions() -> None:
    SCTS[0].verify(KEY, MESSAGE)
    for at in (1, 5, 12, 30, 60, len(MESSAGE) - 1):
        changed = MESSAGE[:at] + bytes((MESSAGE[at] ^ 1,)) + MESSAGE[at + 1 :]
        with pytest.raises(SCTInvalid, match="does not verify"):
            SCTS[0].verify(KEY, changed)
    with pytest.raises(SCTInvalid, match="does not verify"):
        SCTS[1].verify(KEY, MESSAGE)


def test_the_algorithm_must_be_the_keys() -> None:
    for sct in (SCTS[0]._replace(hash_alg=2), SCTS[0]._replace(sig_alg=1)):
        with pytest.raises(SCTInvalid, match="algorithm"):
            sct.verify(KEY, MESSAGE)
    other = PublicKey.from_spki(spki(ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(SCTInvalid, match="algorithm"):
        SCTS[0].verify(other, MESSAGE)


def test_final_certificates_are_signed_over_whole() -> None:
    assert sct_message_x509(1, b"cert", b"ex") == (
        b"\x00\x00" + (1).to_bytes(8) + b"\x00\x00" + b"\x00\x00\x04cert" + b"\x00\x02ex"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x00",
        LIST + b"\x00",
        LIST[:-1],
        b"\x00\x03\x00\x01\x00",
        (33 * len(LIST[2:120])).to_bytes(2),
    ],
)
def test_refuses_malformed_lists(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_sct_list(data)


def test_refuses_other_versions_and_too_many() -> None:
    data = SCTS[0].serialize()
    assert SignedCertificateTimestamp.parse(data) == SCTS[0]
    for bad in (b"\x01" + data[1:], data + b"\x00", data[:-1], data[:46]):
        with pytest.raises(FormatError):
            SignedCertificateTimestamp.parse(bad)
    with pytest.raises(FormatError, match="more than 32"):
        parse_sct_list(serialize_sct_list(tuple(SCTS[:1]) * 33))


def test_the_time_is_in_milliseconds() -> None:
    assert SCTS[1].timestamp_ms - SCTS[0].timestamp_ms == 1
    assert timedelta(milliseconds=SCTS[0].timestamp_ms).total_seconds() == NOW.timestamp()

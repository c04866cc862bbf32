# SPDX-License-Identifier: Apache-2.0
"""Believing timestamps: what a token may be like, and what it may not."""

import hashlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.core.bundle.trusted_root import CertificateAuthority, Validity
from countermark.core.crypto.certificate import Certificate
from countermark.core.errors import FormatError, SignatureInvalid, TimeUnproven
from countermark.core.tsp.request import SIGSTORE_POLICY, TimestampRequest
from countermark.core.tsp.response import parse_response
from countermark.core.tsp.token import TokenTemplate
from countermark.core.tsp.verify import verify_timestamp
from tests.support.forge import EVER, Forge
from tests.support.made_certificates import NOW, authority, timestamper, to_der

FORGE = Forge()
SIGNATURE = b"a signature"
(TSA,) = FORGE.trusted_root().timestamp_authorities
TOKEN = FORGE.timestamp(SIGNATURE, NOW)


def token_of(certificate: bytes, key: ec.EllipticCurvePrivateKey, *, embed: bool = True) -> bytes:
    """A token made under another certificate, whatever that is good for."""
    template = TokenTemplate(Certificate.parse(certificate), policy=SIGSTORE_POLICY)
    digest = hashlib.sha256(SIGNATURE).digest()
    request = TimestampRequest("sha256", digest, certificates=embed)
    draft = template.draft(request, serial=1, time=NOW)
    return draft.with_signature(key.sign(draft.message_to_sign, ec.ECDSA(hashes.SHA256())))


def listed(*chain: bytes, validity: Validity = EVER) -> CertificateAuthority:
    return CertificateAuthority("", "", "https://tsa.example.org", chain, validity)


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512"])
def test_accepts_every_hash(name: str) -> None:
    token = FORGE.timestamp(SIGNATURE, NOW, name)
    assert verify_timestamp(token, SIGNATURE, [TSA]) == (NOW, TSA)
    info = parse_response(token).info
    assert (info.hash_name, info.serial, info.nonce) == (name, 99, 7)
    assert info.digest == hashlib.new(name, SIGNATURE).digest()
    assert info.policy == SIGSTORE_POLICY


def test_finds_the_authority_among_several() -> None:
    (other,) = Forge().trusted_root().timestamp_authorities
    assert verify_timestamp(TOKEN, SIGNATURE, [other, TSA]) == (NOW, TSA)
    with pytest.raises(TimeUnproven, match="does not list"):
        verify_timestamp(TOKEN, SIGNATURE, [other])
    with pytest.raises(TimeUnproven, match="does not list"):
        verify_timestamp(TOKEN, SIGNATURE, [])


def test_refuses_another_signature() -> None:
    with pytest.raises(TimeUnproven, match="something else"):
        verify_timestamp(TOKEN, b"another", [TSA])


def test_an_embedded_certificate_serves_an_authority_listed_without_signer() -> None:
    tsa, root = to_der(FORGE.tsa), to_der(FORGE.tsa_root)
    token = token_of(tsa, FORGE.tsa_key)
    assert verify_timestamp(token, SIGNATURE, [listed(root)])[0] == NOW
    with pytest.raises(TimeUnproven, match="does not list"):
        verify_timestamp(token_of(tsa, FORGE.tsa_key, embed=False), SIGNATURE, [listed(root)])


def test_an_embedded_certificate_is_never_an_anchor() -> None:
    """The token of a stranger who brings a chain of the same names along."""
    stranger = Forge()
    token = token_of(to_der(stranger.tsa), stranger.tsa_key)
    with pytest.raises(TimeUnproven, match="not signed by its issuer"):
        verify_timestamp(token, SIGNATURE, [listed(to_der(FORGE.tsa_root))])
    with pytest.raises(TimeUnproven, match="does not list"):
        verify_timestamp(token, SIGNATURE, [TSA])


def test_refuses_signers_that_are_not_for_timestamps_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Our own writer refuses such a certificate; an attacker's would not.
    monkeypatch.setattr("countermark.core.tsp.token._check_profile", lambda certificate: None)
    root_key, root = FORGE.tsa_root_key, to_der(FORGE.tsa_root)
    sloppy = timestamper("tsa", FORGE.tsa_key, "tsa root", root_key, critical=False)
    token = token_of(to_der(sloppy), FORGE.tsa_key)
    for chain in ((to_der(sloppy), root), (root,)):
        with pytest.raises(TimeUnproven, match="timestamps alone"):
            verify_timestamp(token, SIGNATURE, [listed(*chain)])


def test_the_signature_must_name_its_certificate() -> None:
    """RFC 5816: same issuer, serial and key, yet another certificate."""
    original = Certificate.parse(to_der(FORGE.tsa))
    twin = timestamper("tsa", FORGE.tsa_key, "tsa root", FORGE.tsa_root_key, serial=original.serial)
    chain = (to_der(twin), to_der(FORGE.tsa_root))
    assert verify_timestamp(token_of(chain[0], FORGE.tsa_key), SIGNATURE, [listed(*chain)])
    with pytest.raises(SignatureInvalid, match="names another certificate"):
        verify_timestamp(TOKEN, SIGNATURE, [listed(*chain)])


def test_a_signature_that_is_not_the_signers() -> None:
    forged = token_of(to_der(FORGE.tsa), ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SignatureInvalid, match="timestamp signature"):
        verify_timestamp(forged, SIGNATURE, [TSA])


def test_everything_is_judged_at_the_stated_time() -> None:
    """An authority that has expired since still counts; one that had expired then does not."""
    second = timedelta(seconds=1)
    for valid, good in (((NOW - second, NOW), True), ((NOW - 2 * second, NOW - second), False)):
        tsa = timestamper("tsa", FORGE.tsa_key, "tsa root", FORGE.tsa_root_key, valid=valid)
        root = authority(
            "tsa root", FORGE.tsa_root_key, "tsa root", FORGE.tsa_root_key, valid=valid
        )
        for chain in ((to_der(tsa), to_der(FORGE.tsa_root)), (to_der(FORGE.tsa), to_der(root))):
            token = token_of(chain[0], FORGE.tsa_key)
            if good:
                assert verify_timestamp(token, SIGNATURE, [listed(*chain)])[0] == NOW
            else:
                with pytest.raises(TimeUnproven, match="not valid at"):
                    verify_timestamp(token, SIGNATURE, [listed(*chain)])


def test_the_trusted_roots_window_is_closed() -> None:
    chain, second = TSA.chain, timedelta(seconds=1)
    assert verify_timestamp(TOKEN, SIGNATURE, [listed(*chain, validity=Validity(NOW, NOW))])
    for window in (Validity(NOW + second), Validity(NOW - 2 * second, NOW - second)):
        with pytest.raises(TimeUnproven, match="another time"):
            verify_timestamp(TOKEN, SIGNATURE, [listed(*chain, validity=window)])


def test_a_lone_signer_is_no_anchor() -> None:
    with pytest.raises(TimeUnproven, match="no issuer"):
        verify_timestamp(TOKEN, SIGNATURE, [listed(to_der(FORGE.tsa))])


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"\x30\x03\x02\x01\x00", b"\x30\x03\x02\x01\x02", "not granted"),
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", "CMS"),
        (b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\xa0",
         b"\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x07\xa0", "not allowed"),
    ],
)  # fmt: skip
def test_refuses_what_is_no_granted_token(old: bytes, new: bytes, why: str) -> None:
    assert old in TOKEN
    with pytest.raises(FormatError, match=why):
        parse_response(TOKEN.replace(old, new))


def test_bounds_and_ends() -> None:
    for bad in (b"", TOKEN + b"\x00", TOKEN[:-1], bytes(200_000)):
        with pytest.raises(FormatError):
            parse_response(bad)

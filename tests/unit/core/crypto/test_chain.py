# SPDX-License-Identifier: Apache-2.0
"""Certificate paths: each rule by a chain that breaks it alone."""

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from countermark.core.crypto.certificate import EKU_CODE_SIGNING, EKU_TIME_STAMPING, Certificate
from countermark.core.crypto.chain import verify_chain
from countermark.core.errors import ChainInvalid
from tests.support.forge import Forge, Plan
from tests.support.made_certificates import (
    NOW,
    authority,
    common_name,
    key_usage,
    timestamper,
    to_der,
)

FORGE = Forge()
KEY = ec.generate_private_key(ec.SECP256R1())
LEAF = Certificate.parse(to_der(FORGE.leaf(KEY, Plan())))
CA, CA_ROOT = (Certificate.parse(to_der(item)) for item in (FORGE.ca, FORGE.ca_root))
TEN_MINUTES = timedelta(minutes=10)
SECOND = timedelta(seconds=1)


def check(leaf: Certificate, *issuers: Certificate, purpose: str = EKU_CODE_SIGNING) -> None:
    verify_chain(leaf, issuers, NOW, purpose=purpose)


def parsed(made: x509.Certificate) -> Certificate:
    return Certificate.parse(to_der(made))


def test_accepts_a_path_to_its_anchor_at_both_ends_of_its_life() -> None:
    for at in (NOW, NOW + TEN_MINUTES):
        verify_chain(LEAF, (CA, CA_ROOT), at, purpose=EKU_CODE_SIGNING)
    check(LEAF, CA)  # an anchor need not be self-issued


@pytest.mark.parametrize("at", [NOW - SECOND, NOW + TEN_MINUTES + SECOND])
def test_refuses_times_outside_the_leaf(at: object) -> None:
    with pytest.raises(ChainInvalid, match="the certificate was not valid"):
        verify_chain(LEAF, (CA, CA_ROOT), at, purpose=EKU_CODE_SIGNING)  # type: ignore[arg-type]


def test_refuses_times_outside_an_issuer_and_the_anchor() -> None:
    past = (NOW - timedelta(days=9), NOW - SECOND)
    root = authority("ca root", FORGE.ca_root_key, "ca root", FORGE.ca_root_key, valid=past)
    ca = authority("ca", FORGE.ca_key, "ca root", FORGE.ca_root_key, valid=past)
    for issuers in ((CA, parsed(root)), (parsed(ca), CA_ROOT)):
        with pytest.raises(ChainInvalid, match="issuer's certificate was not valid"):
            check(LEAF, *issuers)


def test_refuses_another_purpose() -> None:
    with pytest.raises(ChainInvalid, match="another purpose"):
        check(LEAF, CA, CA_ROOT, purpose=EKU_TIME_STAMPING)
    ca = authority(
        "ca", FORGE.ca_key, "ca root", FORGE.ca_root_key, purpose=ExtendedKeyUsageOID.TIME_STAMPING
    )
    with pytest.raises(ChainInvalid, match="excludes this purpose"):
        check(LEAF, parsed(ca), CA_ROOT)


def test_refuses_broken_links() -> None:
    stranger = Forge()
    with pytest.raises(ChainInvalid, match="not signed by its issuer"):
        check(LEAF, parsed(stranger.ca), CA_ROOT)
    with pytest.raises(ChainInvalid, match="not signed by its issuer"):
        check(LEAF, CA, parsed(stranger.ca_root))
    with pytest.raises(ChainInvalid, match="another name"):
        check(LEAF, CA_ROOT)
    with pytest.raises(ChainInvalid, match="no issuer"):
        check(LEAF)


def test_refuses_issuers_that_are_none() -> None:
    not_a_ca = parsed(timestamper("ca", FORGE.ca_key, "ca root", FORGE.ca_root_key))
    with pytest.raises(ChainInvalid, match="not an authority's"):
        check(LEAF, not_a_ca, CA_ROOT)
    builder = (
        x509.CertificateBuilder(
            common_name("ca root"), common_name("ca"), FORGE.ca_key.public_key(), 7
        )
        .not_valid_before(NOW)
        .not_valid_after(NOW)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(key_usage(), critical=True)
    )
    made = builder.sign(FORGE.ca_root_key, hashes.SHA256())
    with pytest.raises(ChainInvalid, match="not for certificates"):
        check(LEAF, parsed(made), CA_ROOT)


def test_refuses_longer_paths_than_allowed() -> None:
    narrow = parsed(
        authority("ca root", FORGE.ca_root_key, "ca root", FORGE.ca_root_key, path_length=0)
    )
    with pytest.raises(ChainInvalid, match="longer than an issuer allows"):
        check(LEAF, CA, narrow)
    enough = authority("ca root", FORGE.ca_root_key, "ca root", FORGE.ca_root_key, path_length=1)
    check(LEAF, CA, parsed(enough))

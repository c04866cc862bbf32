# SPDX-License-Identifier: Apache-2.0
"""Which chains the CA starts with."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from countermark.ca.authority import IssuingAuthority
from countermark.core.errors import SettingsError
from countermark.drivers.keys.file import FileSigner
from tests.support.authority import NOW, Chain, make_chain


def load(chain: Chain) -> IssuingAuthority:
    return IssuingAuthority.load(chain.certificates, FileSigner(chain.issuing_key))


def test_what_leaves_take_over() -> None:
    chain = make_chain()
    authority = load(chain)
    assert authority.chain == chain.certificates
    assert authority.profile.name == chain.issuing.subject.public_bytes()
    assert authority.profile.key_details == "PKIX_ECDSA_P256_SHA_256"
    first, last = authority.valid_s
    assert first < NOW.timestamp() < last


def test_root_alone_needs_no_purpose() -> None:
    chain = make_chain()
    authority = IssuingAuthority.load(chain.certificates[1:], FileSigner(chain.root_key))
    assert authority.profile.key_details == "PKIX_ECDSA_P384_SHA_384"


def test_key_of_another_certificate() -> None:
    other = FileSigner(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SettingsError, match="not the one in its first certificate"):
        IssuingAuthority.load(make_chain().certificates, other)


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        (make_chain(is_ca=False), "may not sign"),
        (make_chain(purposes=None), "not for code signing"),
        (make_chain(purposes=[ExtendedKeyUsageOID.TIME_STAMPING]), "not for code signing"),
    ],
)
def test_certificates_that_may_not_issue(chain: Chain, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(chain)


def test_chains_that_do_not_hold_together() -> None:
    chain, same_name, other = make_chain(), make_chain(), make_chain(name="other")
    signer = FileSigner(chain.issuing_key)
    intermediate, root = chain.certificates
    for certificates in (
        (),
        (intermediate,),
        (intermediate, same_name.certificates[1]),
        (intermediate, other.certificates[1]),
        (intermediate, root, intermediate),
        (intermediate, b"junk"),
    ):
        with pytest.raises(SettingsError):
            IssuingAuthority.load(certificates, signer)

# SPDX-License-Identifier: Apache-2.0
"""A certificate authority that answers with something else than it was asked for."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from countermark.client import certificate
from countermark.client.identity import IdentityToken
from countermark.client.keys.local import LocalKey
from countermark.client.transport import Transport
from countermark.core.errors import ChainInvalid, CountermarkError, IdentityMismatch, SCTInvalid
from tests.support.forge import ISSUER, NAME, Forge, Plan

_TOKEN = IdentityToken("a.secret.token", ISSUER, NAME, 4_000_000_000.0)


@pytest.fixture(scope="module")
def forge() -> Forge:
    return Forge()


def obtained(forge: Forge, key: ec.EllipticCurvePrivateKey, leaf: bytes) -> None:
    """What the client makes of `leaf`, asked for `key`."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(certificate, "request_certificate", lambda *_, **__: (leaf,))
        certificate.obtain_credential(
            Transport(), "https://ca.example", _TOKEN, forge.trusted_root(), LocalKey(key)
        )


def leaf_of(forge: Forge, key: ec.EllipticCurvePrivateKey, plan: Plan) -> bytes:
    return forge.leaf(key, plan).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_what_was_asked_for_is_taken(forge: Forge, key: ec.EllipticCurvePrivateKey) -> None:
    obtained(forge, key, leaf_of(forge, key, Plan()))


def test_a_certificate_of_another_key(forge: Forge, key: ec.EllipticCurvePrivateKey) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ChainInvalid, match="another key"):
        obtained(forge, key, leaf_of(forge, other, Plan()))


def test_a_certificate_of_another_address(forge: Forge, key: ec.EllipticCurvePrivateKey) -> None:
    plan = Plan(name=x509.RFC822Name("boss@example.org"))
    with pytest.raises(IdentityMismatch, match=r"boss@example\.org"):
        obtained(forge, key, leaf_of(forge, key, plan))


def test_a_certificate_of_an_authority_nobody_trusts(
    forge: Forge, key: ec.EllipticCurvePrivateKey
) -> None:
    with pytest.raises((ChainInvalid, SCTInvalid)):
        obtained(forge, key, leaf_of(Forge(), key, Plan()))


def test_a_certificate_on_no_log(forge: Forge, key: ec.EllipticCurvePrivateKey) -> None:
    with pytest.raises(SCTInvalid):
        obtained(forge, key, leaf_of(forge, key, Plan(scts=0)))


@pytest.mark.parametrize("leaf", [b"", b"\x30\x00", b"\x30\x84\xff\xff\xff\xff", b"x" * 1000])
def test_what_is_no_certificate(forge: Forge, key: ec.EllipticCurvePrivateKey, leaf: bytes) -> None:
    with pytest.raises(CountermarkError) as caught:
        obtained(forge, key, leaf)
    assert _TOKEN.text not in str(caught.value)

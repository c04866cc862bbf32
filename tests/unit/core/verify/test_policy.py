# SPDX-License-Identifier: Apache-2.0
"""Who a certificate names, and who is accepted."""

import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.core.crypto.certificate import Certificate
from countermark.core.errors import FormatError, IdentityMismatch, RequestRejected
from countermark.core.verify.policy import (
    AllOf,
    AnyOf,
    CertificateExtension,
    Identity,
    IdentityPattern,
    Policy,
    UnsafeAnyIdentity,
)
from countermark.core.verify.signer import SignerIdentity
from tests.support.forge import ISSUER, NAME, Forge, Plan
from tests.support.made_certificates import fulcio, to_der, utf8

FORGE = Forge()
REPOSITORY = "https://github.com/someone/something"
SIGNER = SignerIdentity("email", NAME, ISSUER, ((12, REPOSITORY),))
ME = Identity(NAME, ISSUER)


def signer_of(*extensions: tuple[int, bytes], **changes: object) -> SignerIdentity:
    more = tuple((fulcio(number, value), False) for number, value in extensions)
    plan = Plan(extensions=more, **changes)  # type: ignore[arg-type]
    leaf = FORGE.leaf(ec.generate_private_key(ec.SECP256R1()), plan)
    return SignerIdentity.from_certificate(Certificate.parse(to_der(leaf)))


def test_reads_both_forms_of_extensions() -> None:
    signer = signer_of((2, b"push"), (12, utf8(REPOSITORY)), (24, utf8("sub")), (99, b"new"))
    assert (signer.kind, signer.name, signer.issuer) == ("email", NAME, ISSUER)
    assert signer.extensions == ((2, "push"), (12, REPOSITORY), (24, "sub"))
    assert signer.extension(12) == REPOSITORY
    assert signer.extension(13) is None


@pytest.mark.parametrize("extension", [(12, b"bare"), (2, b"\xff"), (12, utf8("")), (2, b"")])
def test_refuses_extensions_that_are_not_text(extension: tuple[int, bytes]) -> None:
    with pytest.raises(FormatError):
        signer_of(extension)


def test_two_issuers_are_none() -> None:
    with pytest.raises(IdentityMismatch, match="two different issuers"):
        signer_of(issuer_v2="https://evil.example")
    assert signer_of(issuer_v2="").issuer == ISSUER


def test_a_certificate_names_exactly_one() -> None:
    ca = Certificate.parse(to_der(FORGE.ca))
    with pytest.raises(IdentityMismatch, match="0 names"):
        SignerIdentity.from_certificate(ca)


def test_an_identity_is_exact() -> None:
    assert ME.check(SIGNER) == f"{NAME}, by {ISSUER}"
    for other in (
        Identity(NAME.upper(), ISSUER),
        Identity(NAME, ISSUER + "/"),
        Identity(NAME[:-1], ISSUER),
        Identity(".*", ".*"),
    ):
        with pytest.raises(IdentityMismatch):
            other.check(SIGNER)
    for empty in (Identity("", ISSUER), Identity(NAME, "")):
        with pytest.raises(RequestRejected, match="is empty"):
            empty.check(SIGNER)
    with pytest.raises(IdentityMismatch):  # a certificate without issuer matches nothing
        ME.check(SIGNER._replace(issuer=""))


def test_patterns_match_whole_values() -> None:
    assert IdentityPattern(r".+@example\.org", r"https://.*").check(SIGNER)
    for pattern in (("example", ".*"), (r"me@", ".*"), (".*", "https"), (f"{NAME}$", "x")):
        with pytest.raises(IdentityMismatch):
            IdentityPattern(*pattern).check(SIGNER)
    with pytest.raises(IdentityMismatch):
        IdentityPattern(NAME, ".*").check(SIGNER._replace(name=NAME + "\n"))
    for bad in (("(", ".*"), ("", ".*"), (".*", "")):
        with pytest.raises(RequestRejected):
            IdentityPattern(*bad).check(SIGNER)


def test_extensions_are_compared() -> None:
    assert CertificateExtension("source-repository-uri", REPOSITORY).check(SIGNER)
    for name, value in (("source-repository-uri", "x"), ("build-trigger", "push")):
        with pytest.raises(IdentityMismatch):
            CertificateExtension(name, value).check(SIGNER)
    with pytest.raises(RequestRejected, match="no certificate extension"):
        CertificateExtension("nonsense", "x").check(SIGNER)


def test_what_a_certificate_does_not_say_matches_no_pattern() -> None:
    with pytest.raises(IdentityMismatch, match="names no issuer"):
        IdentityPattern(".*", ".*").check(SIGNER._replace(issuer=""))


def test_a_name_cannot_make_a_pattern_slow() -> None:
    started = time.process_time()
    with pytest.raises(IdentityMismatch):
        IdentityPattern(r"(\w+)*@example\.org", ".*").check(SIGNER._replace(name="a" * 200 + "!"))
    assert time.process_time() - started < 2


def test_all_and_any() -> None:
    you = Identity("you@example.org", ISSUER)
    repository = CertificateExtension("source-repository-uri", REPOSITORY)
    good: tuple[Policy, ...] = (
        AllOf((ME, repository)), AnyOf((you, ME)), AnyOf((AllOf((you,)), AllOf((ME,)))),
        UnsafeAnyIdentity(),
    )  # fmt: skip
    for policy in good:
        assert policy.check(SIGNER)
    bad: tuple[Policy, ...] = (AllOf((ME, you)), AnyOf((you,)), AllOf((AnyOf((you,)), ME)))
    for policy in bad:
        with pytest.raises(IdentityMismatch):
            policy.check(SIGNER)
    for empty in (AllOf(()), AnyOf(())):
        with pytest.raises(RequestRejected, match="asks for nothing"):
            empty.check(SIGNER)

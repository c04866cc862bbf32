# SPDX-License-Identifier: Apache-2.0
"""Claims to names: what is taken, what is refused, and in what order it stands."""

from typing import Any

import pytest

from countermark.core.errors import RequestRejected, TokenRejected
from countermark.core.identity.claims import (
    CertificateIdentity,
    certificate_identity,
    principal_from_token,
)
from countermark.core.identity.token import VerifiedToken

ISSUER = "https://issuer.example"


def email(**claims: Any) -> VerifiedToken:
    standard = {"email": "ann@example.com", "email_verified": True, "sub": "s-1"}
    return VerifiedToken(ISSUER, "email", {**standard, **claims})


def test_email() -> None:
    principal = principal_from_token(email())
    assert principal.name == "ann@example.com"
    assert certificate_identity(principal) == CertificateIdentity(
        "email", "ann@example.com", ((1, ISSUER), (8, ISSUER), (24, "s-1"))
    )


def test_missing_subject_is_left_out() -> None:
    identity = certificate_identity(principal_from_token(email(sub=None)))
    assert [number for number, _ in identity.extensions] == [1, 8]


@pytest.mark.parametrize(
    "address",
    [
        "a@b.c",
        "first.last+tag@sub.example.com",
        "o'neil@example.com",
        "a@xn--bcher-kva.example",
        "1@2.three",
    ],
)
def test_addresses_that_are_well_formed(address: str) -> None:
    assert principal_from_token(email(email=address)).name == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        "ann",
        "ann@",
        "@example.com",
        "ann@example",
        "ann@.example.com",
        "ann@example.com.",
        "ann@-example.com",
        "ann@exa mple.com",
        "ann ann@example.com",
        ".ann@example.com",
        "ann.@example.com",
        "an..n@example.com",
        "ann@bob@example.com",
        '"ann"@example.com',
        "ann@example.com\n",
        "ann\x00@example.com",
        "a" * 250 + "@b.cd",
        "\ud800@example.com",
    ],
)
def test_addresses_that_are_not(address: str) -> None:
    with pytest.raises(TokenRejected):
        principal_from_token(email(email=address))


@pytest.mark.parametrize("value", [False, None, 0, 1, "yes", "TRUE", [True], {}])
def test_unverified_addresses(value: object) -> None:
    with pytest.raises(TokenRejected, match="not verified"):
        principal_from_token(email(email_verified=value))


@pytest.mark.parametrize("value", [7, ["a@b.c"], {"a": 1}, True])
def test_addresses_that_are_no_text(value: object) -> None:
    with pytest.raises(TokenRejected, match="not text"):
        principal_from_token(email(email=value))


def test_unknown_issuer_type() -> None:
    with pytest.raises(TokenRejected, match="spiffe"):
        principal_from_token(VerifiedToken(ISSUER, "spiffe", {}))


def test_address_without_a_form_in_certificates() -> None:
    principal = principal_from_token(email(email="bücher@example.com"))
    with pytest.raises(RequestRejected, match="cannot be encoded as an IA5String"):
        certificate_identity(principal)

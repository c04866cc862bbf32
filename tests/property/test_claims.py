# SPDX-License-Identifier: Apache-2.0
"""Claims: whatever an issuer signs becomes an identity that fits a certificate, or a refusal."""

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from countermark.core.crypto.certificate import Certificate
from countermark.core.errors import CountermarkError
from countermark.core.identity.claims import certificate_identity, principal_from_token
from countermark.core.identity.profile import IssuerProfile, LeafTemplate, subject_key_id
from countermark.core.identity.token import VerifiedToken
from countermark.core.identity.uri import printed_uri
from tests.support.authority import github_claims, make_chain, spki

KEY = spki(make_chain().issuing_key)
ISSUER = IssuerProfile(b"\x30\x00", bytes(20), "PKIX_ECDSA_P256_SHA_256")
VALUE = st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.lists(st.text())


def check(token: VerifiedToken) -> None:
    """Raises one of our errors, or the identity stands in a certificate as it is."""
    identity = certificate_identity(principal_from_token(token))
    template = LeafTemplate.for_identity(
        identity, KEY, subject_key_id(KEY), ISSUER, serial=1, not_before_s=1
    )
    parsed = Certificate.parse(template.certificate(template.tbs(), b"sig"))
    (san,) = parsed.subject_alternative_names()
    assert (san.kind, san.value) == (identity.san_type, identity.san_value)
    assert len(parsed.extensions) == 5 + len(identity.extensions)


@given(st.dictionaries(st.sampled_from(["email", "email_verified", "sub"]), VALUE), st.text())
def test_any_email_claims(claims: dict[str, Any], issuer: str) -> None:
    with contextlib.suppress(CountermarkError):
        check(VerifiedToken(issuer, "email", claims))


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_address(local: str, domain: str) -> None:
    claims = {"email": f"{local}@{domain}.example", "email_verified": True}
    with contextlib.suppress(CountermarkError):
        check(VerifiedToken("https://issuer", "email", claims))


@given(st.dictionaries(st.sampled_from(sorted(github_claims())), VALUE, max_size=3))
def test_any_github_claims(changes: dict[str, Any]) -> None:
    with contextlib.suppress(CountermarkError):
        check(VerifiedToken("https://issuer", "github-workflow", github_claims(**changes)))


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_printed_uris_are_ascii_and_stay_as_they_are(rest: str) -> None:
    with contextlib.suppress(CountermarkError):
        printed = printed_uri("https://github.com", "/" + rest)
        assert printed.isascii()
        again = printed_uri("https://github.com", printed.removeprefix("https://github.com"))
        assert again == printed

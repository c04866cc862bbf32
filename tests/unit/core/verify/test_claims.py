# SPDX-License-Identifier: Apache-2.0
"""Claims under the names that people use."""

import pytest

from countermark.core.errors import IdentityMismatch, RequestRejected
from countermark.core.verify.claims import CLAIMS, Claim, ClaimPattern, extensions_of
from countermark.core.verify.glob import escape, matches
from countermark.core.verify.policy import Issuer
from countermark.core.verify.signer import EXTENSION_NAMES, SignerIdentity

REPOSITORY = "https://github.com/octo/app"
WORKFLOW = f"{REPOSITORY}/.github/workflows/release.yml"
SHARED = "https://github.com/slsa/builder/.github/workflows/go.yml"
REF = "refs/tags/v1.2"
SIGNER = SignerIdentity(
    "uri",
    f"{SHARED}@refs/tags/v9",
    "https://token.actions.githubusercontent.com",
    (
        (2, "push"),
        (3, "c0ffee"),
        (4, "Release"),
        (5, "octo/app"),
        (6, REF),
        (9, f"{SHARED}@refs/tags/v9"),
        (11, "github-hosted"),
        (12, REPOSITORY),
        (13, "c0ffee"),
        (14, REF),
        (15, "1001"),
        (16, "https://github.com/octo"),
        (17, "77"),
        (18, f"{WORKFLOW}@{REF}"),
        (20, "push"),
        (22, "public"),
        (23, "production"),
    ),
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("repository", REPOSITORY),
        ("repository", "octo/app"),
        ("repository-id", "1001"),
        ("owner", "octo"),
        ("owner", "https://github.com/octo"),
        ("owner-id", "77"),
        ("workflow", ".github/workflows/release.yml"),
        ("workflow", WORKFLOW),
        ("workflow", f"{WORKFLOW}@{REF}"),
        ("workflow-name", "Release"),
        ("signer-workflow", SHARED),
        ("signer-workflow", f"{SHARED}@refs/tags/v9"),
        ("ref", REF),
        ("ref", "refs/tags/v*"),
        ("ref", "**"),
        ("commit", "c0ffee"),
        ("trigger", "push"),
        ("runner", "github-hosted"),
        ("visibility", "public"),
        ("environment", "production"),
        ("source-repository-uri", REPOSITORY),
        ("1.3.6.1.4.1.57264.1.12", REPOSITORY),
        ("1.3.6.1.4.1.57264.1.5", "octo/app"),
    ],
)
def test_claims_that_hold(name: str, value: str) -> None:
    assert Claim(name, (value,)).check(SIGNER).startswith(name)
    assert Claim(name, ("other", value)).check(SIGNER)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("repository", "octo/ap"),
        ("repository", "app"),
        ("repository", "github.com/octo/app"),
        ("repository", "https://gitlab.com/octo/app"),
        ("repository", "octo/*"),
        ("owner", "oct"),
        ("owner", "octo/app"),
        ("workflow", "release.yml"),
        ("workflow", "workflows/release.yml"),
        ("workflow", ".github/workflows/*.yml"),
        ("workflow", f"{WORKFLOW}@refs/tags/v1"),
        ("signer-workflow", ".github/workflows/go.yml"),
        ("ref", "refs/tags/v*.3"),
        ("ref", "refs/*"),
        ("ref", "tags/v1.2"),
        ("ref", "v1.2"),
        ("commit", "c0ffe*"),
        ("trigger", "PUSH"),
    ],
)
def test_claims_that_do_not(name: str, value: str) -> None:
    with pytest.raises(IdentityMismatch) as caught:
        Claim(name, (value,)).check(SIGNER)
    assert caught.value.expected == value
    assert caught.value.found


def without(*numbers: int) -> SignerIdentity:
    return SIGNER._replace(
        extensions=tuple(item for item in SIGNER.extensions if item[0] not in numbers)
    )


def test_what_is_not_said_is_not_so() -> None:
    for claim in (Claim("run", ("x",)), ClaimPattern("run", ".*"), Claim("workflow", ("x",))):
        with pytest.raises(IdentityMismatch, match="names no"):
            claim.check(without(18))


def test_old_and_new_extensions_must_agree() -> None:
    two_refs = without(6)._replace(extensions=((6, "refs/heads/evil"), *without(6).extensions))
    with pytest.raises(IdentityMismatch, match="refs/heads/evil"):
        Claim("ref", (REF,)).check(two_refs)
    assert Claim("ref", (REF,)).check(without(14))
    assert Claim("ref", (REF,)).check(without(6))


def test_an_old_certificate_names_repositories_without_a_host() -> None:
    old = without(12)
    assert Claim("repository", ("octo/app",)).check(old)
    assert Claim("repository", (REPOSITORY,)).check(old)
    with pytest.raises(IdentityMismatch):
        Claim("repository", ("https://ghe.example/octo/app",)).check(old)
    ghe = SIGNER._replace(extensions=((5, "octo/app"), (12, "https://ghe.example/octo/app")))
    assert Claim("repository", ("https://ghe.example/octo/app",)).check(ghe)
    with pytest.raises(IdentityMismatch):
        Claim("repository", (REPOSITORY,)).check(ghe)


@pytest.mark.parametrize(
    "uri",
    [
        f"{WORKFLOW}@refs/heads/a@refs/heads/b",
        f"{WORKFLOW}@refs/heads/a@{REF}",
        f"{WORKFLOW}@{'ab' * 20}@refs/heads/b",
        f"{REPOSITORY}-evil/.github/workflows/release.yml@{REF}",
        f"{REPOSITORY}.evil/.github/workflows/release.yml@{REF}",
    ],
)
def test_no_ref_makes_another_workflow_of_it(uri: str) -> None:
    signer = without(18)._replace(extensions=(*without(18).extensions, (18, uri)))
    for value in (".github/workflows/release.yml", WORKFLOW):
        with pytest.raises(IdentityMismatch):
            Claim("workflow", (value,)).check(signer)


def test_patterns_match_all_of_what_is_said() -> None:
    assert ClaimPattern("repository", r"https://github\.com/octo/.*").check(SIGNER)
    with pytest.raises(IdentityMismatch):
        ClaimPattern("repository", "octo/app").check(SIGNER)
    for bad in ("(", ""):
        with pytest.raises(RequestRejected):
            ClaimPattern("repository", bad).check(SIGNER)


def test_empty_and_unknown_claims_are_refused() -> None:
    for claim in (Claim("repository", ()), Claim("repository", ("",)), Claim("nonsense", ("x",))):
        with pytest.raises(RequestRejected):
            claim.check(SIGNER)
    for name in ("1.3.6.1.4.1.57264.1.1", "1.3.6.1.4.1.57264.1.8", "1.3.6.1.4.1.57264.1.012",
                 "1.3.6.1.4.1.57264.1.", "12", "1.3.6.1.4.1.57264.1.٣"):  # fmt: skip
        with pytest.raises(RequestRejected, match="no certificate extension"):
            extensions_of(name)


def test_every_extension_has_a_friendly_name() -> None:
    assert {number for numbers in CLAIMS.values() for number in numbers} == set(EXTENSION_NAMES)


def test_an_issuer_alone_is_compared_exactly() -> None:
    assert Issuer(SIGNER.issuer).check(SIGNER)
    with pytest.raises(IdentityMismatch):
        Issuer(SIGNER.issuer + "/").check(SIGNER)
    with pytest.raises(RequestRejected):
        Issuer("").check(SIGNER)


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("app-*.tar.gz", "app-1.tar.gz", True),
        ("app-*.tar.gz", "app-.tar.gz", True),
        ("app-*.tar.gz", "app-1.tar.gz.exe", False),
        ("*", "a/b", False),
        ("**", "a/b", True),
        ("a**c", "a/b/c", True),
        ("***", "", True),
        ("a[b]?", "a[b]?", True),
        ("a?", "ab", False),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        (r"\\", "\\", True),
        ("*\n*", "a\nb", True),
        ("a", "A", False),
    ],
)
def test_globs(glob: str, name: str, fits: bool) -> None:
    assert matches(glob, name) is fits


def test_bad_globs_are_refused() -> None:
    for glob in ("", "a\\", "a" * 513):
        with pytest.raises(RequestRejected):
            matches(glob, "a")
    assert not matches("**", "a" * 4097)
    assert escape(r"a*b\c") == r"a\*b\\c"
    assert matches(escape(r"a*b\c"), r"a*b\c")

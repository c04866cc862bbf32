# SPDX-License-Identifier: Apache-2.0
"""When a later signature is by the same signer, and what changed when it is not."""

import pytest

from countermark.core.policy.same_signer import Comparison, compare
from countermark.core.verify.signer import SignerIdentity

GITHUB = "https://token.actions.githubusercontent.com"
REPOSITORY = "https://github.com/octo/app"
WORKFLOW = f"{REPOSITORY}/.github/workflows/release.yml"


def build(ref: str = "refs/tags/v1", repository: str = REPOSITORY, **more: str) -> SignerIdentity:
    """A GitHub workflow's identity; `more` are extensions, as ``x15``."""
    path = "/.github/workflows/release.yml@"
    values = {
        2: "push",
        5: repository.removeprefix("https://github.com/"),
        6: ref,
        9: f"{repository}{path}{ref}",
        11: "github-hosted",
        12: repository,
        14: ref,
        15: "1001",
        16: repository.rpartition("/")[0],
        17: "77",
        18: f"{repository}{path}{ref}",
        20: "push",
    } | {int(name[1:]): text for name, text in more.items()}
    extensions = tuple(sorted((number, text) for number, text in values.items() if text))
    return SignerIdentity("uri", values[9], GITHUB, extensions)


def changed(comparison: Comparison) -> list[str]:
    return [item.what for item in comparison.changes]


def test_another_version_is_the_same_signer() -> None:
    found = compare(build("refs/tags/v1"), build("refs/tags/v2"))
    assert found.same
    assert found.notes == ()


def test_a_renamed_repository_is_the_same_signer() -> None:
    found = compare(build(), build(repository="https://github.com/octo/application"))
    assert found.same
    (note,) = found.notes
    assert str(note) == (
        f"repository was {REPOSITORY}, now https://github.com/octo/application"
        " (renamed: its id is the same)"
    )


def test_a_renamed_owner_is_the_same_signer() -> None:
    found = compare(build(), build(repository="https://github.com/octopus/app"))
    assert found.same
    assert [note.what for note in found.notes] == ["repository", "owner"]


def test_a_transferred_repository_is_another_signer() -> None:
    found = compare(build(), build(repository="https://github.com/other/app", x17="78"))
    assert changed(found) == ["owner id"]
    assert "went from https://github.com/octo to https://github.com/other" in str(found.changes[0])


def test_a_repository_made_anew_under_the_old_name_is_another_signer() -> None:
    found = compare(build(), build(x15="2002"))
    assert changed(found) == ["repository id"]
    assert f"another repository under the same name, {REPOSITORY}" in str(found.changes[0])


def test_another_workflow_is_another_signer() -> None:
    other = f"{REPOSITORY}/.github/workflows/test.yml@refs/tags/v1"
    assert changed(compare(build(), build(x18=other))) == ["workflow"]
    assert changed(compare(build(), build(x9=other))) == ["signing workflow"]


def test_a_reusable_workflow_of_another_repository_moves_on_by_ref_only() -> None:
    shared = "https://github.com/slsa/builder/.github/workflows/go.yml"
    first, second = build(x9=f"{shared}@refs/tags/v1"), build(x9=f"{shared}@refs/tags/v2")
    assert compare(first, second).same
    pinned = build(x9=f"{shared}@{'ab' * 20}")
    assert compare(first, pinned).same
    assert changed(compare(first, build(x9=shared.replace("slsa", "evil")))) == ["signing workflow"]


@pytest.mark.parametrize(
    "crafted",
    [
        f"{WORKFLOW}@refs/heads/x@refs/tags/v1",
        f"{WORKFLOW}x@refs/tags/v1",
        f"{REPOSITORY}-evil/.github/workflows/release.yml@refs/tags/v1",
    ],
)
def test_no_name_of_a_ref_or_file_makes_another_workflow_the_same(crafted: str) -> None:
    assert not compare(build(), build(x18=crafted)).same


def test_another_issuer_is_another_signer() -> None:
    found = compare(build(), build()._replace(issuer="https://evil.example"))
    assert changed(found) == ["issuer"]


def test_a_certificate_that_stops_saying_ids_is_another_signer() -> None:
    found = compare(build(), build(x15="", x17=""))
    assert "repository id" in changed(found)
    assert str(found.changes[0]) == "repository id was 1001, now not stated"
    assert not compare(build(x15=""), build()).same


def test_what_does_not_decide_is_noted() -> None:
    found = compare(
        build(), build("refs/heads/evil", x2="pull_request", x20="pull_request", x11="self-hosted")
    )
    assert found.same
    assert [note.what for note in found.notes] == ["kind of ref", "trigger", "runner"]
    assert str(found.notes[0]) == "kind of ref was tag, now refs/heads/evil"
    pull = compare(build(), build("refs/pull/7/merge"))
    assert pull.notes[0].now == "pull request"


def test_old_certificates_without_ids_are_told_by_their_workflow() -> None:
    old = {"x9": "", "x12": "", "x14": "", "x15": "", "x16": "", "x17": "", "x18": ""}
    first, second = (
        build(ref, **old)._replace(name=f"{WORKFLOW}@{ref}")
        for ref in ("refs/tags/v1", "refs/tags/v2")
    )
    assert compare(first, second).same
    other = second._replace(name=f"{REPOSITORY}/.github/workflows/other.yml@refs/tags/v2")
    assert changed(compare(first, other)) == ["identity"]


def test_people_are_told_by_issuer_and_address() -> None:
    ada = SignerIdentity("email", "ada@example.org", "https://accounts.example.org", ())
    assert compare(ada, ada).same
    assert changed(compare(ada, ada._replace(name="bob@example.org"))) == ["identity"]
    assert changed(compare(ada, ada._replace(issuer="https://evil.example"))) == ["issuer"]


def test_a_name_that_only_looks_like_a_ref_is_compared_whole() -> None:
    """Without a ref in the certificate, what stands behind an "@" may be another person."""
    one = SignerIdentity("uri", "https://x.example/a@refs/tags/1", "https://i.example", ())
    assert not compare(one, one._replace(name="https://x.example/a@refs/tags/2")).same

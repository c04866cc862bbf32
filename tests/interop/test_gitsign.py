# SPDX-License-Identifier: Apache-2.0
"""gitsign: commits and tags, offline, told about the instance by `countermark trust install`."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.git import Repository
from tests.support.matrix import Kind
from tests.support.peers import ADA, BOB, Did, Ours, Recorder, installed
from tests.support.running import Done, Running

# No network but the instance's own: a look at the public trust root would fail.
NOWHERE = "http://127.0.0.1:1"
pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("gitsign")]


@pytest.fixture
def gitsign() -> str:
    return installed("go", "gitsign")


@pytest.fixture
def did(gitsign: str, instance: Running, recorder: Recorder) -> Did:
    done = instance.run(gitsign, "--version")
    return recorder("gitsign", done.out.split()[2].removeprefix("v"))


@pytest.fixture
def repository(instance: Running, gitsign: str, tmp_path: Path) -> Iterator[Repository]:
    """A repository that signs with gitsign; `countermark git verify` works in it all the same."""
    home = {"HOME": str(tmp_path), "HTTPS_PROXY": NOWHERE}
    made = Repository.create(instance, tmp_path / "repository", **home)
    for client in ("gitsign", "cosign"):
        done = made.countermark("trust", "install", "--for", client, "--url", instance.url)
        assert done.code == 0, done.err
    (variables,) = (instance.registry / "peers/gitsign").glob("*/env")
    told = dict(re.findall(r"^export (\w+)='([^']*)'$", variables.read_text(), re.MULTILINE))
    assert len(told) == 3
    made = replace(made, environment=(*home.items(), *told.items()))
    made.git("config", "gpg.format", "x509")
    use(made, gitsign)
    made.git("config", "commit.gpgSign", "true")
    yield made
    for client in ("gitsign", "cosign"):
        made.countermark("trust", "uninstall", "--for", client, "--url", instance.url)


def use(repository: Repository, program: str) -> None:
    repository.git("config", "gpg.x509.program", program)


def theirs(repository: Repository, gitsign: str, what: str, *more: str, who: str = ADA) -> Done:
    """`gitsign verify` or `verify-tag` with an expected identity."""
    issuer = repository.instance.issuer
    expected = ("--certificate-identity", who, "--certificate-oidc-issuer", issuer)
    return repository.run(gitsign, what, *expected, *more)


def believes(done: Done) -> None:
    assert done.code == 0, done.err
    assert "Validated Git signature: true" in done.out
    assert "Validated Certificate claims: true" in done.out


def test_we_verify_theirs(repository: Repository, gitsign: str, ours: Ours, did: Did) -> None:
    token = {"SIGSTORE_ID_TOKEN": ours.token()}
    plain = repository.commit("plain", **token)
    repository.git("tag", "--sign", "v1", "--message", "release", **token)
    stamp = {"GITSIGN_TIMESTAMP_SERVER_URL": f"{repository.instance.url}/api/v1/timestamp"}
    stamped = repository.commit("stamped", **token, **stamp)
    believes(theirs(repository, gitsign, "verify", plain))
    expect = repository.expect()
    done = repository.countermark("git", "verify", "--json", *expect, plain, "v1", stamped)
    assert done.code == 0, done.out
    results = done.json["results"]
    assert [(item["type"], item["identity"]) for item in results] == [
        ("commit", ADA),
        ("tag", ADA),
        ("commit", ADA),
    ]
    sources = [{time["source"] for time in item["times"]} for item in results]
    assert sources == [{"log"}, {"log"}, {"log", "timestamp"}]
    refused = repository.countermark("git", "verify", *repository.expect(BOB), plain, "v1")
    assert (refused.code, refused.err.count("identity is")) == (1, 2)
    did(Kind.SIGNED, "commits", "tags", "commits with a timestamp")


def test_they_verify_ours(repository: Repository, gitsign: str, did: Did) -> None:
    repository.set_up("--replace")
    plain = repository.commit("plain")
    repository.git("tag", "--sign", "v1", "--message", "release")
    believes(theirs(repository, gitsign, "verify", plain))
    believes(theirs(repository, gitsign, "verify-tag", "v1"))
    use(repository, gitsign)
    assert repository.try_git("verify-commit", plain).code == 0
    assert repository.try_git("verify-tag", "v1").code == 0
    assert repository.shown(plain) == "G"
    did(Kind.VERIFIED, "commits", "tags", "`git verify-commit` and `verify-tag` through it")


def test_they_verify_our_timestamps(repository: Repository, gitsign: str, did: Did) -> None:
    repository.set_up("--replace", "--cache", "--timestamps")
    try:
        repository.commit("gets a certificate")
        # gitsign wants more than the token's accuracy between certificate and timestamp.
        time.sleep(2.1)
        believes(theirs(repository, gitsign, "verify", repository.commit("stamped")))
    finally:
        repository.countermark("git", "cache", "stop")
    did(Kind.VERIFIED, "commits with a timestamp")


@pytest.mark.parametrize("signer", ["they", "we"])
def test_they_refuse(
    repository: Repository, gitsign: str, ours: Ours, did: Did, signer: str
) -> None:
    token = {"SIGSTORE_ID_TOKEN": ours.token()} if signer == "they" else {}
    if signer == "we":
        repository.set_up("--replace")
    first, second = repository.commit("first", **token), repository.commit("second", **token)
    content = repository.git("cat-file", "commit", first)
    swapped = repository.write("commit", content.replace("\n\nfirst", "\n\nthird") + "\n")
    assert content.count("gpgsig ") == 1
    for what, done in {
        "other identity": theirs(repository, gitsign, "verify", second, who=BOB),
        "signature of another commit": theirs(repository, gitsign, "verify", swapped),
    }.items():
        assert done.code == 1, f"{what}: {done.out}"
    ours_says = repository.countermark("git", "verify", *repository.expect(), swapped)
    assert ours_says.code == 1
    did(Kind.REFUSED, "other identity", "signature of another commit")


def test_their_online_mode_needs_the_search_that_we_do_not_have(
    repository: Repository, gitsign: str, ours: Ours, did: Did
) -> None:
    made = repository.commit("online", SIGSTORE_ID_TOKEN=ours.token(), GITSIGN_REKOR_MODE="online")
    done = repository.countermark("git", "verify", *repository.expect(), made)
    assert (done.code, "carries no log entry" in done.err) == (1, True)
    refused = theirs(repository, gitsign, "verify", made)
    assert (refused.code, "501" in refused.err) == (1, True)
    did(Kind.ALSO, "signs in online mode, whose verification needs Rekor's search by key")

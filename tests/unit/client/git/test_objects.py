# SPDX-License-Identifier: Apache-2.0
"""What was signed of a commit or tag is what Git takes for it, and nothing slips in beside it."""

import hashlib

import pytest

from countermark.client.git.objects import SignedObject, parse_object
from countermark.core.errors import CountermarkError, FormatError, NotFound, SignatureInvalid

PEM = "-----BEGIN SIGNED MESSAGE-----\nTUlJ\n-----END SIGNED MESSAGE-----\n"
FOLDED = PEM.rstrip("\n").replace("\n", "\n ")
HEAD = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b> 1 +0000\n"
COMMITTER = "committer A <a@b> 1 +0000\n"
TAG = "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag v1\ntagger A <a@b> 1 +0\n"


def read(kind: str, text: str, hash_name: str = "sha1") -> SignedObject:
    data = text.encode()
    oid = hashlib.new(hash_name, f"{kind} {len(data)}\0".encode() + data).hexdigest()
    return parse_object(oid, kind, data)


def test_a_commit() -> None:
    found = read("commit", f"{HEAD}{COMMITTER}gpgsig {FOLDED}\n\nmessage\n\nmore\n")
    payload = f"{HEAD}{COMMITTER}\nmessage\n\nmore\n".encode()
    assert found == SignedObject("commit", payload, PEM.encode(), "")


def test_the_signature_may_stand_between_headers() -> None:
    found = read("commit", f"{HEAD}gpgsig {FOLDED}\n{COMMITTER}\nmessage\n")
    assert found.payload == f"{HEAD}{COMMITTER}\nmessage\n".encode()
    assert found.signature == PEM.encode()


def test_a_commit_without_message() -> None:
    found = read("commit", f"{HEAD}{COMMITTER}gpgsig {FOLDED}\n\n")
    assert found.payload == f"{HEAD}{COMMITTER}\n".encode()
    assert found.signature == PEM.encode()


def test_a_commit_of_a_sha256_repository() -> None:
    found = read("commit", f"{HEAD}{COMMITTER}gpgsig-sha256 {FOLDED}\n\nm\n", "sha256")
    assert found.payload == f"{HEAD}{COMMITTER}\nm\n".encode()
    with pytest.raises(FormatError, match="second signature header"):
        read("commit", f"{HEAD}{COMMITTER}gpgsig {FOLDED}\n\nm\n", "sha256")


def test_a_merged_tag_belongs_to_what_is_signed() -> None:
    merged = "mergetag object 4b\n type commit\n tag v1\n \n text\n " + FOLDED
    found = read("commit", f"{HEAD}{COMMITTER}{merged}\ngpgsig {FOLDED}\n\nm\n")
    assert found.payload == f"{HEAD}{COMMITTER}{merged}\n\nm\n".encode()


def test_a_tag() -> None:
    found = read("tag", f"{TAG}\nrelease\n{PEM}")
    assert found == SignedObject("tag", f"{TAG}\nrelease\n".encode(), PEM.encode(), "v1")
    assert read("tag", f"{TAG}\n{PEM}").payload == f"{TAG}\n".encode()


def test_the_last_signature_of_a_tag_counts() -> None:
    found = read("tag", f"{TAG}\nrelease\n{PEM}{PEM}")
    assert found.payload == f"{TAG}\nrelease\n{PEM}".encode()
    with pytest.raises(NotFound, match="OpenPGP"):
        read("tag", f"{TAG}\nrelease\n{PEM}-----BEGIN PGP SIGNATURE-----\nx\n")


@pytest.mark.parametrize(
    ("kind", "text", "error", "why"),
    [
        ("commit", f"{HEAD}{COMMITTER}\nm\n", NotFound, "is not signed"),
        ("commit", "", NotFound, "is not signed"),
        ("tag", f"{TAG}\nrelease\n", NotFound, "is not signed"),
        ("tag", f"{TAG}\nrelease -----BEGIN SIGNED MESSAGE-----\n", NotFound, "is not signed"),
        (
            "commit",
            f"{HEAD}{COMMITTER}gpgsig -----BEGIN PGP SIGNATURE-----\n\nm\n",
            NotFound,
            "OpenPGP",
        ),
        (
            "commit",
            f"{HEAD}{COMMITTER}gpgsig -----BEGIN SSH SIGNATURE-----\n\nm\n",
            NotFound,
            "another kind",
        ),
        (
            "commit",
            f"{HEAD}{COMMITTER}gpgsig {FOLDED}\ngpgsig {FOLDED}\n\nm\n",
            FormatError,
            "second signature header",
        ),
        (
            "commit",
            f"{HEAD}{COMMITTER}gpgsig {FOLDED}\ngpgsig-sha256 anything at all\n\nm\n",
            FormatError,
            "second signature header",
        ),
        ("tag", f"{TAG}gpgsig hidden\n\nrelease\n{PEM}", FormatError, "signature header"),
        ("tag", f"{TAG}gpgsig-sha256 hidden\n\nrelease\n{PEM}", FormatError, "signature header"),
        ("tag", f"{TAG}tag v2\n\nrelease\n{PEM}", FormatError, "two names"),
        ("blob", PEM, FormatError, "is a blob"),
        ("tree", "", FormatError, "is a tree"),
    ],
)
def test_what_is_refused(kind: str, text: str, error: type[CountermarkError], why: str) -> None:
    with pytest.raises(error, match=why):
        read(kind, text)


def test_an_object_that_is_not_what_its_id_says() -> None:
    data = f"{HEAD}{COMMITTER}gpgsig {FOLDED}\n\nm\n".encode()
    with pytest.raises(SignatureInvalid, match="another object"):
        parse_object("0" * 40, "commit", data)

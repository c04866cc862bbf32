# SPDX-License-Identifier: Apache-2.0
"""sigstore-python, through its own TUF client, goes on while every key of an instance changes."""

from pathlib import Path

import pytest

from tests.support.inside import inside
from tests.support.peers import ADA, Ours
from tests.support.running import Done

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("rotation")]
SERVICES = ("tsa", "ca", "login", "tuf", "log")


def theirs(ours: Ours, sigstore: str, *arguments: str) -> Done:
    address, _ = ours.tuf
    return ours.instance.run(sigstore, "--instance", address, *arguments, HOME=str(ours.folder))


def both_sign(ours: Ours, sigstore: str, when: str) -> list[Path]:
    by_us, by_them = (ours.file(f"{when}\n", f"{when}-{who}") for who in ("ours", "theirs"))
    ours.sign(by_us)
    token = ours.instance.token(ADA)
    done = theirs(ours, sigstore, "sign", "--identity-token", token, str(by_them))
    assert done.code == 0, done.err
    return [by_us, by_them]


def rotate(ours: Ours, *options: str) -> None:
    for service in SERVICES:
        done = inside(
            ours.instance,
            *("trust", "rotate", service, "--data", str(ours.instance.data), *options),
        )
        assert done.code == 0, done.err


def test_what_was_signed_before_between_and_after_verifies(ours: Ours, sigstore: str) -> None:
    trusted = theirs(ours, sigstore, "trust-instance", ours.tuf[1])
    assert trusted.code == 0, trusted.err
    files = both_sign(ours, sigstore, "before")
    rotate(ours)
    files += both_sign(ours, sigstore, "between")
    rotate(ours, "--continue", "--now")
    files += both_sign(ours, sigstore, "after")
    policy = ("--cert-identity", ADA, "--cert-oidc-issuer", ours.instance.issuer)
    verified = theirs(ours, sigstore, "verify", "identity", *policy, *map(str, files))
    assert verified.code == 0, verified.err
    assert verified.err.count("OK: ") == len(files) == 6
    for file in files:
        ours.believes(file, Path(f"{file}.sigstore.json"))
    files[-1].write_text("changed\n")
    done = theirs(ours, sigstore, "verify", "identity", *policy, str(files[-1]))
    assert done.code != 0

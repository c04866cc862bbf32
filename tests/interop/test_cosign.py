# SPDX-License-Identifier: Apache-2.0
"""cosign: files and attestations, told about the instance by files or by `cosign initialize`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.matrix import Kind
from tests.support.peers import (
    ADA,
    BOB,
    PREDICATE_TYPE,
    Did,
    Ours,
    Recorder,
    installed,
    with_other_signature,
    with_other_statement,
    without_promise,
)
from tests.support.running import Done

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("cosign")]


@dataclass(frozen=True)
class Cosign:
    """The command, with a home of its own for each test."""

    path: str
    ours: Ours
    by_files: bool

    def __call__(self, *arguments: str) -> Done:
        # No network but the instance's own: a look at the public trust root would fail.
        nowhere = {"HTTPS_PROXY": "http://127.0.0.1:1"}
        return self.ours.instance.run(
            self.path,
            *arguments,
            HOME=str(self.ours.folder),
            TMPDIR=str(self.ours.folder),
            **nowhere,
        )

    def initialize(self) -> None:
        mirror, root = self.ours.tuf
        done = self("initialize", "--mirror", mirror, "--root", root)
        assert done.code == 0, done.err

    def sign(self, what: str, file: Path, *more: str) -> Path:
        """`sign-blob` or `attest-blob` as Ada; returns the bundle."""
        bundle = Path(f"{file}.{what}.json")
        services = ("--signing-config", self.ours.signing_config) if self.by_files else ()
        done = self(
            *(what, "--yes", "--identity-token", self.ours.token(), "--bundle", str(bundle)),
            *(*services, *self.trust(), *more, str(file)),
        )
        assert done.code == 0, done.err
        return bundle

    def verify(self, what: str, bundle: Path, *more: str, identity: str = ADA) -> Done:
        """`verify-blob` or `verify-blob-attestation`."""
        issuer = self.ours.instance.issuer
        who = ("--certificate-identity", identity, "--certificate-oidc-issuer", issuer)
        return self(what, "--bundle", str(bundle), *who, *self.trust(), *more)

    def believes(self, what: str, bundle: Path, *more: str) -> None:
        done = self.verify(what, bundle, *more)
        assert (done.code, done.err.splitlines()[-1:]) == (0, ["Verified OK"]), done.err

    def trust(self) -> tuple[str, ...]:
        return ("--trusted-root", self.ours.trusted_root) if self.by_files else ()


@pytest.fixture(params=["by files", "through TUF"])
def cosign(ours: Ours, request: pytest.FixtureRequest) -> Cosign:
    client = Cosign(installed("go", "cosign"), ours, by_files=request.param == "by files")
    if not client.by_files:
        client.initialize()
    return client


@pytest.fixture
def did(cosign: Cosign, recorder: Recorder) -> Did:
    version = cosign("version", "--json").json["gitVersion"].removeprefix("v")
    return recorder("cosign", version)


@pytest.fixture
def how(cosign: Cosign) -> Callable[[str], str]:
    return lambda what: f"`{what}` {'by files' if cosign.by_files else 'after `initialize`'}"


def predicate(ours: Ours) -> tuple[str, ...]:
    file = ours.file('{"builder": "example", "é": "🔏"}', "predicate")
    return ("--predicate", str(file), "--type", PREDICATE_TYPE)


TYPE = ("--type", PREDICATE_TYPE)


def test_we_verify_their_blob(
    cosign: Cosign, ours: Ours, did: Did, how: Callable[[str], str]
) -> None:
    file = ours.file()
    bundle = cosign.sign("sign-blob", file)
    ours.believes(file, bundle)
    cosign.believes("verify-blob", bundle, str(file))
    did(Kind.SIGNED, how("sign-blob"))


def test_we_verify_their_attestation(
    cosign: Cosign, ours: Ours, did: Did, how: Callable[[str], str]
) -> None:
    file = ours.file()
    bundle = cosign.sign("attest-blob", file, *predicate(ours))
    ours.believes(file, bundle)
    cosign.believes("verify-blob-attestation", bundle, *TYPE, str(file))
    did(Kind.SIGNED, how("attest-blob"))


def test_they_verify_ours(cosign: Cosign, ours: Ours, did: Did, how: Callable[[str], str]) -> None:
    file = ours.file()
    cosign.believes("verify-blob", ours.sign(file), str(file))
    cosign.believes("verify-blob-attestation", ours.attest(file), *TYPE, str(file))
    did(Kind.VERIFIED, how("verify-blob"), how("verify-blob-attestation"))


@pytest.mark.parametrize("signer", ["they", "we"])
def test_they_refuse(cosign: Cosign, ours: Ours, did: Did, signer: str) -> None:
    def signed(file: Path) -> Path:
        return ours.sign(file) if signer == "we" else cosign.sign("sign-blob", file)

    file, other = ours.file(), ours.file("another release\n", "other")
    bundle, others = signed(file), signed(other)
    attestation = (
        ours.attest(file) if signer == "we" else cosign.sign("attest-blob", file, *predicate(ours))
    )
    changed, swapped = with_other_statement(attestation), with_other_signature(bundle, others)
    refused = {
        "changed file": cosign.verify("verify-blob", bundle, str(other)),
        "other identity": cosign.verify("verify-blob", bundle, str(file), identity=BOB),
        "other signature": cosign.verify("verify-blob", swapped, str(file)),
        "missing log entry": cosign.verify("verify-blob", without_promise(bundle), str(file)),
        "changed statement": cosign.verify("verify-blob-attestation", changed, *TYPE, str(file)),
        "statement about another file": cosign.verify(
            "verify-blob-attestation", attestation, *TYPE, str(other)
        ),
    }
    said = {why: done.err.splitlines()[:1] for why, done in refused.items()}
    assert {why: done.code for why, done in refused.items()} == dict.fromkeys(refused, 1), said
    assert all(line and line[0].startswith("Error: ") for line in said.values()), said
    assert BOB in said["other identity"][0]
    did(Kind.REFUSED, *refused)


def test_we_verify_what_they_wrote_before_bundles(ours: Ours, recorder: Recorder) -> None:
    """`--new-bundle-format=false`: the first bundle format, .sig and .crt, and a key's .sig."""
    cosign = Cosign(installed("go", "cosign"), ours, by_files=False)
    cosign.initialize()
    file, url = ours.file(), ours.instance.url
    bundle, signature, certificate = (Path(f"{file}.{end}") for end in ("bundle", "sig", "crt"))
    old = ("--new-bundle-format=false", "--use-signing-config=false", "--yes")
    services = ("--fulcio-url", url, "--rekor-url", url, "--identity-token", ours.token())
    done = cosign(
        *("sign-blob", *old, *services, "--bundle", str(bundle)),
        *("--output-signature", str(signature), "--output-certificate", str(certificate)),
        str(file),
    )
    assert done.code == 0, done.err
    who = ("--identity", ADA, "--issuer", ours.instance.issuer)
    parts = ("--signature", str(signature), "--certificate", str(certificate))
    detached = (*parts, "--rekor-bundle", str(bundle))
    for way in (("--bundle", str(bundle)), detached):
        good = ours.instance.countermark("verify", "--json", *who, *way, str(file))
        assert good.code == 0, good.out
        (result,) = good.json["results"]
        assert [check["check"] for check in result["checks"]] == [
            "promise", "certificate", "sct", "entry", "signature", "identity",
        ]  # fmt: skip
        other = ours.file("another release\n", "another")
        assert ours.instance.countermark("verify", *who, *way, str(other)).code == 1
        bob = ("--identity", BOB, "--issuer", ours.instance.issuer)
        assert ours.instance.countermark("verify", *bob, *way, str(file)).code == 1
    version = cosign("version", "--json").json["gitVersion"].removeprefix("v")
    recorder("cosign", version)(Kind.SIGNED, "`sign-blob --new-bundle-format=false`")

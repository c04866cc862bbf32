# SPDX-License-Identifier: Apache-2.0
"""sigstore-js: today's release under the Node it wants, the older one under the system's.

The library through a script of ours that only calls its public functions, and its own command.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.matrix import Kind
from tests.support.peers import (
    ADA,
    BOB,
    STATEMENT_TYPE,
    TOOLS,
    Did,
    Ours,
    Recorder,
    installed,
    on_path,
    with_other_signature,
    with_other_statement,
    without_promise,
)
from tests.support.running import Done

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("sigstore-js")]
SCRIPT = Path(__file__).with_name("sigstore_js.cjs")


@dataclass(frozen=True)
class Library:
    """One release of sigstore-js and a Node to run it."""

    node: str
    packages: Path
    ours: Ours

    def ask(self, do: str, **fields: Any) -> Done:
        asked = json.dumps({"do": do, **fields}, default=str)
        modules = str(self.packages / "node_modules")
        return self.ours.instance.run(self.node, str(SCRIPT), stdin=asked, NODE_PATH=modules)

    def sign(self, file: Path, how: str) -> Path:
        """Sign as Ada; `how`: ``sign``, ``attest``, ``sign-by-config`` or ``attest-by-config``."""
        bundle = Path(f"{file}.{how}.json")
        url = self.ours.instance.url
        asked = {"file": file, "bundle": bundle, "token": self.ours.token()}
        where = (
            {"signingConfig": self.ours.signing_config}
            if how.endswith("config")
            else {"url": url, "tsa": url}
        )
        done = self.ask(how, **asked, **where)
        assert done.code == 0, done.out + done.err
        return bundle

    def verify(self, bundle: Path, file: Path | None = None, identity: str = ADA) -> Done:
        """With what the TUF repository says."""
        mirror, root = self.ours.tuf
        issuer = self.ours.instance.issuer
        return self.ask(
            "verify",
            bundle=bundle,
            **({"file": file} if file else {}),
            policy={"certificateIdentityEmail": f"^{identity}$", "certificateIssuer": issuer},
            mirror=mirror,
            root=root,
            cache=self.ours.folder / "cache",
        )

    def verify_by_root(self, bundle: Path, file: Path | None = None) -> Done:
        """With the trusted root as a file; asks for a time of the log and one of the authority."""
        return self.ask(
            "verify-by-root",
            bundle=bundle,
            **({"file": file} if file else {}),
            san=ADA,
            issuer=self.ours.instance.issuer,
            trustedRoot=self.ours.trusted_root,
        )

    def believes(self, bundle: Path, file: Path | None = None) -> None:
        signer = {"san": ADA, "issuer": self.ours.instance.issuer}
        for done in (self.verify(bundle, file), self.verify_by_root(bundle, file)):
            assert (done.code, done.out and done.json) == (0, signer), done.out + done.err


@pytest.fixture(params=["sigstore-js", "sigstore-js-older"])
def library(ours: Ours, request: pytest.FixtureRequest) -> Library:
    older = request.param == "sigstore-js-older"
    installed(request.param, ".complete")
    node = on_path("node") if older else installed(request.param, "node_modules", ".bin", "node")
    return Library(node, TOOLS / request.param, ours)


@pytest.fixture
def did(library: Library, recorder: Recorder) -> Did:
    return recorder("sigstore-js", library.ask("version").json)


@pytest.mark.parametrize("how", ["sign", "sign-by-config"])
def test_we_verify_their_blob(library: Library, ours: Ours, did: Did, how: str) -> None:
    file = ours.file()
    bundle = library.sign(file, how)
    ours.believes(file, bundle)
    library.believes(bundle, file)
    did(Kind.SIGNED, "`sign`" if how == "sign" else "blob by signing config")


@pytest.mark.parametrize("how", ["attest", "attest-by-config"])
def test_we_verify_their_attestation(library: Library, ours: Ours, did: Did, how: str) -> None:
    file = ours.file()
    bundle = library.sign(ours.statement(file), how)
    ours.believes(file, bundle)
    library.believes(bundle)
    did(Kind.SIGNED, "`attest`" if how == "attest" else "statement by signing config")


def test_they_verify_our_blob(library: Library, ours: Ours, did: Did) -> None:
    file = ours.file()
    library.believes(ours.sign(file), file)
    did(Kind.VERIFIED, "blob through TUF", "blob by trusted root")


def test_they_verify_our_attestation(library: Library, ours: Ours, did: Did) -> None:
    library.believes(ours.attest(ours.file()))
    did(Kind.VERIFIED, "statement through TUF", "statement by trusted root")


@pytest.mark.parametrize("signer", ["they", "we"])
def test_they_refuse(library: Library, ours: Ours, did: Did, signer: str) -> None:
    def signed(file: Path) -> Path:
        return ours.sign(file) if signer == "we" else library.sign(file, "sign")

    file, other = ours.file(), ours.file("another release\n", "other")
    bundle, others = signed(file), signed(other)
    statement = (
        ours.attest(file) if signer == "we" else library.sign(ours.statement(file), "attest")
    )
    refused = {
        "changed file": library.verify(bundle, other),
        "other identity": library.verify(bundle, file, BOB),
        "other signature": library.verify(with_other_signature(bundle, others), file),
        "missing log entry": library.verify(without_promise(bundle), file),
        "changed statement": library.verify(with_other_statement(statement)),
    }
    codes = {why: done.out and done.json["code"] for why, done in refused.items()}
    assert {why: done.code for why, done in refused.items()} == dict.fromkeys(refused, 1), codes
    assert codes["other identity"] == "UNTRUSTED_SIGNER_ERROR"
    did(Kind.REFUSED, *refused)


@dataclass(frozen=True)
class Command:
    """`@sigstore/cli`; signs as whom a CI system's token names."""

    path: str
    ours: Ours

    def __call__(self, *arguments: str, token: str = "") -> Done:
        ambient = {"CI": "true", "SIGSTORE_ID_TOKEN": token} if token else {}
        cache = str(self.ours.folder / "data")
        return self.ours.instance.run(self.path, *arguments, XDG_DATA_HOME=cache, **ambient)

    def verify(self, bundle: Path, *more: str, identity: str = ADA) -> Done:
        mirror, root = self.ours.tuf
        who = ("--certificate-identity-email", identity)
        issuer = ("--certificate-issuer", self.ours.instance.issuer)
        trust = ("--tuf-mirror-url", mirror, "--tuf-root-path", root)
        return self("verify", *who, *issuer, *trust, *more, str(bundle))


@pytest.fixture
def command(ours: Ours) -> Command:
    on_path("node")
    return Command(installed("sigstore-js-older", "node_modules", ".bin", "sigstore"), ours)


@pytest.fixture
def command_did(command: Command, recorder: Recorder) -> Did:
    said = command("--version").out  # "@sigstore/cli/0.8.1 linux-x64 node-v20.20.2"
    return recorder("`@sigstore/cli`", said.split()[0].rpartition("/")[2])


def test_we_verify_what_their_command_attested(
    command: Command, ours: Ours, command_did: Did
) -> None:
    file, url = ours.file(), ours.instance.url
    bundle = ours.folder / "bundle.json"
    signed = command(
        *("attest", "--fulcio-url", url, "--rekor-url", url, "--tsa-server-url", url),
        *("--payload-type", STATEMENT_TYPE, "-o", str(bundle), str(ours.statement(file))),
        token=ours.token(),
    )
    assert signed.code == 0, signed.out + signed.err
    ours.believes(file, bundle)
    assert command.verify(bundle).code == 0
    command_did(Kind.SIGNED, "`attest` as an `intoto` entry")


def test_their_command_verifies_ours(command: Command, ours: Ours, command_did: Did) -> None:
    file, other = ours.file(), ours.file("another release\n", "other")
    blob = ours.sign(file)
    done = command.verify(blob, "--blob-file", str(file))
    assert (done.code, "Verification succeeded" in done.err) == (0, True), done.out + done.err
    assert command.verify(blob, "--blob-file", str(other)).code != 0
    assert command.verify(blob, "--blob-file", str(file), identity=BOB).code != 0
    statement = ours.attest(other)
    assert command.verify(statement).code == 0
    assert command.verify(with_other_statement(statement)).code != 0
    command_did(Kind.VERIFIED, "`verify` of a blob", "`verify` of a statement")
    command_did(Kind.REFUSED, "changed file", "other identity", "changed statement")


def test_their_command_starts_from_our_root(command: Command, ours: Ours, command_did: Did) -> None:
    mirror, root = ours.tuf
    done = command("initialize", "--mirror", mirror, "--root", root)
    assert done.code == 0, done.out + done.err
    file = ours.file()
    bundle = ours.sign(file)
    verified = command("verify", "--tuf-mirror-url", mirror, "--blob-file", str(file), str(bundle))
    assert verified.code == 0, verified.out + verified.err
    command_did(Kind.ALSO, "`initialize`")

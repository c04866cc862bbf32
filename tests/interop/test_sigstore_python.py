# SPDX-License-Identifier: Apache-2.0
"""sigstore-python and we sign for each other, and refuse the same things.

Every case is the real `sigstore` command and the real `countermark` command against a real
instance; what one side signed is verified by both.
"""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from tests.support.matrix import Kind
from tests.support.peers import Did, Recorder
from tests.support.running import Done, Running

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("sigstore-python")]

ADA, BOB = "ada@example.org", "bob@example.org"
SIDES = ["countermark", "sigstore"]


class Pair:
    """Both clients, one instance: each can sign, each can verify."""

    def __init__(self, instance: Running, sigstore: str, folder: Path) -> None:
        self.instance = instance
        self.sigstore = sigstore
        self.folder = folder

    def theirs(self, *arguments: str) -> Done:
        """sigstore-python, told about the instance by its trust configuration."""
        configuration = str(self.instance.trust_config)
        return self.instance.run(self.sigstore, "--trust-config", configuration, *arguments)

    def sign(self, side: str, name: str = "file") -> Path:
        file = self.folder / name
        file.write_text(f"signed by {side}\n")
        if side == "countermark":
            done = self.instance.countermark("sign", str(file), "--email", ADA)
        else:
            done = self.theirs("sign", "--identity-token", self.instance.token(ADA), str(file))
        assert done.code == 0, done.err
        return file

    def verify(
        self, side: str, file: Path, *, identity: str = ADA, issuer: str | None = None
    ) -> Done:
        issuer = issuer or self.instance.issuer
        if side == "countermark":
            policy = ("--identity", identity, "--issuer", issuer)
            return self.instance.countermark("verify", "--json", *policy, str(file))
        policy = ("--cert-identity", identity, "--cert-oidc-issuer", issuer)
        return self.theirs("verify", "identity", *policy, str(file))


@pytest.fixture
def pair(instance: Running, sigstore: str, tmp_path: Path) -> Pair:
    return Pair(instance, sigstore, tmp_path)


@pytest.fixture
def did(pair: Pair, recorder: Recorder) -> Did:
    return recorder("sigstore-python", pair.theirs("--version").out.split()[-1])


@pytest.mark.parametrize("signer", SIDES)
def test_both_verify_what_either_signed(pair: Pair, did: Did, signer: str) -> None:
    file = pair.sign(signer)
    theirs = pair.verify("sigstore", file)
    assert (theirs.code, f"OK: {file}" in theirs.err) == (0, True), theirs.err
    ours = pair.verify("countermark", file)
    assert ours.code == 0, ours.out
    (result,) = ours.json["results"]
    assert (result["verified"], result["identity"]) == (True, ADA)
    assert {check["check"] for check in result["checks"]} >= {
        *("timestamp", "promise", "certificate", "sct", "inclusion", "entry", "signature"),
        "identity",
    }
    if signer == "sigstore":
        did(Kind.SIGNED, "`sign`")
    else:
        did(Kind.VERIFIED, "`verify identity` of a blob")


@pytest.mark.parametrize("verifier", SIDES)
@pytest.mark.parametrize("signer", SIDES)
def test_both_refuse_a_file_that_was_changed(
    pair: Pair, did: Did, signer: str, verifier: str
) -> None:
    file = pair.sign(signer)
    file.write_bytes(file.read_bytes() + b"!")
    done = pair.verify(verifier, file)
    assert done.code == 1
    if verifier == "countermark":
        assert done.json["results"][0]["error"]["code"] == "signature-invalid"
    else:
        did(Kind.REFUSED, "changed file")


@pytest.mark.parametrize("verifier", SIDES)
@pytest.mark.parametrize("signer", SIDES)
def test_both_refuse_another_identity(pair: Pair, did: Did, signer: str, verifier: str) -> None:
    done = pair.verify(verifier, pair.sign(signer), identity=BOB)
    assert done.code == 1
    if verifier == "countermark":
        assert done.json["results"][0]["error"]["code"] == "identity-mismatch"
    else:
        did(Kind.REFUSED, "other identity")


@pytest.mark.parametrize("verifier", SIDES)
@pytest.mark.parametrize("signer", SIDES)
def test_both_refuse_another_issuer(pair: Pair, did: Did, signer: str, verifier: str) -> None:
    done = pair.verify(verifier, pair.sign(signer), issuer="https://accounts.example.org")
    assert done.code == 1
    if verifier == "countermark":
        assert done.json["results"][0]["error"]["code"] == "identity-mismatch"
    else:
        did(Kind.REFUSED, "other issuer")


@pytest.mark.parametrize("verifier", SIDES)
def test_both_refuse_a_signature_swapped_in_from_another_bundle(
    pair: Pair, did: Did, verifier: str
) -> None:
    file, other = pair.sign("countermark", "a"), pair.sign("countermark", "b")
    bundle_path = Path(f"{file}.sigstore.json")
    bundle = json.loads(bundle_path.read_text())
    swapped = json.loads(Path(f"{other}.sigstore.json").read_text())
    bundle["verificationMaterial"]["tlogEntries"] = swapped["verificationMaterial"]["tlogEntries"]
    bundle_path.write_text(json.dumps(bundle))
    assert pair.verify(verifier, file).code == 1
    if verifier == "sigstore":
        did(Kind.REFUSED, "entry of another bundle")


def test_both_verify_an_attestation_of_theirs(pair: Pair, did: Did) -> None:
    file = pair.folder / "file"
    file.write_text("attested\n")
    predicate = pair.folder / "predicate"
    predicate.write_text(
        json.dumps(
            {
                "buildDefinition": {
                    "buildType": "https://example.org/build",
                    "externalParameters": {},
                },
                "runDetails": {"builder": {"id": "https://example.org/builder"}},
            }
        )
    )
    done = pair.theirs(
        *("attest", "--predicate-type", "https://slsa.dev/provenance/v1"),
        *("--predicate", str(predicate), "--identity-token", pair.instance.token(ADA), str(file)),
    )
    assert done.code == 0, done.err
    assert pair.verify("sigstore", file).code == 0
    ours = pair.verify("countermark", file)
    assert ours.code == 0, ours.out
    file.write_text("something else\n")
    assert pair.verify("countermark", file).code == 1
    did(Kind.SIGNED, "`attest`")


def test_they_verify_a_statement_that_we_signed(pair: Pair, did: Did) -> None:
    file = pair.folder / "file"
    file.write_text("stated\n")
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "file", "digest": {"sha256": hashlib.sha256(b"stated\n").hexdigest()}}
        ],
        "predicateType": "https://example.org/predicate",
        "predicate": {"é": "🔏"},
    }
    (pair.folder / "statement").write_text(json.dumps(statement, ensure_ascii=False))
    config = json.loads(pair.instance.trust_config.read_text())
    for name in ("trustedRoot", "signingConfig"):
        (pair.folder / name).write_text(json.dumps(config[name]))
    signed = pair.instance.conformance(
        *("sign-bundle", "--in-toto", "--identity-token", pair.instance.token(ADA)),
        *("--bundle", f"{file}.sigstore.json", "--trusted-root", str(pair.folder / "trustedRoot")),
        *("--signing-config", str(pair.folder / "signingConfig"), str(pair.folder / "statement")),
    )
    assert signed.code == 0, signed.err
    envelope = json.loads(Path(f"{file}.sigstore.json").read_text())["dsseEnvelope"]
    assert base64.b64decode(envelope["payload"]) == (pair.folder / "statement").read_bytes()
    assert pair.verify("sigstore", file).code == 0
    assert pair.verify("countermark", file).code == 0
    did(Kind.VERIFIED, "`verify identity` of a statement")


def test_they_follow_our_tuf_repository(pair: Pair, did: Did) -> None:
    address = f"{pair.instance.url}/tuf"
    root = pair.instance.data / "tuf" / "1.root.json"
    there = ("--instance", address)
    trusted = pair.instance.run(pair.sigstore, *there, "trust-instance", str(root))
    assert trusted.code == 0, trusted.err
    file = pair.folder / "file"
    file.write_text("through TUF\n")
    signed = pair.instance.run(
        *(pair.sigstore, *there, "sign", "--identity-token", pair.instance.token(ADA), str(file))
    )
    assert signed.code == 0, signed.err
    policy = ("--cert-identity", ADA, "--cert-oidc-issuer", pair.instance.issuer)
    verified = pair.instance.run(*(pair.sigstore, *there, "verify", "identity", *policy, str(file)))
    assert verified.code == 0, verified.err
    assert pair.verify("countermark", file).code == 0
    did(Kind.ALSO, "`trust-instance`, `sign` and `verify` through TUF")

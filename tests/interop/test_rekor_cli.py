# SPDX-License-Identifier: Apache-2.0
"""rekor-cli: uploads, reads and audits our log; finds what we logged."""

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.core.bundle.bundle import Bundle, MessageSignature
from countermark.core.crypto.keys import encode_pem
from countermark.core.intoto.envelope import (
    PAYLOAD_TYPE_IN_TOTO,
    Envelope,
    EnvelopeSignature,
    pae,
)
from countermark.core.wire.rekor_v1 import parse_log_entry
from tests.support.matrix import Kind
from tests.support.peers import Did, Ours, Recorder, installed, sha256
from tests.support.running import Done

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("rekor-cli")]
TYPES = {"hashedrekord": "hashedrekord:0.0.1", "dsse": "dsse:0.0.1", "intoto": "intoto:0.0.2"}


@dataclass(frozen=True)
class RekorCLI:
    """The command, with a home of its own for the state it remembers of the log."""

    path: str
    ours: Ours

    def __call__(self, command: str, *arguments: str) -> Done:
        server = ("--rekor_server", self.ours.instance.url, "--format", "json")
        home = str(self.ours.folder)
        return self.ours.instance.run(self.path, command, *server, *arguments, HOME=home)

    def size(self) -> int:
        done = self("loginfo")
        assert done.code == 0, done.err
        return int(done.json["ActiveTreeSize"])


@dataclass(frozen=True)
class Signed:
    """A file signed with a key of one's own, as rekor-cli wants to be told of it."""

    kind: str
    file: Path
    key: Path
    signature: bytes
    proposal: tuple[str, ...]

    def bundle(self, entry: bytes) -> Path:
        """A bundle of this and a log entry as the API gives it."""
        log_entry = parse_log_entry(entry).entry
        digest = bytes.fromhex(sha256(self.file))
        if self.kind == "hashedrekord":
            content: MessageSignature | Envelope = MessageSignature(
                self.signature, "SHA2_256", digest
            )
        else:
            content = Envelope(
                self.file.with_suffix(".statement.json").read_bytes(),
                PAYLOAD_TYPE_IN_TOTO,
                (EnvelopeSignature(self.signature),),
            )
        bundle = Bundle("0.3", (), "key", (log_entry,), (), content)
        path = self.file.with_suffix(".bundle.json")
        path.write_bytes(bundle.serialize())
        return path


def signed(ours: Ours, kind: str) -> Signed:
    """Sign a file with a new key."""
    private = ec.generate_private_key(ec.SECP256R1())
    key = ours.folder / "key.pem"
    key.write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    with_key = ("--pki-format", "x509", "--public-key", str(key), "--type", TYPES[kind])
    file = ours.file(f"{kind}\n", kind)
    if kind == "hashedrekord":
        signature = private.sign(file.read_bytes(), ec.ECDSA(hashes.SHA256()))
        signature_file = ours.folder / "signature"
        signature_file.write_bytes(signature)
        more = ("--artifact-hash", sha256(file), "--signature", str(signature_file))
        return Signed(kind, file, key, signature, (*with_key, *more))
    payload = ours.statement(file).read_bytes()
    signature = private.sign(pae(PAYLOAD_TYPE_IN_TOTO, payload), ec.ECDSA(hashes.SHA256()))
    envelope = {
        "payloadType": PAYLOAD_TYPE_IN_TOTO,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": "", "sig": base64.b64encode(signature).decode()}],
    }
    envelope_file = ours.file(json.dumps(envelope, indent=1), "envelope")
    return Signed(kind, file, key, signature, (*with_key, "--artifact", str(envelope_file)))


@pytest.fixture
def rekor(ours: Ours) -> RekorCLI:
    return RekorCLI(installed("go", "rekor-cli"), ours)


@pytest.fixture
def did(rekor: RekorCLI, recorder: Recorder) -> Did:
    done = rekor.ours.instance.run(rekor.path, "version")
    version = re.search(r"GitVersion: *v(\S+)", done.out + done.err)
    assert version is not None
    return recorder("rekor-cli", version[1])


@pytest.mark.parametrize("kind", TYPES)
def test_we_verify_what_they_uploaded(rekor: RekorCLI, ours: Ours, did: Did, kind: str) -> None:
    made = signed(ours, kind)
    uploaded = rekor("upload", *made.proposal)
    assert uploaded.code == 0, uploaded.err
    assert uploaded.json["AlreadyExists"] is False
    again = rekor("upload", *made.proposal)
    assert (again.code, again.json["AlreadyExists"]) == (0, True)
    entry_id = uploaded.json["Location"].rpartition("/")[2]
    for which in (("--uuid", entry_id), ("--log-index", str(uploaded.json["Index"]))):
        got = rekor("get", *which)
        assert (got.code, got.code or got.json["UUID"]) == (0, entry_id), got.err
    found = rekor("verify", *made.proposal)
    assert (found.code, found.code or found.json["EntryUUID"]) == (0, entry_id), found.err
    with urlopen(f"{ours.instance.url}/api/v1/log/entries/{entry_id}") as reply:
        bundle = made.bundle(reply.read())
    key = ("--key", str(made.key), "--trusted-root", ours.trusted_root, "--bundle", str(bundle))
    ours_says = ours.instance.countermark("verify", "--json", *key, str(made.file))
    assert ours_says.code == 0, ours_says.out
    other = ours.file("another release\n", "other")
    assert ours.instance.countermark("verify", *key, str(other)).code == 1
    did(Kind.SIGNED, f"`upload` of {kind}")
    did(Kind.ALSO, "`get` by UUID and index", "`verify` of its own entries")


def test_they_find_what_we_signed(rekor: RekorCLI, ours: Ours, did: Did) -> None:
    file, other = ours.file(), ours.file("another release\n", "other")
    bundle = json.loads(ours.sign(file).read_text())
    certificate = base64.b64decode(bundle["verificationMaterial"]["certificate"]["rawBytes"])
    key = ours.file(encode_pem("CERTIFICATE", certificate), "certificate.pem")
    signature = ours.folder / "signature"
    signature.write_bytes(base64.b64decode(bundle["messageSignature"]["signature"]))

    def proposal(file: Path) -> tuple[str, ...]:
        signed_by = ("--public-key", str(key), "--signature", str(signature))
        return ("--type", "hashedrekord", *signed_by, "--artifact-hash", sha256(file))

    found = rekor("verify", *proposal(file))
    assert found.code == 0, found.err
    (entry,) = bundle["verificationMaterial"]["tlogEntries"]
    assert str(found.json["Index"]) == entry["inclusionProof"]["logIndex"]
    assert rekor("verify", *proposal(other)).code != 0
    statement = json.loads(ours.attest(file).read_text())
    (entry,) = statement["verificationMaterial"]["tlogEntries"]
    got = rekor("get", "--log-index", entry["logIndex"])
    assert got.code == 0, got.err
    kept = got.json["Body"]["DSSEObj"]["signatures"]
    assert [item["signature"] for item in kept] == [
        item["sig"] for item in statement["dsseEnvelope"]["signatures"]
    ]
    assert rekor("verify", "--log-index", entry["logIndex"]).code == 0
    did(Kind.VERIFIED, "`verify` of a blob's entry", "`get` and `verify` of a statement's entry")
    did(Kind.REFUSED, "changed file")


def test_they_prove_that_the_log_only_grows(rekor: RekorCLI, ours: Ours, did: Did) -> None:
    """`loginfo` remembers the last head, and asks for a proof from it to the next."""
    before = rekor.size()
    assert (ours.folder / ".rekor" / "state.json").exists()
    for number in range(3):
        ours.sign(ours.file(f"{number}\n", f"file{number}"))
    after = rekor.size()
    assert after == before + 3
    proof = rekor("logproof", "--first-size", str(before), "--last-size", str(after))
    assert (proof.code, len(proof.json["RootHash"])) == (0, 64), proof.err
    assert proof.json["Hashes"]
    assert rekor("logproof", "--first-size", "1", "--last-size", str(after + 100)).code != 0
    did(Kind.ALSO, "`loginfo` with consistency", "`logproof`")


def test_they_refuse_a_log_with_another_past(rekor: RekorCLI, ours: Ours, did: Did) -> None:
    rekor.size()
    state = ours.folder / ".rekor" / "state.json"
    remembered = json.loads(state.read_text())
    another = base64.b64encode(bytes(32)).decode()
    for log, checkpoint in remembered.items():
        origin, size, _, *rest = checkpoint.split("\n")
        remembered[log] = "\n".join([origin, size, another, *rest])
    state.write_text(json.dumps(remembered))
    ours.sign(ours.file())
    done = rekor("loginfo")
    assert (done.code, "does not match expected root" in done.err) == (1, True), done.err
    did(Kind.REFUSED, "log with another past")

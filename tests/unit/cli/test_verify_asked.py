# SPDX-License-Identifier: Apache-2.0
"""`countermark verify` explained, stricter, of older and of several signatures."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.cli.inspect_command import run as inspect
from countermark.cli.verify_command import run
from countermark.core.bundle.bundle import Bundle
from countermark.core.ct.sct import SignedCertificateTimestamp, sct_message_x509
from countermark.core.wire.ct import add_chain_reply
from tests.support.every_key import bundle_of, kind_of
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge, Plan
from tests.support.made_certificates import NOW, b64
from tests.support.old_cosign import certificate_pem, old_bundle, rekor_bundle
from tests.support.witnesses import MadeWitness, cosigned

FORGE = Forge()
ROOT = ("--trusted-root", "root.json")
WHO = ("--identity", NAME, "--issuer", ISSUER, *ROOT)
OTHER = ("--identity", "you@example.org", "--issuer", ISSUER, *ROOT)
PLAN = Plan()
KIND = kind_of("PKIX_ECDSA_P256_SHA_256")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(ARTIFACT)
    Path("root.json").write_bytes(FORGE.trusted_root().serialize())
    save(FORGE.bundle())
    return tmp_path


def save(bundle: Bundle, path: str = "file.sigstore.json") -> None:
    Path(path).write_bytes(bundle.serialize())


def results(capsys: pytest.CaptureFixture[str], *argv: str, code: int) -> Any:
    capsys.readouterr()
    assert run(["--json", "file", *argv]) == code
    return json.loads(capsys.readouterr().out)["results"][0]


def test_explains_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["file", *WHO, "--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("file: verified, signed by")
    steps = [line.split()[:2] for line in lines if line[2:3].isdigit()]
    assert [int(number) for number, _ in steps] == [1, 1, 2, 3, 4, 5, 6, 7]
    assert [name for _, name in steps][-2:] == ["signature", "identity"]
    for word in ("found", "expected", "because"):
        told = [line for line in lines if line.startswith(f"      {word} ")]
        assert len(told) == len(steps)
        assert all(len(line.split()) > 3 for line in told)


def test_explains_how_far_a_refused_one_came(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["file", *OTHER, "--explain"]) == 1
    said = capsys.readouterr()
    assert "NOT verified" in said.err
    steps = [line.split()[1] for line in said.out.splitlines() if line[2:3].isdigit()]
    assert steps[0] == "timestamp"
    assert steps[-1] == "signature"
    assert "identity" not in steps


def test_a_refusal_says_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_bytes(b"tampered")
    assert run(["file", *WHO]) == 1
    said = capsys.readouterr().err
    found, expected = (line for line in said.splitlines()[1:3])
    assert found.startswith("  found      sha256:")
    assert found.endswith("the artifact's")
    assert expected.startswith("  expected   sha256:")
    fault = results(capsys, *WHO, code=1)
    assert fault["error"]["code"] == "signature-invalid"
    assert fault["error"]["found"] in said
    assert fault["error"]["expected"] in said
    assert fault["checks"] == []
    Path("file").write_bytes(ARTIFACT)
    fault = results(capsys, *OTHER, code=1)
    assert (fault["error"]["found"], fault["error"]["expected"]) == (NAME, "you@example.org")
    assert fault["checks"][-1]["check"] == "signature"


def test_hostile_words_in_evidence_are_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    entry = FORGE.bundle(promise=False).tlog_entries[0]._replace(kind="\x1b[2Jkind")
    save(FORGE.bundle(promise=False)._replace(tlog_entries=(entry,)))
    assert run(["file", *WHO, "--explain"]) == 1
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert r"\x1b[2Jkind" in said.err


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("--threshold-times", "2"), 0),
        (("--threshold-times", "3"), 1),
        (("--threshold-logs", "2"), 1),
        (("--threshold-scts", "2"), 1),
        (("--threshold-scts", "0"), 2),
        (("--threshold-scts", "33"), 2),
        (("--threshold-logs", "-1"), 2),
        (("--threshold-logs", "²"), 2),
        (("--threshold-logs", "1", "--without-log"), 2),
        (("--witness-policy", "w", "--without-log"), 2),
    ],
)
def test_thresholds(argv: tuple[str, ...], code: int) -> None:
    assert run(["file", *WHO, *argv]) == code


def test_signatures_without_a_log_only_if_that_is_said() -> None:
    save(FORGE.bundle(scts=0)._replace(tlog_entries=()))
    assert run(["file", *WHO]) == 1
    assert run(["file", *WHO, "--without-log"]) == 0
    save(FORGE.bundle(scts=0, timestamp=False)._replace(tlog_entries=()))
    assert run(["file", *WHO, "--without-log"]) == 1


def test_witness_policies(capsys: pytest.CaptureFixture[str]) -> None:
    witness = MadeWitness("w.example")
    save(cosigned(FORGE.bundle(log="v2"), witness))
    Path("good").write_text(f"witness W {witness.vkey()}\nquorum W\n")
    Path("other").write_text(f"witness W {MadeWitness('w.example').vkey()}\nquorum W\n")
    Path("none").write_text("witness W\n")
    assert run(["file", *WHO, "--witness-policy", "good", "--explain"]) == 0
    assert "quorum W of 1 witnesses" in capsys.readouterr().out
    assert run(["file", *WHO, "--witness-policy", "other"]) == 1
    assert "cosigned by log" in capsys.readouterr().err
    assert run(["file", *WHO, "--witness-policy", "none"]) == 65
    assert run(["file", *WHO, "--witness-policy", "absent"]) == 11


def test_periods_of_managed_keys() -> None:
    bundle = bundle_of(FORGE, KIND, log="v2")
    save(bundle._replace(timestamps=(FORGE.timestamp(bundle.signature, NOW),)))
    Path("key.pub").write_text(KIND.key.to_pem())
    key = ("--key", "key.pub", *ROOT)
    start, end = "--key-valid-from", "--key-valid-until"
    assert run(["file", *key]) == 0
    assert run(["file", *key, start, "2026-01-01T00:00:00Z", end, "2026-12-31T23:59:59Z"]) == 0
    assert run(["file", *key, end, "2026-03-04T05:06:07Z"]) == 0
    assert run(["file", *key, end, "2026-03-04T05:06:06Z"]) == 1
    assert run(["file", *key, start, "2026-03-04T05:06:08Z"]) == 1
    assert run(["file", *key, start, "2027-01-01T00:00:00Z", end, "2026-01-01T00:00:00Z"]) == 2
    assert run(["file", *key, start, "yesterday"]) == 65
    for who in (WHO, ROOT, ("--trust-first-use", *ROOT)):
        assert run(["file", *who, start, "2026-01-01T00:00:00Z"]) == 2


def write_detached(bundle: Bundle) -> None:
    Path("file.sig").write_text(b64(bundle.signature) + "\n")
    Path("file.crt").write_text(b64(certificate_pem(bundle).encode()) + "\n")
    Path("file.rekor").write_text(json.dumps(rekor_bundle(bundle)))
    Path("file.tsr").write_bytes(bundle.timestamps[0])


def test_detached_signatures(capsys: pytest.CaptureFixture[str]) -> None:
    write_detached(FORGE.bundle())
    Path("file.sigstore.json").unlink()
    parts = ("--signature", "file.sig", "--certificate", "file.crt")
    assert run(["file", *WHO, *parts, "--rekor-bundle", "file.rekor"]) == 0
    assert run(["file", *OTHER, *parts, "--rekor-bundle", "file.rekor"]) == 1
    stamped = (*parts, "--rfc3161-timestamp", "file.tsr")
    assert run(["file", *WHO, *stamped, "--rekor-bundle", "file.rekor"]) == 0
    capsys.readouterr()
    assert run(["file", *WHO, *stamped]) == 1  # nothing of a log
    assert run(["file", *WHO, *stamped, "--without-log"]) == 0
    assert run(["file", *WHO, *parts[2:]]) == 2
    assert run(["file", *WHO, *parts, "--bundle", "x"]) == 2
    assert run(["file", "file", *WHO, *parts]) == 2
    assert run(["file", *WHO, "--signature", "absent"]) == 10
    digest = f"sha256:{hashlib.sha256(ARTIFACT).hexdigest()}"
    assert run([digest, *WHO, *parts, "--rekor-bundle", "file.rekor"]) == 0
    Path("file").write_bytes(b"tampered")
    assert run(["file", *WHO, *parts, "--rekor-bundle", "file.rekor"]) == 1


def test_a_detached_sct() -> None:
    made = FORGE.bundle(scts=0)
    write_detached(made)
    time = int(NOW.timestamp() * 1000)
    message = sct_message_x509(time, made.certificates[0])
    signature = FORGE.ct_key.sign(message, ec.ECDSA(hashes.SHA256()))
    sct = SignedCertificateTimestamp(FORGE.ct_id, time, b"", 4, 3, signature)
    Path("file.sct").write_bytes(add_chain_reply(sct))
    parts = ("--signature", "file.sig", "--certificate", "file.crt", "--rekor-bundle", "file.rekor")
    assert run(["file", *WHO, *parts]) == 1
    assert run(["file", *WHO, *parts, "--sct", "file.sct"]) == 0
    assert run(["file", *WHO, *parts, "--sct", "file.rekor"]) == 65


def test_a_detached_signature_of_a_key() -> None:
    """What `cosign sign-blob --key --tlog-upload=false` leaves: two files and no log."""
    Path("file.sig").write_text(b64(KIND.sign(ARTIFACT)))
    Path("key.pub").write_text(KIND.key.to_pem())
    command = ["file", "--key", "key.pub", "--signature", "file.sig", *ROOT]
    assert run(command) == 1
    assert run([*command, "--without-log"]) == 0
    Path("file").write_bytes(b"tampered")
    assert run([*command, "--without-log"]) == 1


def test_the_first_bundle_format_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file.sigstore.json").unlink()
    Path("file.bundle").write_bytes(old_bundle(FORGE.bundle()))
    assert run(["file", *WHO, "--bundle", "file.bundle"]) == 0
    found = results(capsys, *WHO, "--bundle", "file.bundle", code=0)
    assert found["log"][0]["treeSize"] == 0
    Path("file.bundle").write_bytes(b'{"base64Signature": 7}')
    assert run(["file", *WHO, "--bundle", "file.bundle"]) == 65


def lines(*bundles: Bundle | bytes, path: str = "file.sigstore.jsonl") -> None:
    texts = [item if isinstance(item, bytes) else item.serialize() for item in bundles]
    Path(path).write_bytes(b"".join(text + b"\n" for text in texts))


def test_of_several_signatures_one_must_hold(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file.sigstore.json").unlink()
    stranger = Forge().bundle(timestamp=False)
    by_you = FORGE.bundle(replace(PLAN, artifact=b"another"))
    lines(stranger, b"{}", by_you, FORGE.bundle())
    found = results(capsys, *WHO, code=0)
    assert (found["identity"], found["signature"], found["signatures"]) == (NAME, 4, 4)
    lines(stranger, b"{}", by_you)
    assert run(["file", *WHO]) == 12
    assert "none of 3 signatures holds (1: no trusted log" in capsys.readouterr().err
    fault = results(capsys, *WHO, code=12)["error"]
    assert fault["code"] == "none-matches"
    codes = [item["code"] for item in fault["signatures"]]
    assert codes == ["inclusion-invalid", "format", "signature-invalid"]
    assert all(item["message"] for item in fault["signatures"])


def test_one_line_is_judged_like_any_bundle() -> None:
    Path("file.sigstore.json").unlink()
    lines(FORGE.bundle())
    assert run(["file", *WHO]) == 0
    assert run(["file", *OTHER]) == 1
    lines()
    assert run(["file", *WHO]) == 65
    lines(*[b"{}"] * 257)
    assert run(["file", *WHO]) == 65


def test_lines_are_recognised_under_any_name() -> None:
    lines(Forge().bundle(), FORGE.bundle(), path="many")
    assert run(["file", *WHO, "--bundle", "many"]) == 0
    save(FORGE.bundle())
    lines(FORGE.bundle())
    assert run(["file", *WHO]) == 2  # two files beside it: which one?
    pretty = json.dumps(json.loads(FORGE.bundle(tree_size=8).serialize()), indent=2)
    Path("many").write_text(f"{pretty}\n")
    assert run(["file", *WHO, "--bundle", "many"]) == 0
    Path("many").write_text(f"{pretty}\n{pretty}\n")  # not a line each
    assert run(["file", *WHO, "--bundle", "many"]) == 12


def test_inspect_shows_old_and_several_signatures(capsys: pytest.CaptureFixture[str]) -> None:
    Path("old").write_bytes(old_bundle(FORGE.bundle()))
    lines(FORGE.bundle(log="v2"), b"{}", path="many.jsonl")
    assert inspect(["--json", "old", "many.jsonl"]) == 0
    old, first, second = json.loads(capsys.readouterr().out)["bundles"]
    assert (old["bundleVersion"], old["certificates"][0]["identity"]) == ("legacy", NAME)
    assert (first["signature"], first["logEntries"][0]["kind"]) == (1, "hashedrekord 0.0.2")
    assert (second["signature"], "missing" in second["unreadable"]) == (2, True)
    Path("none").write_bytes(b"{}")
    assert inspect(["none"]) == 65

# SPDX-License-Identifier: Apache-2.0
"""`countermark endorse`: foreign bundles verified outside, vouched for inside."""

import json
import shlex
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.e2e.transcript import pattern, steps
from tests.support.forge import ARTIFACT, ISSUER, NAME, Forge, Plan
from tests.support.running import Done, Running
from tests.support.vectors import BEACON, GITHUB, vectors

SECURITY = "security@example.org"
VENDOR, COMPANY = Forge(), Forge()
GITLAB = "https://gitlab.example.org"


class Desk:
    """Somebody who endorses, with a file that came from outside."""

    def __init__(self, instance: Running, folder: Path) -> None:
        self.instance = instance
        self.folder = folder
        self.file = folder / "tool.tar.gz"
        self.file.write_bytes(ARTIFACT)
        self.endorsement = folder / "tool.tar.gz.endorsed.sigstore.json"

    def bundle(self, forge: Forge, **plan: Any) -> Path:
        path = self.folder / "tool.tar.gz.sigstore.json"
        bundle = forge.bundle(Plan(**plan))
        if plan.get("scts") == 0:
            bundle = bundle._replace(tlog_entries=())
        path.write_bytes(bundle.serialize())
        return path

    def roots(self) -> Path:
        """A vendor's file: several roots, one a line; its own has no log of any kind."""
        own = VENDOR.trusted_root()._replace(tlogs=(), ctlogs=())
        lines = [json.dumps(root.to_json()) for root in (COMPANY.trusted_root(), own)]
        path = self.folder / "trusted_root.jsonl"
        path.write_text("\n".join(lines) + "\n")
        return path

    def endorse(self, *arguments: str, issuer: str = ISSUER) -> Done:
        expected = ("--identity", NAME, "--issuer", issuer)
        signing = ("--url", self.instance.url, "--email", SECURITY)
        command = ("endorse", str(self.file), *expected, *signing, *arguments)
        return self.instance.countermark(*command)

    def verify(self, *arguments: str, who: str = SECURITY) -> Done:
        inside = ("--instance", self.instance.url, "--identity", who)
        bundle = ("--bundle", str(self.endorsement), "--issuer", self.instance.issuer)
        return self.instance.countermark("verify", str(self.file), *bundle, *inside, *arguments)

    def predicate(self) -> dict[str, Any]:
        envelope = json.loads(self.endorsement.read_bytes())["dsseEnvelope"]
        predicate: dict[str, Any] = json.loads(b64decode(envelope["payload"]))["predicate"]
        return predicate


@pytest.fixture
def desk(instance: Running, tmp_path: Path) -> Desk:
    return Desk(instance, tmp_path)


def test_another_companys_bundle(desk: Desk) -> None:
    desk.bundle(COMPANY, issuer=GITLAB)
    root = desk.folder / "company.json"
    root.write_bytes(COMPANY.trusted_root().serialize())
    done = desk.endorse("--outside-root", str(root), issuer=GITLAB)
    assert done.code == 0, done.err
    assert desk.verify().code == 0
    predicate = desk.predicate()
    assert predicate["verificationResult"] == "PASSED"
    assert predicate["verifier"] == {"id": f"mailto:{SECURITY}"}
    found = predicate["inputAttestations"][0]["annotations"]
    assert (found["signer"], found["issuer"]) == (NAME, GITLAB)
    assert found["signedAt"]
    assert "index" in found["logged"]


def test_a_bundle_that_is_timestamped_only_under_one_of_several_roots(desk: Desk) -> None:
    desk.bundle(VENDOR, scts=0)
    root = ("--outside-root", str(desk.roots()))
    refused = desk.endorse(*root)
    assert refused.code == 1
    assert not desk.endorsement.exists()
    done = desk.endorse(*root, "--allow-unlogged")
    assert done.code == 0, done.err
    assert desk.verify().code == 0
    assert "unlogged%22%3Atrue" in desk.predicate()["policy"]["uri"]


def test_a_public_bundle(desk: Desk) -> None:
    case = vectors("bundle-verify", "happy-path-v0.3-new-mediaType")
    desk.file.write_bytes((case.parent / "a.txt").read_bytes())
    done = desk.instance.countermark(
        "endorse", str(desk.file), "--bundle", str(case / "bundle.sigstore.json"),
        "--identity", BEACON, "--issuer", GITHUB,
        "--url", desk.instance.url, "--email", SECURITY, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["outside"]["root"] == "public"
    assert desk.verify().code == 0


@pytest.mark.parametrize("change", ["artifact", "identity", "root", "no root", "bundle"])
def test_what_does_not_hold_outside_is_not_vouched_for(desk: Desk, change: str) -> None:
    bundle = desk.bundle(COMPANY)
    root = desk.folder / "root.json"
    forge = VENDOR if change == "root" else COMPANY
    root.write_bytes(forge.trusted_root().serialize())
    if change == "artifact":
        desk.file.write_bytes(b"another")
    if change == "bundle":
        bundle.write_bytes(bundle.read_bytes()[:-20])
    arguments = () if change == "no root" else ("--outside-root", str(root))
    done = desk.endorse(*arguments, issuer="https://x.example" if change == "identity" else ISSUER)
    assert done.code == (65 if change == "bundle" else 1), done.err
    assert not desk.endorsement.exists()


def test_inside_nothing_else_passes_for_the_endorsement(desk: Desk) -> None:
    desk.bundle(COMPANY)
    root = desk.folder / "root.json"
    root.write_bytes(COMPANY.trusted_root().serialize())
    assert desk.endorse("--outside-root", str(root)).code == 0
    assert desk.verify(who="somebody@example.org").code == 1
    again = desk.endorse("--outside-root", str(root))
    assert (again.code, "exists already" in again.err) == (2, True)
    desk.file.write_bytes(b"another")
    assert desk.verify().code == 1


def test_a_summary_that_says_failed_is_no_signature(desk: Desk) -> None:
    statement = desk.folder / "statement.json"
    desk.bundle(COMPANY)
    root = desk.folder / "root.json"
    root.write_bytes(COMPANY.trusted_root().serialize())
    assert desk.endorse("--outside-root", str(root)).code == 0
    envelope = json.loads(desk.endorsement.read_bytes())["dsseEnvelope"]
    tree = json.loads(b64decode(envelope["payload"]))
    tree["predicate"]["verificationResult"] = "FAILED"
    statement.write_text(json.dumps(tree))
    trust = json.loads(desk.instance.trust_config.read_text())
    for name in ("trustedRoot", "signingConfig"):
        (desk.folder / name).write_text(json.dumps(trust[name]))
    signed = desk.instance.conformance(
        "sign-bundle", "--in-toto", "--identity-token", desk.instance.token(SECURITY),
        "--bundle", str(desk.endorsement), "--trusted-root", str(desk.folder / "trustedRoot"),
        "--signing-config", str(desk.folder / "signingConfig"), str(statement),
    )  # fmt: skip
    assert signed.code == 1, signed.err  # not even signed: what comes back must verify
    assert "FAILED" in signed.err


def test_the_how_to(instance: Running) -> None:
    name = x509.RFC822Name("release@them.example")
    bundle = COMPANY.bundle(Plan(name=name, issuer="https://login.them.example"))
    (instance.home / "tool.tar.gz").write_bytes(ARTIFACT)
    (instance.home / "tool.tar.gz.sigstore.json").write_bytes(bundle.serialize())
    (instance.home / "them.json").write_bytes(COMPANY.trusted_root().serialize())
    page = Path(__file__).parents[2] / "docs/how-to/endorse.md"
    todo = steps(page)
    assert len(todo) == 2
    for step in todo:
        command = step.command.replace("http://localhost:7446", instance.url)
        done = instance.countermark(*shlex.split(command)[1:])
        assert done.code == 0, done.err
        expected = step.output.replace("http://localhost:7446", instance.url)
        assert pattern(expected).fullmatch(done.out), done.out

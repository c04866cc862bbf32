# SPDX-License-Identifier: Apache-2.0
"""The signing tests of sigstore-conformance, by its protocol, against an instance of ours.

The suite signs with the public staging instance and has sigstore-python look at what came out;
here services, trusted root, signing config and tokens are those of the instance. The suite's
sixth, of log API v2, needs a log that the instance does not have.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from countermark.core.encoding import from_base64
from fuzz.differential.peers import Question, sigstore_python
from tests.support.running import Done, Running

ADA = "ada@example.org"
STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "a.txt", "digest": {"sha256": hashlib.sha256(b"DO NOT").hexdigest()}}],
    "predicateType": "https://example.org/predicate/v1",
    "predicate": {},
}


class Client:
    """`countermark-conformance` in a folder of its own, with paths relative to it."""

    def __init__(self, instance: Running) -> None:
        self._instance = instance
        self.folder = instance.home
        trust = instance.data / "trust"
        self.root = trust / "trusted_root.json"
        self._trust = ("--trusted-root", str(self.root))
        self._config = ("--signing-config", str(trust / "signing_config.v0.2.json"))
        self._token = instance.token(ADA)
        for name, data in (("a.txt", b"DO NOT"), ("b.txt", b"other"), ("blank.txt", b"")):
            (self.folder / name).write_bytes(data)

    def sign(self, name: str, *flags: str) -> Any:
        """Sign a file; gives its bundle's JSON."""
        bundle = self.folder / f"{name}.bundle"
        bundle.unlink(missing_ok=True)
        done = self._instance.conformance(
            *("sign-bundle", *flags, "--identity-token", self._token, "--bundle", bundle.name),
            *(*self._trust, *self._config, name),
        )
        assert done.code == 0, done.err
        return json.loads(bundle.read_bytes())

    def verify(self, signed: str, name: str) -> Done:
        """Verify a file, or a digest, by the bundle of `signed`."""
        return self._instance.conformance(
            *("verify-bundle", "--bundle", f"{signed}.bundle", "--certificate-identity", ADA),
            *("--certificate-oidc-issuer", self._instance.issuer, *self._trust, name),
        )

    def sigstore_python_accepts(self, signed: str, name: str) -> bool:
        """What the suite's own client says."""
        peer = sigstore_python()
        if peer is None:
            pytest.skip("sigstore-python is not there: run scripts/install-peers")
        bundle = (self.folder / f"{signed}.bundle").read_bytes()
        artifact = (self.folder / name).read_bytes()
        with peer:
            asked = Question(bundle, artifact, str(self.root), ADA, self._instance.issuer)
            return peer.ask(asked).ok


@pytest.fixture
def client(instance: Running) -> Client:
    return Client(instance)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_simple(client: Client) -> None:
    client.sign("a.txt")
    assert client.verify("a.txt", "a.txt").code == 0
    assert client.verify("a.txt", _digest(b"DO NOT")).code == 0
    assert client.sigstore_python_accepts("a.txt", "a.txt")


def test_sign_does_not_produce_root(client: Client) -> None:
    tree = client.sign("a.txt")
    assert "messageSignature" in tree
    assert "dsseEnvelope" not in tree
    data = from_base64(tree["verificationMaterial"]["certificate"]["rawBytes"], "certificate")
    extensions = x509.load_der_x509_certificate(data).extensions
    constraints = [
        item.value for item in extensions if isinstance(item.value, x509.BasicConstraints)
    ]
    assert not any(constraint.ca for constraint in constraints)


def test_sign_verify_dsse(client: Client) -> None:
    text = json.dumps(STATEMENT, indent=2)
    Path(client.folder, "statement.json").write_text(text)
    tree = client.sign("statement.json", "--in-toto")
    assert "messageSignature" not in tree
    assert from_base64(tree["dsseEnvelope"]["payload"], "payload") == text.encode()
    assert client.verify("statement.json", "a.txt").code == 0
    assert client.verify("statement.json", _digest(b"DO NOT")).code == 0
    assert client.verify("statement.json", "b.txt").code == 1
    assert client.sigstore_python_accepts("statement.json", "a.txt")


def test_verify_empty(client: Client) -> None:
    client.sign("a.txt")
    assert client.verify("a.txt", "blank.txt").code == 1
    assert client.verify("a.txt", "a.txt").code == 0


def test_verify_mismatch(client: Client) -> None:
    client.sign("a.txt")
    client.sign("b.txt")
    assert client.verify("a.txt", "b.txt").code == 1
    assert client.verify("b.txt", "a.txt").code == 1
    assert client.verify("a.txt", "a.txt").code == 0

# SPDX-License-Identifier: Apache-2.0
"""Keys of one's own: cosign's files and ours, kinds of keys, a Vault, and who verifies what."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from countermark.client.keys import files
from countermark.client.keys.key import KINDS
from countermark.client.keys.local import LocalKey
from countermark.core.crypto.keys import PublicKey
from tests.interop.test_cosign import TYPE, predicate
from tests.interop.test_sigstore_js import SCRIPT
from tests.support.key_services import VAULT_TOKEN, key_services
from tests.support.matrix import Kind
from tests.support.peers import (
    TOOLS,
    Did,
    Ours,
    Recorder,
    installed,
    with_other_signature,
    with_other_statement,
    without_promise,
)
from tests.support.running import Done

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("keys")]
PASSPHRASE = {"COSIGN_PASSWORD": "a passphrase"}
# Under these, cosign verifies no artifact, not even one that it signed itself (P-384); it does not
# get to the end of signing one (Ed25519).
UNVERIFIED_BY_COSIGN = ("p384", "ed25519")


@dataclass(frozen=True)
class Keys:
    """A folder with keys, in which cosign and we are run."""

    cosign: str
    ours: Ours
    variables: dict[str, str]

    def they(self, *arguments: str) -> Done:
        nowhere = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1,localhost"}
        home = {"HOME": str(self.ours.folder), "TMPDIR": str(self.ours.folder)}
        environment = {**nowhere, **home, **PASSPHRASE, **self.variables}
        return self.ours.instance.run(self.cosign, *arguments, **environment)

    def we(self, *arguments: str) -> Done:
        return self.ours.instance.countermark(*arguments, **PASSPHRASE, **self.variables)

    def path(self, name: str) -> str:
        return str(self.ours.folder / name)

    def they_sign(self, what: str, key: str, file: Path, *more: str) -> Path:
        bundle = Path(f"{file}.{what}.theirs.json")
        done = self.they(
            *(what, "--yes", "--key", key, "--bundle", str(bundle), *more),
            *("--trusted-root", self.ours.trusted_root),
            *("--signing-config", self.ours.signing_config, str(file)),
        )
        assert done.code == 0, done.err
        return bundle

    def they_verify(self, what: str, key: str, file: Path, bundle: Path, *more: str) -> Done:
        trust = ("--trusted-root", self.ours.trusted_root)
        return self.they(what, "--key", key, "--bundle", str(bundle), *trust, *more, str(file))

    def we_sign(self, key: str, file: Path) -> Path:
        done = self.we("sign", "--key", key, str(file))
        assert done.code == 0, done.err
        return Path(f"{file}.sigstore.json")

    def we_attest(self, key: str, file: Path) -> Path:
        bundle = Path(f"{file}.attested.json")
        statement = str(self.ours.statement(file))
        done = self.we("attest", "--key", key, "--statement", statement, "--bundle", str(bundle))
        assert done.code == 0, done.err
        return bundle

    def we_verify(self, key: str, file: Path, bundle: Path) -> Done:
        return self.we("verify", "--json", "--key", key, "--bundle", str(bundle), str(file))

    def made(self, kind: str, name: str = "") -> tuple[str, str]:
        """A key of a kind in cosign's form: its file and its public half's."""
        private, public = key_pair(kind, name)
        return files.write_key_pair(self.path(name or kind), private, public)


@cache
def key_pair(kind: str, name: str) -> tuple[bytes, str]:
    """PEM of a key file of cosign's and of its public half."""
    key = LocalKey.generate(KINDS[kind])
    passphrase = PASSPHRASE["COSIGN_PASSWORD"].encode()
    return files.encode_private_key(key, passphrase, as_cosign=True), key.public_key.to_pem()


@pytest.fixture
def keys(ours: Ours) -> Keys:
    return Keys(installed("go", "cosign"), ours, {})


@pytest.fixture
def did(keys: Keys, recorder: Recorder) -> Did:
    version = keys.they("version", "--json").json["gitVersion"].removeprefix("v")
    return recorder("cosign", version)


def ok(done: Done) -> None:
    assert done.code == 0, done.out + done.err


def test_a_key_file_that_cosign_made(keys: Keys, did: Did) -> None:
    ok(keys.they("generate-key-pair", "--output-key-prefix", keys.path("theirs")))
    private, public = keys.path("theirs.key"), keys.path("theirs.pub")
    file = keys.ours.file()
    bundle = keys.we_sign(private, file)
    ok(keys.they_verify("verify-blob", public, file, bundle))
    ok(keys.we_verify(public, file, bundle))
    wrong = keys.ours.instance.countermark(
        *("sign", "--overwrite", "--key", private, str(file)), COSIGN_PASSWORD="another"
    )
    assert (wrong.code, "does not open with the passphrase" in wrong.err) == (78, True)
    did(Kind.ALSO, "`generate-key-pair`, signed with by us")


def test_a_key_file_that_we_made(keys: Keys, did: Did) -> None:
    private, public = keys.path("ours.key"), keys.path("ours.pub")
    ok(keys.we("key", "generate", keys.path("ours"), "--format", "cosign"))
    file = keys.ours.file()
    blob = keys.they_sign("sign-blob", private, file)
    statement = keys.they_sign("attest-blob", private, file, *predicate(keys.ours))
    ok(keys.they_verify("verify-blob", public, file, blob))
    ok(keys.they_verify("verify-blob-attestation", public, file, statement, *TYPE))
    for bundle in (blob, statement):
        verified = keys.we_verify(public, file, bundle)
        ok(verified)
        key = PublicKey.from_pem(Path(public).read_text())
        assert verified.json["results"][0]["keyId"] == key.key_id.hex()
    did(Kind.SIGNED, "`sign-blob --key`", "`attest-blob --key`")


@pytest.mark.parametrize("kind", ["p384", "rsa3072"])
def test_they_sign_with_every_kind_of_key(keys: Keys, did: Did, kind: str) -> None:
    private, public = keys.made(kind)
    file, other = keys.ours.file(), keys.ours.file("another release\n", "other")
    bundle = keys.they_sign("sign-blob", private, file)
    ok(keys.we_verify(public, file, bundle))
    assert keys.we_verify(public, other, bundle).code == 1
    did(Kind.SIGNED, f"`sign-blob --key` of kind {kind}")


@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519", "rsa3072"])
def test_we_sign_with_every_kind_of_key(keys: Keys, did: Did, kind: str) -> None:
    private, public = keys.made(kind)
    file = keys.ours.file()
    bundle = keys.we_sign(private, file)
    ok(keys.we_verify(public, file, bundle))
    verified = keys.they_verify("verify-blob", public, file, bundle)
    assert (verified.code == 0) == (kind not in UNVERIFIED_BY_COSIGN), verified.err
    if kind not in UNVERIFIED_BY_COSIGN:
        did(Kind.VERIFIED, f"`verify-blob --key` of kind {kind}")
    if kind == "p384":  # of which API v1 takes no statements from anybody
        refused = keys.we("attest", "--key", private, "--statement", str(keys.ours.statement(file)))
        assert (refused.code, "takes no statement" in refused.err) == (2, True), refused.err
        return
    attested = keys.we_attest(private, file)
    ok(keys.we_verify(public, file, attested))
    ok(keys.they_verify("verify-blob-attestation", public, file, attested, *TYPE))
    did(Kind.VERIFIED, f"`verify-blob-attestation --key` of kind {kind}")


def test_they_and_we_refuse(keys: Keys, did: Did) -> None:
    private, public = keys.made("p256")
    _, others = keys.made("p256", "other")
    file, other = keys.ours.file(), keys.ours.file("another release\n", "other-file")
    bundle, another = keys.we_sign(private, file), keys.we_sign(private, other)
    statement = keys.we_attest(private, file)
    swapped, changed = with_other_signature(bundle, another), with_other_statement(statement)
    refused = {
        "other key": (others, file, bundle),
        "changed file": (public, other, bundle),
        "other signature": (public, file, swapped),
        "missing log entry": (public, file, without_promise(bundle)),
    }
    for why, (key, signed, presented) in refused.items():
        assert keys.they_verify("verify-blob", key, signed, presented).code == 1, why
        assert keys.we_verify(key, signed, presented).code == 1, why
    theirs = keys.they_verify("verify-blob-attestation", public, file, changed, *TYPE)
    assert (theirs.code, keys.we_verify(public, file, changed).code) == (1, 1)
    did(Kind.REFUSED, "other key")


@pytest.fixture
def services(ours: Ours) -> Iterator[Keys]:
    """A Vault and an AWS KMS of the tests' own, with one key; real clients speak to them."""
    with key_services() as running:
        variables = {
            "VAULT_ADDR": running.url,
            "VAULT_TOKEN": VAULT_TOKEN,
            "AWS_ENDPOINT_URL_KMS": running.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
        }
        (ours.folder / "release.pub").write_text(running.pem)
        yield Keys(installed("go", "cosign"), ours, variables)


@pytest.mark.parametrize("uri", ["hashivault://release", "awskms:///alias/release"])
def test_a_key_in_a_key_service(services: Keys, did: Did, uri: str) -> None:
    public = services.path("release.pub")
    theirs, ours = services.ours.file("their release\n", "theirs"), services.ours.file()
    by_them, by_us = services.they_sign("sign-blob", uri, theirs), services.we_sign(uri, ours)
    for key in (uri, public):
        for file, bundle in ((theirs, by_them), (ours, by_us)):
            ok(services.they_verify("verify-blob", key, file, bundle))
            ok(services.we_verify(key, file, bundle))
    scheme = uri.partition(":")[0]
    did(Kind.SIGNED, f"`sign-blob --key {scheme}://…`")
    did(Kind.VERIFIED, f"`verify-blob --key {scheme}://…`")


def test_sigstore_js_verifies_by_key(keys: Keys, recorder: Recorder) -> None:
    node = installed("sigstore-js", "node_modules", ".bin", "node")
    modules = str(TOOLS / "sigstore-js" / "node_modules")
    private, public = keys.made("p256")
    _, others = keys.made("p256", "other")
    file = keys.ours.file()
    bundle, statement = keys.we_sign(private, file), keys.we_attest(private, file)
    key_id = PublicKey.from_pem(Path(public).read_text()).key_id
    mirror, root = keys.ours.tuf

    def verify(bundle: Path, data: Path | None, key: str) -> Done:
        asked = {"do": "verify-by-key", "bundle": str(bundle), "key": key, "mirror": mirror}
        asked |= {"hint": base64.b64encode(key_id).decode(), "root": root}
        asked |= {"cache": keys.path("cache")} | ({"file": str(data)} if data else {})
        return keys.ours.instance.run(node, str(SCRIPT), stdin=json.dumps(asked), NODE_PATH=modules)

    ok(verify(bundle, file, public))
    ok(verify(statement, None, public))
    assert verify(bundle, file, others).code == 1
    asked = keys.ours.instance.run(node, str(SCRIPT), stdin='{"do": "version"}', NODE_PATH=modules)
    did = recorder("sigstore-js", asked.json)
    did(Kind.VERIFIED, "blob by key", "statement by key")
    did(Kind.REFUSED, "other key")

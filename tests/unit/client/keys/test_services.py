# SPDX-License-Identifier: Apache-2.0
"""Vault, AWS, Google and Azure, each over HTTP with its own protocol, on a server of ours.

The signatures are real ones; so are the libraries that say who asks.
"""

import json
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from countermark.cli.main import run
from countermark.client.keys import files
from countermark.client.keys import services as services_module
from countermark.client.keys.key import ED25519, P256, digest_name
from countermark.client.keys.local import LocalKey
from countermark.client.keys.reference import open_key, public_key
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import (
    AlgorithmRefused,
    CountermarkError,
    FormatError,
    NotFound,
    Pushback,
    RequestRejected,
    SettingsError,
    SignatureInvalid,
    UpstreamDown,
)
from tests.support import key_services as support
from tests.support.key_services import Services, key_services, sha

GOOGLE = "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/release"
MESSAGE = b"a statement"
KEYS: dict[str, Callable[[], Any]] = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa": cache(lambda: rsa.generate_private_key(65537, 2048)),
}


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Services]:
    """The server, with the environment in which people use each service."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "BAO_ADDR", "BAO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with key_services() as running:
        account = tmp_path / "account.json"
        account.write_text(json.dumps(running.google_credentials()))
        for name, value in {
            "HOME": str(tmp_path),
            "VAULT_ADDR": running.url,
            "VAULT_TOKEN": support.VAULT_TOKEN,
            "AWS_ENDPOINT_URL_KMS": running.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "GOOGLE_APPLICATION_CREDENTIALS": str(account),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS": running.url,
            "IDENTITY_ENDPOINT": f"{running.url}/azure/token",
            "IDENTITY_HEADER": support.AZURE_HEADER,
        }.items():
            monkeypatch.setenv(name, value)
        yield running


def reference(service: str, services: Services) -> str:
    return {
        "vault": "hashivault://release",
        "bao": "openbao://release",
        "aws": "awskms:///alias/release",
        "aws by ARN": f"awskms:///{support.AWS_ARN}",
        "google": GOOGLE,
        "google by version": f"{GOOGLE}/cryptoKeyVersions/{services.version}",
        "azure": f"azurekms://{services.url.removeprefix('http://')}/release",
        "azure by version": f"azurekms://{services.url.removeprefix('http://')}/release/v3",
    }[service]


ALL = [
    "vault",
    "bao",
    "aws",
    "aws by ARN",
    "google",
    "google by version",
    "azure",
    "azure by version",
]
EACH = ["vault", "aws", "google", "azure"]


@pytest.mark.parametrize("service", ALL)
def test_a_key_signs_digests_and_messages(service: str, services: Services) -> None:
    key = open_key(reference(service, services))
    assert key.public_key == PublicKey.from_spki(services.spki)
    key.public_key.verify(key.sign(MESSAGE), MESSAGE)
    key.public_key.verify(key.sign_digest(sha("sha256", MESSAGE)), MESSAGE)
    assert public_key(reference(service, services)) == key.public_key


@pytest.mark.parametrize("service", EACH)
@pytest.mark.parametrize("kind", ["p384", "p521", "rsa"])
def test_every_kind_signs_with_its_own_hash(service: str, kind: str, services: Services) -> None:
    services.key = KEYS[kind]()
    if (service, kind) == ("google", "p521"):  # Google has none
        with pytest.raises(AlgorithmRefused):
            open_key(reference(service, services))
        return
    key = open_key(reference(service, services))
    key.public_key.verify(key.sign_digest(sha(digest_name(key.public_key), MESSAGE)), MESSAGE)


@pytest.mark.parametrize("service", ["vault", "google"])
def test_ed25519_signs_statements_only(service: str, services: Services) -> None:
    services.key = ed25519.Ed25519PrivateKey.generate()
    key = open_key(reference(service, services))
    key.public_key.verify(key.sign(MESSAGE), MESSAGE)
    with pytest.raises(AlgorithmRefused, match="no file's digest"):
        key.sign_digest(sha("sha512", MESSAGE))


@pytest.mark.parametrize("service", EACH)
@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_a_service_that_signs_with_another_key_is_found_out(
    service: str, kind: str, services: Services
) -> None:
    services.key = KEYS[kind]()
    key = open_key(reference(service, services))
    services.lie = True
    with pytest.raises((SignatureInvalid, FormatError)):
        key.sign_digest(sha("sha256", MESSAGE))
    with pytest.raises((SignatureInvalid, FormatError)):
        key.sign(MESSAGE)


@pytest.mark.parametrize("service", EACH)
def test_what_another_service_would_say_is_refused(service: str, services: Services) -> None:
    key = open_key(reference(service, services))
    odd: list[dict[str, Any]] = [
        {},
        {"data": None},
        {"data": {"signature": "vault:v3:"}},
        {"data": {"signature": "vault:v2:AAAA"}},
        {"Signature": ""},
        {"signature": 5, "value": ["x"], "name": "another"},
        {"signature": "!", "value": "!", "data": {"signature": "!"}},
        {"key": {"kty": "oct"}, "pem": "x", "algorithm": "x", "PublicKey": ""},
        {"data": {"latest_version": 1, "keys": {"1": 1700000000}}},
    ]
    for answer in odd:
        services.odd = answer
        with pytest.raises(CountermarkError):
            key.sign_digest(sha("sha256", MESSAGE))
        with pytest.raises(CountermarkError):
            open_key(reference(service, services))


@pytest.mark.parametrize("service", EACH)
def test_a_service_that_fails_is_out_of_reach(
    service: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    key = open_key(reference(service, services))
    services.fail = 500
    with pytest.raises(UpstreamDown):
        key.sign_digest(sha("sha256", MESSAGE))
    services.fail = 403
    with pytest.raises(RequestRejected):
        key.sign_digest(sha("sha256", MESSAGE))


@pytest.mark.parametrize("service", ["vault", "google", "azure"])
def test_a_service_that_does_not_answer_is_given_up(
    service: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services_module, "TIMEOUT_S", 2.0)
    key = open_key(reference(service, services))
    services.hold_s = 20
    with pytest.raises((UpstreamDown, Pushback)) as refusal:
        key.sign_digest(sha("sha256", MESSAGE))
    assert "countermark up" not in str(getattr(refusal.value, "__notes__", []))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("hashivault://", RequestRejected),
        ("hashivault://a/b", RequestRejected),
        ("hashivault://../sys/raw", RequestRejected),
        ("hashivault://another", NotFound),
        ("awskms://release", RequestRejected),
        ("awskms:///alias/another", NotFound),
        ("awskms://evil.example.org?/alias/release", RequestRejected),
        ("gcpkms://projects/p", RequestRejected),
        (f"{GOOGLE}/cryptoKeyVersions/9", NotFound),
        (f"{GOOGLE}/cryptoKeyVersions/../3", RequestRejected),
        ("azurekms://vault.example.org", RequestRejected),
        ("azurekms://vault.example.org/release", RequestRejected),
        ("azurekms://vault.azure.net.example.org/release", RequestRejected),
        ("azurekms://vault.azure.net/release", RequestRejected),
        ("azurekms://user@vault.example.org/release", RequestRejected),
        ("k8s://namespace/name", RequestRejected),
        ("https://example.org/key.pub", RequestRejected),
    ],
)
def test_what_names_no_key_is_refused(
    text: str, error: type[CountermarkError], services: Services
) -> None:
    with pytest.raises(error):
        open_key(text)
    with pytest.raises(error):
        public_key(text)


def test_who_has_no_token_is_told(
    services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s.other")
    with pytest.raises(RequestRejected, match="permission denied"):
        open_key("hashivault://release")
    monkeypatch.delenv("VAULT_TOKEN")
    with pytest.raises(SettingsError, match="no Vault token"):
        open_key("hashivault://release")
    (tmp_path / ".vault-token").write_text(f"{support.VAULT_TOKEN}\n")
    open_key("hashivault://release")
    monkeypatch.delenv("VAULT_ADDR")
    with pytest.raises(SettingsError, match="VAULT_ADDR"):
        open_key("hashivault://release")
    monkeypatch.setenv("VAULT_ADDR", "http://vault.example.org")
    with pytest.raises(SettingsError, match="neither https nor on this machine"):
        open_key("hashivault://release")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(SettingsError, match="AWS KMS cannot be asked"):
        open_key("awskms:///alias/release")
    (tmp_path / "account.json").write_text("{}")
    with pytest.raises(SettingsError, match="Google"):
        open_key(GOOGLE)


def test_only_digests_go_to_a_service(services: Services) -> None:
    for service in EACH:
        key = open_key(reference(service, services))
        del services.asked[:]
        key.sign(MESSAGE)
        assert len(services.asked) == 1, services.asked


@pytest.mark.parametrize("service", ["google", "azure"])
def test_a_token_is_asked_for_once(service: str, services: Services) -> None:
    key = open_key(reference(service, services))
    key.sign(MESSAGE)
    asked = [path for _, path in services.asked if "/token" in path]
    assert len(asked) == 1, asked


@pytest.mark.parametrize(
    ("text", "module", "extra"),
    [
        ("awskms:///alias/release", "botocore.session", "kms"),
        (GOOGLE, "google.auth", "kms"),
        ("azurekms://localhost/release", "azure.identity", "kms"),
        ("pkcs11:token=a?module-path=/nowhere.so", "pkcs11", "hsm"),
    ],
)
def test_who_lacks_a_library_is_told_which_extra_has_it(
    text: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingsError, match="not installed") as refusal:
        open_key(text)
    assert refusal.value.__notes__ == [f"pip install 'countermark[{extra}]'"]


def test_who_lacks_python_pkcs11_is_told_by_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    uri = "pkcs11:object=a?module-path=/nowhere.so"
    for command in (["list", uri], ["generate", "--in", uri], ["public", "--key", uri]):
        assert run(["key", *command]) == 78
        assert "pip install 'countermark[hsm]'" in capsys.readouterr().err


def test_who_lacks_pynacl_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nacl", None)
    key = LocalKey.generate(ED25519)
    key.public_key.verify(key.sign(MESSAGE), MESSAGE)
    with pytest.raises(SettingsError, match="PyNaCl") as refusal:
        key.sign_digest(sha("sha512", MESSAGE))
    assert refusal.value.__notes__ == ["pip install 'countermark[keys]'"]
    files.encode_private_key(key, b"secret", as_cosign=False)
    with pytest.raises(SettingsError, match="PyNaCl"):
        files.encode_private_key(key, b"secret", as_cosign=True)


def test_a_folder_of_that_name_does_not_stand_in_for_a_service(
    services: Services, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hashivault:").mkdir()
    Path("hashivault:/release").write_text(LocalKey.generate(P256).public_key.to_pem())
    assert public_key("hashivault://release") == PublicKey.from_spki(services.spki)
    assert public_key("./hashivault:/release") != PublicKey.from_spki(services.spki)

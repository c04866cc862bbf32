# SPDX-License-Identifier: Apache-2.0
"""The library against a real instance: what it signs, and which lies it sees through."""

import io
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest

import countermark
from countermark import Identity, Signer, TrustedRoot, Verifier
from countermark.client.certificate import EphemeralKey
from countermark.client.choice import Instance, InstanceChoice, choose_instance
from countermark.client.identity import IdentityToken, local_token
from countermark.client.oauth import log_in
from countermark.client.submit import submit_entry
from countermark.client.transport import Transport
from countermark.core.bundle.bundle import MessageSignature
from countermark.core.bundle.signing_config import Service
from countermark.core.encoding import from_base64
from countermark.core.errors import (
    ChainInvalid,
    CountermarkError,
    FormatError,
    IdentityMismatch,
    InclusionInvalid,
    NotFound,
    RequestRejected,
    SCTInvalid,
    SettingsError,
    TimeUnproven,
    TokenRejected,
)
from countermark.core.identity.token import parse_token
from countermark.core.wire.fulcio import signing_cert_response
from countermark.core.wire.rekor_v1 import parse_log_info, proposed_hashedrekord
from tests.support.running import Running
from tests.support.scripted_server import scripted

ADA = "ada@example.org"


@pytest.fixture(autouse=True)
def _own_registry(instance: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("COUNTERMARK_", "ACTIONS_ID_TOKEN", "SIGSTORE_", "GITHUB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COUNTERMARK_HOME", str(instance.registry))


@pytest.fixture
def transport() -> Iterator[Transport]:
    opened = Transport()
    yield opened
    opened.close()


@pytest.fixture
def chosen(instance: Running) -> Instance:
    return choose_instance(InstanceChoice(url=instance.url))


@pytest.fixture
def token(chosen: Instance, transport: Transport) -> IdentityToken:
    return IdentityToken.parse(local_token(chosen, transport, ADA))


def changed(chosen: Instance, **fields: Any) -> Instance:
    """The instance as somebody sees it who believes something else."""
    root = chosen.trusted_root._replace(**fields)
    return Instance(chosen.name, chosen.url, root, chosen.signing_config, chosen.data_dir)


def log_size(url: str, transport: Transport) -> int:
    return parse_log_info(transport.get(f"{url}/api/v1/log", "log").body).tree_size


def test_every_public_name_can_be_had() -> None:
    for name in countermark.__all__:
        assert getattr(countermark, name).__name__ == name
    assert set(countermark.__all__) <= set(dir(countermark))
    with pytest.raises(AttributeError, match="no attribute 'Sigher'"):
        countermark.__getattr__("Sigher")


def test_sign_and_verify_in_a_few_lines(instance: Running, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    signer = Signer.create(email=ADA)
    expected = Identity(ADA, instance.issuer)
    for source in (file, b"content", io.BytesIO(b"content")):
        signed = signer.sign(source)
        assert signed.evidence.signer is not None
        assert signed.evidence.signer.name == ADA
        evidence = Verifier().verify(file, signed.bundle.serialize(), expected)
        assert evidence.checks
        with pytest.raises(countermark.VerificationError):
            Verifier().verify(b"another", signed.bundle, expected)
    with pytest.raises(IdentityMismatch):
        Verifier().verify(file, signed.bundle, Identity("bob@example.org", instance.issuer))


def test_a_file_that_is_not_there(chosen: Instance, token: IdentityToken, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        Signer(chosen, token).sign(tmp_path / "missing")


def test_a_statement_without_a_digest_is_not_signed(chosen: Instance, token: IdentityToken) -> None:
    statement = (
        b'{"_type":"https://in-toto.io/Statement/v1","predicateType":"x",'
        b'"subject":[{"name":"a","digest":{"gitCommit":"00"}}]}'
    )
    with pytest.raises(RequestRejected, match="no SHA-2 digest"):
        Signer(chosen, token).sign_statement(statement)
    with pytest.raises(FormatError):
        Signer(chosen, token).sign_statement(b"not JSON")


def test_a_certificate_on_no_trusted_ct_log_is_not_used(
    chosen: Instance, token: IdentityToken, transport: Transport
) -> None:
    before = log_size(chosen.url, transport)
    with pytest.raises(SCTInvalid, match="no trusted certificate log"):
        Signer(changed(chosen, ctlogs=()), token).sign(b"x")
    assert log_size(chosen.url, transport) == before


def test_a_certificate_of_no_trusted_authority_is_not_used(
    chosen: Instance, token: IdentityToken, transport: Transport
) -> None:
    before = log_size(chosen.url, transport)
    with pytest.raises(ChainInvalid, match="not in the trusted root"):
        Signer(changed(chosen, certificate_authorities=()), token).sign(b"x")
    assert log_size(chosen.url, transport) == before


def test_an_authoritys_namesake_is_not_believed(chosen: Instance, token: IdentityToken) -> None:
    """Same names, another key: the chain's signature decides."""
    (authority,) = chosen.trusted_root.certificate_authorities
    key = EphemeralKey().public_key
    (own,) = (c for c in authority.certificates[:1])
    forged = authority.chain[0].replace(own.spki, key.spki)
    assert forged != authority.chain[0]
    namesake = authority._replace(chain=(forged, *authority.chain[1:]))
    with pytest.raises(ChainInvalid, match="not signed by its issuer"):
        Signer(changed(chosen, certificate_authorities=(namesake,)), token).sign(b"x")


def test_a_log_nobody_trusts_makes_no_bundle(chosen: Instance, token: IdentityToken) -> None:
    with pytest.raises(InclusionInvalid, match="no trusted log"):
        Signer(changed(chosen, tlogs=()), token).sign(b"x")


def test_a_timestamp_nobody_trusts_makes_no_bundle(chosen: Instance, token: IdentityToken) -> None:
    with pytest.raises(TimeUnproven, match="no timestamp authority"):
        Signer(changed(chosen, timestamp_authorities=()), token).sign(b"x")


def test_a_certificate_for_somebody_elses_key_is_not_used(
    chosen: Instance, token: IdentityToken
) -> None:
    other = Signer(chosen, token).sign(b"x").bundle.certificates[0]
    chain = (other, *chosen.trusted_root.certificate_authorities[0].chain)
    with scripted((200, {}, signing_cert_response(chain))) as server:
        lying = Instance(
            chosen.name,
            chosen.url,
            chosen.trusted_root,
            _with_ca(chosen, server.url),
            chosen.data_dir,
        )
        with pytest.raises(ChainInvalid, match="another key than ours"):
            Signer(lying, token).sign(b"x")


@pytest.mark.parametrize("reply", [b"", b"{}", b"<html>nginx</html>", b"\xff" * 100])
def test_an_authority_that_answers_nonsense_is_a_format_error(
    chosen: Instance, token: IdentityToken, reply: bytes
) -> None:
    with scripted((200, {}, reply)) as server:
        lying = Instance(chosen.name, chosen.url, chosen.trusted_root, _with_ca(chosen, server.url))
        with pytest.raises(FormatError):
            Signer(lying, token).sign(b"x")


def _with_ca(chosen: Instance, url: str) -> countermark.SigningConfig:
    old = chosen.signing_config
    return countermark.SigningConfig(
        (Service(url, 1),), old.oidc_urls, old.rekor_tlog_urls, old.tsa_urls
    )


def test_an_entry_that_is_there_already_is_found(
    chosen: Instance, token: IdentityToken, transport: Transport
) -> None:
    """As after a lost answer: the second POST is a 409 that says where."""
    bundle = Signer(chosen, token).sign(b"once").bundle
    (entry,) = bundle.tlog_entries
    spec = re.search(rb'"publicKey":\{"content":"([^"]+)"', entry.canonicalized_body)
    assert spec is not None
    pem = from_base64(spec[1].decode(), "PEM").decode()
    assert isinstance(bundle.content, MessageSignature)
    proposal = proposed_hashedrekord(
        "sha256", bundle.content.digest.hex(), bundle.content.signature, pem
    )
    again = submit_entry(transport, chosen.url, proposal)
    assert (again.log_index, again.canonicalized_body) == (
        entry.log_index,
        entry.canonicalized_body,
    )


def test_a_409_that_points_elsewhere_is_not_followed(transport: Transport) -> None:
    with scripted((200, {}, b"{}")) as thief:
        for location in (thief.url, f"{thief.url}/api/v1/log/entries/00", "", "//x/y"):
            with (
                scripted((409, {"Location": location}, b"{}")) as server,
                pytest.raises(FormatError, match="does not say where"),
            ):
                submit_entry(transport, server.url, b"{}")
    assert thief.asked == []


class Person:
    """Somebody at a browser that has just been opened."""

    def __init__(self, email: str, *, cancels: bool = False, meddles: bool = False) -> None:
        self._form = {"email": email, **({"decision": "cancel"} if cancels else {})}
        self._meddles = meddles
        self.page = ""
        self._thread = threading.Thread()

    def open(self, address: str) -> bool:
        self._thread = threading.Thread(target=self._answer, args=(address,))
        self._thread.start()
        return True

    def _answer(self, address: str) -> None:
        parts = urlsplit(address)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if self._meddles:
            forged = urlencode({"code": "forged", "state": "guessed"})
            with pytest.raises(HTTPError):
                urlopen(f"{asked['redirect_uri']}?{forged}")
        origin = f"{parts.scheme}://{parts.netloc}"
        with urlopen(address) as answer:
            assert answer.status == 200
        form = urlencode(asked | self._form).encode()
        with urlopen(Request(address.partition("?")[0], form, {"Origin": origin})) as answer:
            self.page = answer.read().decode()

    def leave(self) -> None:
        self._thread.join()


def test_a_person_logs_in_with_a_browser(instance: Running, transport: Transport) -> None:
    person = Person("grace@example.org", meddles=True)
    token = log_in(
        instance.issuer, transport, open_browser=person.open, ask_for_code=lambda _: "unused"
    )
    person.leave()
    assert parse_token(token).claims["email"] == "grace@example.org"
    assert "You are logged in" in person.page


def test_a_login_that_is_cancelled(instance: Running, transport: Transport) -> None:
    person = Person("grace@example.org", cancels=True)
    with pytest.raises(TokenRejected, match="refused: the login was cancelled"):
        log_in(instance.issuer, transport, open_browser=person.open, ask_for_code=lambda _: "")
    person.leave()
    assert "refused" in person.page


def test_a_code_that_was_mistyped(instance: Running, transport: Transport) -> None:
    with pytest.raises(TokenRejected, match="the login was refused"):
        log_in(
            instance.issuer, transport, open_browser=lambda _: False, ask_for_code=lambda _: "oops"
        )


def test_another_instances_root_does_not_verify(chosen: Instance, token: IdentityToken) -> None:
    signed = Signer(chosen, token).sign(b"x")
    shipped = Path(countermark.__file__).parent / "trust_data" / "public_good_trusted_root.json"
    with pytest.raises(CountermarkError):
        Verifier(TrustedRoot.parse(shipped.read_bytes())).verify(
            b"x", signed.bundle, Identity(ADA, token.issuer)
        )


def test_signing_services_that_are_over_are_not_used(
    chosen: Instance, token: IdentityToken
) -> None:
    empty = countermark.SigningConfig((), (), ())
    stale = Instance(chosen.name, chosen.url, chosen.trusted_root, empty)
    with pytest.raises(SettingsError, match="no certificate authority"):
        Signer(stale, token).sign(b"x")

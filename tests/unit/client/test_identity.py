# SPDX-License-Identifier: Apache-2.0
"""Who signs: which token is taken, and what is said when there is none."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from countermark.client.choice import Instance
from countermark.client.device import ToShow
from countermark.client.identity import IdentityToken, Prompts, find_identity
from countermark.client.logins import forget_email, load_email, save_email
from countermark.client.transport import Transport
from countermark.core.bundle.signing_config import Service, SigningConfig
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.errors import (
    FormatError,
    RequestRejected,
    SettingsError,
    TokenRejected,
    UpstreamDown,
)
from countermark.core.wire.oidc import TokenReply
from tests.support.issuer import LocalIssuer
from tests.support.scripted_server import scripted

NOTHING: dict[str, str] = {}
EMPTY_ROOT = TrustedRoot((), (), (), ())
SECRET = "5f" * 32


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def transport() -> Iterator[Transport]:
    opened = Transport(timeout_s=2)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def issuer() -> Iterator[LocalIssuer]:
    with LocalIssuer() as running:
        yield running


def remote(issuer_url: str = "https://issuer.example") -> Instance:
    services = SigningConfig((), (Service(issuer_url, 1),), ())
    return Instance("https://sigstore.example", "https://sigstore.example", EMPTY_ROOT, services)


def local(url: str, data_dir: Path, *, mode: int = 0o600) -> Instance:
    data_dir.mkdir()
    (data_dir / "local-secret").write_text(SECRET + "\n")
    (data_dir / "local-secret").chmod(mode)
    return Instance(url, url, EMPTY_ROOT, SigningConfig((), (), ()), str(data_dir))


def person(issuer: LocalIssuer, email: str, **changes: Any) -> str:
    return issuer.token(email=email, email_verified=True, **changes)


def test_a_token_says_who_it_is_for(issuer: LocalIssuer) -> None:
    token = IdentityToken.parse(person(issuer, "ada@example.org") + "\n")
    assert (token.issuer, token.subject) == (issuer.url, "ada@example.org")
    assert token.expires_at_s > time.time()


def test_a_token_is_never_shown(issuer: LocalIssuer) -> None:
    text = person(issuer, "ada@example.org")
    assert text not in repr(IdentityToken.parse(text))


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "e30.e30.x", "x" * 100_000])
def test_what_is_no_token_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(TokenRejected) as raised:
        IdentityToken.parse(text)
    assert not text or text[:40] not in str(raised.value)


def test_an_expired_token_is_refused_before_it_is_sent(
    transport: Transport, issuer: LocalIssuer
) -> None:
    old = person(issuer, "ada@example.org", exp=int(time.time()) - 1)
    with pytest.raises(TokenRejected, match=r"token of ada@example\.org has expired") as raised:
        find_identity(remote(), transport, token=old, environ=NOTHING)
    assert "countermark login" in raised.value.__notes__[0]


def test_a_token_without_expiry_is_refused(issuer: LocalIssuer) -> None:
    with pytest.raises(TokenRejected, match="when it expires"):
        IdentityToken.parse(issuer.token(exp=None))


@pytest.mark.parametrize(
    "expires",
    [10**400, True, "1", [1], -(10**400)],
    ids=["huge", "true", "text", "list", "hugely-negative"],
)
def test_an_expiry_that_is_no_time_is_refused(issuer: LocalIssuer, expires: object) -> None:
    with pytest.raises(TokenRejected, match="when it expires"):
        IdentityToken.parse(issuer.token(exp=expires))


def test_the_order(transport: Transport, issuer: LocalIssuer) -> None:
    def found(token: str = "") -> str:
        return find_identity(remote(), transport, environ=environ, token=token).subject

    environ = {**issuer.environment()}
    assert found().startswith("repo:")
    environ["COUNTERMARK_IDENTITY_TOKEN"] = person(issuer, "variable@example.org")
    assert found() == "variable@example.org"
    assert found(token=person(issuer, "flag@example.org")) == "flag@example.org"


def test_the_ci_systems_token_comes_before_a_remembered_address(
    transport: Transport, issuer: LocalIssuer, tmp_path: Path
) -> None:
    instance = local("http://localhost:1", tmp_path / "data")
    save_email(instance.name, "bob@example.org")
    found = find_identity(instance, transport, environ=issuer.environment())
    assert found.subject.startswith("repo:")


def test_an_address_is_of_no_use_elsewhere(transport: Transport) -> None:
    save_email(remote().name, "ada@example.org")
    with pytest.raises(TokenRejected, match="nobody is logged in") as raised:
        find_identity(remote(), transport, environ=NOTHING)
    assert "login --print-token" in raised.value.__notes__[0]


def test_an_address_gets_a_token_of_the_local_instance(
    transport: Transport, issuer: LocalIssuer, tmp_path: Path
) -> None:
    reply = TokenReply(id_token=person(issuer, "ada@example.org")).serialize()
    with scripted((200, {}, reply)) as server:
        instance = local(server.url, tmp_path / "data")
        named = find_identity(instance, transport, email="ada@example.org", environ=NOTHING)
        save_email(instance.name, "bob@example.org")
        find_identity(instance, transport, environ=NOTHING)
        transport.close()
    assert named.subject == "ada@example.org"
    assert [asked.body for asked in server.asked] == [
        b'{"email":"ada@example.org"}',
        b'{"email":"bob@example.org"}',
    ]
    assert {asked.path for asked in server.asked} == {"/oidc/local-token"}
    assert {asked.headers["countermark-local-secret"] for asked in server.asked} == {SECRET}


def test_the_address_in_the_configuration_is_the_last_resort(
    transport: Transport, issuer: LocalIssuer, tmp_path: Path, home: Path
) -> None:
    home.mkdir()
    (home / "config.toml").write_text('email = "conf@example.org"')
    reply = TokenReply(id_token=person(issuer, "conf@example.org")).serialize()
    with scripted((200, {}, reply)) as server:
        find_identity(local(server.url, tmp_path / "data"), transport, environ=NOTHING)
        transport.close()
    assert server.asked[0].body == b'{"email":"conf@example.org"}'


def test_what_the_login_service_says_is_told(transport: Transport, tmp_path: Path) -> None:
    refusal = b'{"code": 401, "message": "the secret is wrong"}'
    with scripted((401, {}, refusal)) as server:
        instance = local(server.url, tmp_path / "data")
        with pytest.raises(RequestRejected, match=r"login service at \S+ refused: the secret"):
            find_identity(instance, transport, email="a@example.org", environ=NOTHING)
        transport.close()


def test_a_secret_that_others_may_write_is_not_sent(transport: Transport, tmp_path: Path) -> None:
    instance = local("http://localhost:1", tmp_path / "data", mode=0o666)
    with pytest.raises(SettingsError, match="written by others"):
        find_identity(instance, transport, email="a@example.org", environ=NOTHING)


def test_an_instance_elsewhere_issues_no_tokens_for_the_asking(transport: Transport) -> None:
    with pytest.raises(SettingsError, match="issues no tokens for the asking"):
        find_identity(remote(), transport, email="a@example.org", environ=NOTHING)


def test_with_nobody_to_ask_the_ways_are_named(transport: Transport, tmp_path: Path) -> None:
    with pytest.raises(TokenRejected, match="nobody is logged in") as raised:
        find_identity(remote(), transport, environ=NOTHING)
    assert "--email" not in raised.value.__notes__[0]
    with pytest.raises(TokenRejected) as raised:
        find_identity(local("http://localhost:1", tmp_path / "d"), transport, environ=NOTHING)
    assert "--email" in raised.value.__notes__[0]


def test_a_workflow_without_permission_is_told_so(transport: Transport) -> None:
    with pytest.raises(TokenRejected) as raised:
        find_identity(remote(), transport, environ={"GITHUB_ACTIONS": "true"})
    assert "id-token: write" in raised.value.__notes__[0]


def test_a_provider_that_describes_another_one_is_not_used(
    transport: Transport, issuer: LocalIssuer
) -> None:
    def never(_: str) -> bool:
        raise AssertionError("a browser was opened")

    prompts = Prompts(never, lambda _: "")
    with scripted((200, {}, b'{"issuer": "https://evil.example", "jwks_uri": "x"}')) as server:
        with pytest.raises(FormatError, match="describes another issuer"):
            find_identity(remote(server.url), transport, prompts=prompts, environ=NOTHING)
        transport.close()


def test_who_asks_for_a_device_code_does_not_sign_as_the_machine(
    transport: Transport, issuer: LocalIssuer
) -> None:
    """Neither the CI system's token nor a remembered address stands in for the person."""
    told: list[ToShow] = []
    before = len(issuer.requests)
    prompts = Prompts(lambda _: False, lambda _: "", told.append, "only")
    with scripted((500, {}, b"")) as server:
        with pytest.raises(UpstreamDown, match=f"identity provider at {server.url}"):
            find_identity(
                remote(server.url), transport, prompts=prompts, environ=issuer.environment()
            )
        transport.close()
    assert server.asked[0].path.endswith("/openid-configuration")
    assert len(issuer.requests) == before


@pytest.mark.parametrize(("offers", "path"), [(True, "/device"), (False, "")])
def test_without_a_display_a_device_code_is_used_where_it_is_offered(
    transport: Transport, offers: bool, path: str
) -> None:
    typed: list[str] = []

    def ask(address: str) -> str:
        typed.append(address)
        return "code"

    prompts = Prompts(lambda _: False, ask, lambda _: None, "offered")
    with scripted((200, {}, b"")) as server:
        discovery = {
            "issuer": server.url,
            "jwks_uri": f"{server.url}/jwks",
            "authorization_endpoint": f"{server.url}/auth",
            "token_endpoint": f"{server.url}/token",
            "device_authorization_endpoint": f"{server.url}/device" if offers else "",
        }
        found: tuple[int, dict[str, str], bytes] = (200, {}, json.dumps(discovery).encode())
        server.answers = [found, found, (400, {}, b'{"error": "over"}')]
        with pytest.raises(TokenRejected, match="the login was refused"):
            find_identity(remote(server.url), transport, prompts=prompts, environ=NOTHING)
        transport.close()
    assert server.asked[-1].path == (path or "/token")
    assert bool(typed) is not offers


def test_logins_are_kept_apart_and_private(home: Path) -> None:
    save_email("a", "a@example.org")
    save_email("b", "b@example.org")
    assert (load_email("a"), load_email("b")) == ("a@example.org", "b@example.org")
    assert (home / "logins.json").stat().st_mode & 0o777 == 0o600
    assert forget_email("a")
    assert not forget_email("a")
    assert (load_email("a"), load_email("b")) == ("", "b@example.org")


def test_a_damaged_file_of_logins_says_what_to_do(home: Path) -> None:
    save_email("a", "a@example.org")
    (home / "logins.json").write_text('{"version": 2, "emails": {"a": 7}}')
    with pytest.raises(FormatError, match="countermark login"):
        load_email("a")


def test_a_token_in_an_old_file_is_not_used_and_soon_gone(home: Path) -> None:
    save_email("a", "a@example.org")
    old = {"version": 1, "logins": {"a": {"email": "", "token": "secret"}}}
    (home / "logins.json").write_text(json.dumps(old))
    assert not load_email("a")
    save_email("b", "b@example.org")
    assert "secret" not in (home / "logins.json").read_text()

# SPDX-License-Identifier: Apache-2.0
"""Tokens that the surroundings offer, asked for from servers that speak each vendor's protocol."""

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from countermark.client.ambient import FILE_VARIABLE, ambient_token, missing_token_hint
from countermark.client.ambient_google import google_token
from countermark.client.ambient_spiffe import spiffe_token
from countermark.client.transport import Reply, Transport
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    RequestRejected,
    SettingsError,
    TokenRejected,
    UpstreamDown,
)
from countermark.core.identity.token import parse_token
from tests.support.issuer import LocalIssuer
from tests.support.scripted_server import scripted


@pytest.fixture
def transport() -> Iterator[Transport]:
    opened = Transport(timeout_s=2)
    yield opened
    opened.close()


def script(folder: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program called `name` before all others."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_outside_of_any_ci_there_is_none(transport: Transport) -> None:
    assert ambient_token("sigstore", transport, {}) is None


def test_github_actions(transport: Transport) -> None:
    with LocalIssuer() as issuer:
        token = ambient_token("sigstore", transport, issuer.environment())
        transport.close()
    assert token is not None
    claims = parse_token(token).claims
    assert (claims["aud"], claims["iss"]) == ("sigstore", issuer.url)


def test_github_actions_with_a_wrong_secret(transport: Transport) -> None:
    with LocalIssuer() as issuer:
        environment = {**issuer.environment(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "wrong"}
        with pytest.raises(RequestRejected, match=r"token service at \S+ refused"):
            ambient_token("sigstore", transport, environment)
        transport.close()


def test_github_actions_without_a_secret(transport: Transport) -> None:
    with pytest.raises(TokenRejected, match="ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        ambient_token("sigstore", transport, {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x/?a"})


@pytest.mark.parametrize("answer", [b"", b"{}", b"<html>", b'{"value": 7}', b"\xff"])
def test_github_actions_with_another_answer(transport: Transport, answer: bytes) -> None:
    with scripted((200, {}, answer)) as server:
        environment = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{server.url}/?x",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "s",
        }
        with pytest.raises(CountermarkError, match="did not answer as expected"):
            ambient_token("sigstore", transport, environment)
        transport.close()


def test_a_token_in_the_environment(transport: Transport) -> None:
    assert ambient_token("sigstore", transport, {"SIGSTORE_ID_TOKEN": "a.b.c"}) == "a.b.c"


def test_buildkite(transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "buildkite-agent", 'echo "$*"', monkeypatch)
    token = ambient_token("sigstore", transport, {"BUILDKITE": "true"})
    assert token == "oidc request-token --audience sigstore"


def test_circleci(transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path, "circleci", 'echo "$*"', monkeypatch)
    token = ambient_token("sigstore", transport, {"CIRCLECI": "true"})
    assert token == 'run oidc get --claims {"aud": "sigstore"} --root-issuer'


def test_a_ci_program_that_fails(
    transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, "buildkite-agent", "echo half-a-token; exit 3", monkeypatch)
    with pytest.raises(UpstreamDown, match="`buildkite-agent` gave no identity token"):
        ambient_token("sigstore", transport, {"BUILDKITE": "true"})


# --- Buildkite's agent API -----------------------------------------------------------------------


def buildkite(url: str) -> dict[str, str]:
    return {
        "BUILDKITE": "true",
        "BUILDKITE_AGENT_ACCESS_TOKEN": "job-secret",
        "BUILDKITE_JOB_ID": "0190-4b1c/..",
        "BUILDKITE_AGENT_ENDPOINT": f"{url}/v3/",
    }


def test_buildkites_agent_api(transport: Transport) -> None:
    with scripted((200, {}, b'{"token": "a.b.c"}')) as server:
        assert ambient_token("sigstore", transport, buildkite(server.url)) == "a.b.c"
        transport.close()
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/v3/jobs/0190-4b1c%2F../oidc/tokens")
    assert asked.headers["authorization"] == "Token job-secret"
    assert json.loads(asked.body) == {"audience": "sigstore"}


@pytest.mark.parametrize(("status", "kind"), [(401, RequestRejected), (500, UpstreamDown)])
def test_buildkites_refusal(transport: Transport, status: int, kind: type[Exception]) -> None:
    with scripted((status, {}, b'{"message": "no"}')) as server:
        with pytest.raises(kind, match="token service at") as raised:
            ambient_token("sigstore", transport, buildkite(server.url))
        transport.close()
    assert "job-secret" not in str(raised.value)


# --- files: Kubernetes' projected tokens, SPIFFE's helper -----------------------------------------


def test_a_projected_token(transport: Transport, tmp_path: Path) -> None:
    """As the kubelet lays them out: a link to a link, changed whole."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "token").write_text("a.b.c\n")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "token").symlink_to("..data/token")
    environ = {FILE_VARIABLE: str(tmp_path / "token")}
    assert ambient_token("sigstore", transport, environ) == "a.b.c"


def test_a_file_that_holds_no_token(transport: Transport, tmp_path: Path) -> None:
    environ = {FILE_VARIABLE: str(tmp_path / "token")}
    with pytest.raises(SettingsError, match="which is not there"):
        ambient_token("sigstore", transport, environ)
    (tmp_path / "token").write_text("\n")
    with pytest.raises(TokenRejected, match="is empty"):
        ambient_token("sigstore", transport, environ)
    (tmp_path / "token").write_text("x" * 20_000)
    with pytest.raises(FormatError, match="larger than"):
        ambient_token("sigstore", transport, environ)
    (tmp_path / "token").unlink()
    os.mkfifo(tmp_path / "token")
    with pytest.raises(RequestRejected, match="named pipe"):
        ambient_token("sigstore", transport, environ)


@pytest.mark.parametrize(
    ("environ", "hint"),
    [
        ({"GITHUB_ACTIONS": "true"}, "id-token: write"),
        ({"GITLAB_CI": "true"}, "aud: sigstore"),
        ({"CF_BUILD_ID": "1"}, "obtain-oidc-id-token"),
    ],
)
def test_what_to_do_about_a_missing_token(environ: dict[str, str], hint: str) -> None:
    assert hint in missing_token_hint(environ)
    assert missing_token_hint({}) == ""


# --- Google Cloud --------------------------------------------------------------------------------

GOOGLE = {"Metadata-Flavor": "Google"}


def metadata(url: str, **more: str) -> dict[str, str]:
    return {"GCE_METADATA_HOST": url.removeprefix("http://"), **more}


def test_googles_metadata_server(transport: Transport) -> None:
    with scripted((200, GOOGLE, b"a.b.c\n")) as server:
        assert ambient_token("sigstore", transport, metadata(server.url)) == "a.b.c"
        transport.close()
    (asked,) = server.asked
    assert asked.path == (
        "/computeMetadata/v1/instance/service-accounts/default/identity"
        "?audience=sigstore&format=full"
    )
    assert asked.headers["metadata-flavor"] == "Google"


def test_another_account_of_google_is_lent(transport: Transport) -> None:
    account = "signer@project.iam.gserviceaccount.com"
    with (
        scripted((200, GOOGLE, b'{"access_token": "own-secret", "expires_in": 9}')) as server,
        scripted((200, {}, b'{"token": "d.e.f"}')) as lender,
    ):
        environ = metadata(server.url, GOOGLE_SERVICE_ACCOUNT_NAME=account)
        assert google_token("sigstore", transport, environ, api=lender.url) == "d.e.f"
        transport.close()
    (asked,) = lender.asked
    assert asked.path == f"/v1/projects/-/serviceAccounts/{account}:generateIdToken"
    assert asked.headers["authorization"] == "Bearer own-secret"
    assert json.loads(asked.body) == {"audience": "sigstore", "includeEmail": True}


def test_an_account_that_may_not_be_lent(transport: Transport) -> None:
    with (
        scripted((200, GOOGLE, b'{"access_token": "own-secret"}')) as server,
        scripted((403, {}, b"{}")) as lender,
    ):
        environ = metadata(server.url, GOOGLE_SERVICE_ACCOUNT_NAME="x@y")
        with pytest.raises(RequestRejected, match="Google's service for other accounts") as raised:
            google_token("sigstore", transport, environ, api=lender.url)
        transport.close()
    assert "own-secret" not in str(raised.value)


def test_an_impostor_of_the_metadata_server(transport: Transport) -> None:
    with scripted((200, {}, b"a.b.c")) as server:
        with pytest.raises(TokenRejected, match="is not it"):
            ambient_token("sigstore", transport, metadata(server.url))
        transport.close()


def test_a_machine_without_an_account_has_no_token(transport: Transport) -> None:
    with scripted((404, GOOGLE, b"")) as server:
        assert ambient_token("sigstore", transport, metadata(server.url)) is None
        transport.close()
    assert ambient_token("sigstore", transport, metadata(server.url)) is None  # nobody there now


def test_only_google_and_this_machine_are_asked(transport: Transport) -> None:
    for host in ("evil.example", "10.0.0.1:80", "metadata.google.internal.evil.example"):
        with pytest.raises(SettingsError, match="neither Google's nor this machine"):
            ambient_token("sigstore", transport, {"GCE_METADATA_HOST": host})


def test_googles_machines_are_known_by_their_firmware(
    transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def get(_: Transport, url: str, what: str, **more: object) -> Reply:
        asked.append(url)
        return Reply(200, {"metadata-flavor": "Google"}, b"a.b.c")

    monkeypatch.setattr(Transport, "get", get)
    product = tmp_path / "product_name"
    for name, token in (("Google Compute Engine\n", "a.b.c"), ("Googleplex", None)):
        product.write_text(name)
        found = google_token("sigstore", transport, {}, product_file=str(product))
        assert found == token
    assert asked == [
        "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/identity"
        "?audience=sigstore&format=full"
    ]


def test_on_a_cloud_ones_own_instance_is_not_given_the_clouds_name(transport: Transport) -> None:
    with scripted((200, GOOGLE, b"a.b.c")) as server:
        environ = metadata(server.url)
        assert ambient_token("sigstore", transport, environ, clouds=False) is None
    assert server.asked == []


def test_nothing_is_posted_beside_the_machine(transport: Transport) -> None:
    with pytest.raises(SettingsError, match="nothing is sent there"):
        transport.post("http://169.254.169.254/x", "the CA", b"token", content_type="a/b")


# --- a SPIFFE agent; see interop/test_spiffe.py for one over a real HTTP/2 ------------------------


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8000", "/x", "unix:x", "unix://host/x", "x"])
def test_agents_are_reached_by_unix_sockets_only(address: str) -> None:
    with pytest.raises(SettingsError, match="no address of a Unix socket"):
        spiffe_token("sigstore", {"SPIFFE_ENDPOINT_SOCKET": address})


def test_an_agent_that_is_not_there(tmp_path: Path) -> None:
    environ = {"SPIFFE_ENDPOINT_SOCKET": f"unix:{tmp_path}/none"}
    with pytest.raises(UpstreamDown, match="gave no token: No such file"):
        spiffe_token("sigstore", environ)
    assert spiffe_token("sigstore", {}) is None


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 9])
def test_an_agent_that_speaks_nonsense_or_nothing(tmp_path: Path, said: bytes) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(CountermarkError):
            spiffe_token("sigstore", {"SPIFFE_ENDPOINT_SOCKET": f"unix://{path}"})
        thread.join(5)


def test_an_agent_that_hangs(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(UpstreamDown, match="takes too long"):
            spiffe_token("sigstore", {"SPIFFE_ENDPOINT_SOCKET": f"unix://{path}"}, wait_s=0.2)

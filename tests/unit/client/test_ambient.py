# SPDX-License-Identifier: Apache-2.0
"""Tokens that CI systems offer."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from countermark.client.ambient import ambient_token
from countermark.client.transport import Transport
from countermark.core.errors import CountermarkError, RequestRejected, TokenRejected, UpstreamDown
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

# SPDX-License-Identifier: Apache-2.0
"""An identity provider like GitHub Actions', on this machine, with real keys.

It speaks what a workflow's job and Fulcio speak with GitHub: the token request of the job (bearer
secret and audience, answer in `value`), discovery, and keys. Claims are those of a real token.
"""

import json
import threading
import time
from collections.abc import Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from countermark.core.identity.token import message_to_sign, with_signature
from countermark.core.wire.oidc import jwks, rsa_jwk
from countermark.drivers.keys.file import FileSigner

REPOSITORY = "octo-org/octo-repo"
WORKFLOW = f"{REPOSITORY}/.github/workflows/release.yml@refs/tags/v1.2.3"
SHA = "9e2ab2d1fdb8cbb9b6e9b5b9f0c6d5a4b3c2d1e0"
REQUEST_SECRET = "the-job-s-own-secret"


def github_claims(issuer: str, audience: str = "sigstore", **changes: Any) -> dict[str, Any]:
    """The claims of a release job's token; a change to None leaves a claim out."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "jti": "c0e6e2b2-8c4a-4d0b-9e41-5f3b1b2a7d10",
        "sub": f"repo:{REPOSITORY}:ref:refs/tags/v1.2.3",
        "aud": audience,
        "ref": "refs/tags/v1.2.3",
        "sha": SHA,
        "repository": REPOSITORY,
        "repository_owner": "octo-org",
        "repository_owner_id": "65",
        "run_id": "8675309001",
        "run_number": "10",
        "run_attempt": "2",
        "repository_visibility": "public",
        "repository_id": "74",
        "actor_id": "12",
        "actor": "octocat",
        "workflow": "release",
        "head_ref": "",
        "base_ref": "",
        "event_name": "push",
        "ref_protected": "false",
        "ref_type": "tag",
        "workflow_ref": WORKFLOW,
        "workflow_sha": SHA,
        "job_workflow_ref": WORKFLOW,
        "job_workflow_sha": SHA,
        "runner_environment": "github-hosted",
        "iss": issuer,
        "nbf": now - 300,
        "exp": now + 600,
        "iat": now,
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


@cache
def _first_signer() -> FileSigner:
    """Made once: RSA keys take long to find."""
    return FileSigner(rsa.generate_private_key(65537, 2048))


class LocalIssuer:
    """The provider as a context manager; `url` is its issuer URL."""

    def __init__(self) -> None:
        self.signer = _first_signer()
        self.published = [self.signer]
        self.requests: list[str] = []
        self.discovery_changes: dict[str, Any] = {}
        self.replies: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://localhost:{self._server.server_address[1]}"

    def token(self, audience: str = "sigstore", **changes: Any) -> str:
        """A token of the release job; see `github_claims`."""
        return self.sign(github_claims(self.url, audience, **changes))

    def sign(self, claims: Mapping[str, Any], *, algorithm: str = "RS256") -> str:
        """Any claims, signed with the provider's key."""
        key_id = rsa_jwk(self.signer.public_key)["kid"]
        message = message_to_sign(claims, algorithm=algorithm, key_id=key_id)
        return with_signature(message, self.signer.sign(message))

    def rotate(self) -> None:
        """Sign with a new key, and publish only that."""
        self.signer = FileSigner(rsa.generate_private_key(65537, 2048))
        self.published = [self.signer]

    def environment(self) -> dict[str, str]:
        """What GitHub Actions gives a job that may ask for tokens."""
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_SECRET,
        }

    def answer(self, target: str, authorization: str) -> tuple[int, dict[str, str], bytes]:
        """What a GET of `target` yields: status, headers, body."""
        parts = urlsplit(target)
        self.requests.append(parts.path)
        if parts.path in self.replies:
            return self.replies[parts.path]
        json_type = {"content-type": "application/json"}
        if parts.path == "/.well-known/openid-configuration":
            document = {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/.well-known/jwks",
                "subject_types_supported": ["public", "pairwise"],
                "response_types_supported": ["id_token"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid"],
            } | self.discovery_changes
            return 200, json_type, json.dumps(document).encode()
        if parts.path == "/.well-known/jwks":
            return 200, json_type, jwks(*(signer.public_key for signer in self.published))
        if parts.path == "/token":
            if authorization.lower() != f"bearer {REQUEST_SECRET}":
                return 401, {}, b""
            audience = parse_qs(parts.query).get("audience", [""])[0]
            return 200, json_type, json.dumps({"count": 1, "value": self.token(audience)}).encode()
        return 404, {}, b""


def _handler(issuer: LocalIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = self.headers.get("authorization", "")
            status, headers, body = issuer.answer(self.path, authorization)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Quiet: the request line may hold a secret."""

    return Handler

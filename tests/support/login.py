# SPDX-License-Identifier: Apache-2.0
"""The embedded issuer for tests: a real key, and a clock that stands still until it is set."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.routing import Mount, Router

from countermark.drivers.keys.file import FileSigner
from countermark.oidc.api import routes
from countermark.oidc.keeper import LoginKeeper
from countermark.rpc.local import LocalKeeper
from tests.support.asgi import Browser
from tests.support.http_server import serving
from tests.support.timestamps import NOW, StandingClock, SystemEntropy

ISSUER = "http://localhost:7446/oidc"
SECRET = "5f" * 32
REDIRECT = "http://localhost:40123/auth/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636 appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
EMAIL = "ada@example.org"

_KEY = rsa.generate_private_key(65537, 2048)


class EmbeddedIssuer:
    """Keeper, routes and a browser for them."""

    def __init__(self, url: str = ISSUER, time: datetime = NOW) -> None:
        self.clock = StandingClock(time)
        self.signer = FileSigner(_KEY)
        self.login = LoginKeeper(url, self.signer, self.clock, SystemEntropy(), local_secret=SECRET)
        self.keeper = LocalKeeper(self.login.handlers())
        self.routes = routes(self.keeper, url)
        self.browser = Browser(self.routes)


@contextmanager
def serving_login() -> Iterator[str]:
    """An embedded issuer behind a real HTTP server, at the real time; gives its issuer URL."""
    late = Router()
    with serving([Mount("/", app=late)]) as url:
        issuer_url = f"{url}/oidc"
        late.routes.extend(EmbeddedIssuer(issuer_url, datetime.now(UTC)).routes)
        yield issuer_url


def query(**changes: str | None) -> dict[str, str]:
    """What sigstore-python asks the login page for; a change to None leaves a parameter out."""
    parameters: dict[str, str | None] = {
        "response_type": "code",
        "client_id": "sigstore",
        "client_secret": "",
        "scope": "openid email",
        "redirect_uri": REDIRECT,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "1f1c5f5a-0b5a-4a4e-9f2e-3b8b5d9a7c11",
    }
    merged = parameters | changes
    return {name: value for name, value in merged.items() if value is not None}

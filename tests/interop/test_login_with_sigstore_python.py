# SPDX-License-Identifier: Apache-2.0
"""sigstore-python's real login code against the embedded issuer: loopback and out of band.

Its browser is a few lines that open the page, fill in the form as it stands and send it.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.login import EMAIL, serving_login

TOOLS = Path(os.environ.get("COUNTERMARK_TOOLS", Path.home() / ".cache/countermark-tools"))
PEER = TOOLS / "sigstore-python/bin/python"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        not PEER.exists() and os.environ.get("CI") != "true",
        reason="scripts/install-peers was not run",
    ),
]

LOG_IN = """
import builtins, html, json, re, sys, threading, urllib.parse, urllib.request, webbrowser
import sigstore._internal.oidc.oauth as oauth
from sigstore.oidc import Issuer

issuer, email, way = sys.argv[1:]
base = issuer.rpartition("/")[0]

def visit(url):
    page = urllib.request.urlopen(url).read().decode()
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    form = {name: html.unescape(value) for name, value in hidden}
    form |= {"email": email, "decision": "continue"}
    body = urllib.parse.urlencode(form).encode()
    sent = urllib.request.Request(base + "/oidc/auth", body, {"Origin": base})
    return urllib.request.urlopen(sent).read().decode()

def open_browser(url, *rest):
    threading.Thread(target=visit, args=(url,)).start()
    return True

def type_code(prompt):
    return re.search(r'class="code">([^<]+)<', visit(shown[0]))[1]

shown = []
address = oauth._OAuthSession.auth_endpoint
def remember(session, redirect):
    shown.append(address(session, redirect))
    return shown[-1]

oauth._OAuthSession.auth_endpoint = remember
webbrowser.open = open_browser
builtins.input = type_code
token = Issuer(issuer).identity_token(force_oob=way == "oob")
print(json.dumps([token.identity, token.issuer, token.federated_issuer]))
"""


@pytest.mark.parametrize("way", ["loopback", "oob"])
def test_sigstore_python_logs_in(way: str) -> None:
    with serving_login() as issuer:
        done = subprocess.run(
            [str(PEER), "-c", LOG_IN, issuer, EMAIL, way],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [EMAIL, issuer, issuer]

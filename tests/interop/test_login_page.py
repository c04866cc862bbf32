# SPDX-License-Identifier: Apache-2.0
"""The login page in a real browser: does it work under its own policy, and stop other pages?"""

import contextlib
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest

from countermark.core.wire.oauth import OUT_OF_BAND
from tests.support.login import EMAIL, query, serving_login

DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(DRIVER is None, reason="needs chromedriver and Chromium"),
]
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


class Chromium:
    """A browser, through the W3C WebDriver protocol."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": FLAGS},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        opened = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._base += f"/session/{opened['sessionId']}"

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._base + path, data, method=method)
        try:
            with urlopen(request, timeout=60) as reply:
                return json.load(reply)["value"]
        except HTTPError as error:
            with error:
                raise AssertionError(json.load(error)["value"]["message"]) from error

    def _element(self, selector: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return f"/element/{next(iter(found.values()))}"

    def visit(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def type(self, selector: str, text: str) -> None:
        self._call("POST", f"{self._element(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        self._call("POST", f"{self._element(selector)}/click", {})

    def shown(self, selector: str) -> str:
        """The text of an element; empty while the page is not there yet."""
        found = ""
        with contextlib.suppress(AssertionError):
            found = self._call("GET", f"{self._element(selector)}/text")
        return found

    def complaints(self) -> str:
        """What the browser wrote to its console since it was asked last."""
        entries = self._call("POST", "/se/log", {"type": "browser"})
        return "\n".join(entry["message"] for entry in entries)

    def close(self) -> None:
        self._call("DELETE", "")


class Site:
    """A web server of somebody else's on this machine: a client's listener, or a hostile page."""

    def __init__(self) -> None:
        self.page = b"thanks"
        self.requests: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests.append(self.path)
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.send_header("content-length", str(len(site.page)))
                self.end_headers()
                self.wfile.write(site.page)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_address[1]}"

    def brought(self) -> dict[str, str]:
        """The query with which the browser came back."""
        wait_until(lambda: any(path.startswith("/callback") for path in self.requests))
        path = next(path for path in self.requests if path.startswith("/callback"))
        return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    process = subprocess.Popen(
        [DRIVER or "chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process, process.stdout:
        line = next(line for line in process.stdout if "started successfully on port" in line)
        browser = Chromium(int(line.rstrip(".\n").rpartition(" ")[2]))
        yield browser
        with contextlib.suppress(AssertionError):
            browser.close()
        process.terminate()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    site.server.shutdown()
    site.server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with serving_login() as issuer:
        yield issuer


def page(issuer: str, redirect: str) -> str:
    return f"{issuer}/auth?{urlencode(query(redirect_uri=redirect, state='a&b=c'))}"


def test_the_form_leads_back_to_the_client(chromium: Chromium, issuer: str, site: Site) -> None:
    chromium.visit(page(issuer, f"{site.url}/callback"))
    chromium.type("#email", EMAIL)
    chromium.click("button.primary")
    brought = site.brought()
    assert brought["state"] == "a&b=c"
    assert len(brought["code"]) == 27
    assert "Content Security Policy" not in chromium.complaints()


def test_cancel_leads_back_too(chromium: Chromium, issuer: str, site: Site) -> None:
    chromium.visit(page(issuer, f"{site.url}/callback"))
    chromium.click("button[value=cancel]")
    assert site.brought()["error"] == "access_denied"


def test_out_of_band(chromium: Chromium, issuer: str) -> None:
    chromium.visit(page(issuer, OUT_OF_BAND))
    chromium.type("#email", EMAIL)
    chromium.click("button.primary")
    wait_until(lambda: len(chromium.shown("output.code")) == 27)
    assert "Content Security Policy" not in chromium.complaints()


def test_other_pages_cannot_frame_it(chromium: Chromium, issuer: str, site: Site) -> None:
    chromium.complaints()
    address = page(issuer, OUT_OF_BAND).replace("&", "&amp;")
    site.page = f'<iframe src="{address}"></iframe>'.encode()
    chromium.visit(site.url)
    wait_until(lambda: "frame-ancestors" in chromium.complaints())


@pytest.mark.parametrize("same_site", [True, False])
def test_other_pages_cannot_post_the_form(
    chromium: Chromium, issuer: str, site: Site, same_site: bool
) -> None:
    fields = "".join(
        f'<input name="{name}" value="{value}">'
        for name, value in query(redirect_uri=OUT_OF_BAND, email="victim@example.org").items()
    )
    site.page = (
        f'<form method="post" action="{issuer}/auth">{fields}<button>Win</button></form>'.encode()
    )
    # Another port is the same site to a browser, but not the same origin.
    chromium.visit(site.url.replace("localhost", "127.0.0.1") if same_site else site.url)
    chromium.click("button")
    wait_until(lambda: "not sent by the login page" in chromium.shown("p.fault"))

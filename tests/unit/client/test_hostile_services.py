# SPDX-License-Identifier: Apache-2.0
"""Services, issuers and settings that mean harm to whoever signs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socket import create_server, socket

import pytest

from countermark.client.ambient import ambient_token
from countermark.client.deadline import Deadline
from countermark.client.oauth import check_endpoint
from countermark.client.submit import submit_entry
from countermark.client.transport import METADATA_ADDRESS, Transport
from countermark.core.errors import CountermarkError, FormatError, SettingsError, UpstreamDown
from tests.support.scripted_server import scripted

_SECRET = "a-bearer-secret"


@contextmanager
def _dripping(start: bytes, again: bytes) -> Iterator[str]:
    """A server that says `start` and then `again` and again, until the client goes."""
    listener = create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip(connection: socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(start)
                while not over.wait(0.02):
                    connection.sendall(again)
            except OSError:
                pass

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.close()


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"HTTP/1.1 2", b"0"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"a"),
    ],
    ids=["status", "header", "interim replies", "size of a chunk", "body"],
)
@pytest.mark.parametrize("budget", [True, False])
def test_bytes_that_drip_end_with_the_time(start: bytes, again: bytes, budget: bool) -> None:
    with _dripping(start, again) as url:
        transport = Transport() if budget else Transport(timeout_s=0.1)
        ended = threading.Event()

        def ask() -> None:
            limited = transport.until(Deadline.after(0.4)) if budget else transport
            with pytest.raises(UpstreamDown, match="too long to answer"):
                limited.get(url, "it")
            ended.set()

        threading.Thread(target=ask, daemon=True).start()
        assert ended.wait(10)


@pytest.mark.parametrize("end", ["\n", "\r\nX-More: yes", "\u20ac"])
def test_a_secret_that_is_no_header_is_not_shown(end: str) -> None:
    with scripted((200, {}, b'{"value": "t"}')) as script:
        environ = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{script.url}/?a=b",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": f"{_SECRET}{end}",
        }
        with pytest.raises(SettingsError, match="token service") as caught:
            ambient_token("sigstore", Transport(timeout_s=2), environ)
    shown: BaseException | None = caught.value
    while shown is not None:
        assert _SECRET not in str(shown)
        shown = shown.__cause__
    assert script.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere.example\\@127.0.0.1/x",
        "http://127.0.0.1\\@elsewhere.example/x",
        "https://[",
        "http://localhost:99999/",
        "https://host.example/a\nb",
        "https://host.example/\x00",
    ],
)
def test_an_address_that_could_be_two_is_none(url: str) -> None:
    transport = Transport(timeout_s=2)
    with pytest.raises(SettingsError, match="not a usable address"):
        transport.post(url, "it", _SECRET.encode(), content_type="a/b")
    with pytest.raises(FormatError):
        check_endpoint(url)


def test_the_clouds_server_is_asked_by_the_clouds_module_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environ = {
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://{METADATA_ADDRESS}/latest/?a=b",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": _SECRET,
    }
    # Were it asked, it would not be this machine's doing that nothing leaves it.
    monkeypatch.setattr(Transport, "_send_once", lambda *_: pytest.fail("it was asked"))
    with pytest.raises(SettingsError, match="nothing is sent there"):
        ambient_token("sigstore", Transport(timeout_s=2), environ)


@pytest.mark.parametrize(
    "url",
    [
        "file://localhost/etc/passwd",
        "javascript://localhost/%0aalert(1)",
        "vscode://localhost/x",
        "ssh://127.0.0.1/",
        "//localhost/x",
        "http://elsewhere.example/",
    ],
)
def test_no_other_program_than_a_browser_is_started_for_a_login(url: str) -> None:
    with pytest.raises(FormatError, match="no safe place to log in"):
        check_endpoint(url)


@pytest.mark.parametrize("url", ["https://issuer.example/auth", "http://localhost:8080/auth"])
def test_where_one_can_log_in(url: str) -> None:
    check_endpoint(url)


@pytest.mark.parametrize(
    "location", ["//[", "http://[", "", "https://elsewhere.example/x", "//elsewhere.example/x"]
)
def test_a_log_that_sends_elsewhere_for_an_entry(location: str) -> None:
    with (
        scripted((409, {"Location": location}, b"{}")) as script,
        pytest.raises(FormatError, match="does not say where"),
    ):
        submit_entry(Transport(timeout_s=2), script.url, b"{}")
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    "proxy", [f"socks5://user:{_SECRET}@h:1", f"http://user:{_SECRET}@[", f"user:{_SECRET}@h"]
)
def test_a_proxy_that_is_none_is_not_shown(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(SettingsError, match="proxy") as caught:
        Transport(timeout_s=2).get("https://host.example/", "it")
    assert _SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "said", ["99999", "9" * 400, "-5", "Fri, 31 Dec 9999 23:59:59 GMT", "1e9", "\u00b2"]
)
def test_a_busy_server_does_not_say_how_long_we_live(said: str) -> None:
    began_s = time.monotonic()
    with (
        scripted((503, {"Retry-After": said}, b"")) as script,
        pytest.raises(CountermarkError, match="too busy"),
    ):
        submit_entry(Transport().until(Deadline.after(0.5)), script.url, b"{}")
    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{_SECRET}@elsewhere.example/x?token={_SECRET}",
        f"https://user:{_SECRET}@elsewhere.example:99999/x?token={_SECRET}",
        f"https://user:{_SECRET}@[/x#{_SECRET}",
        f"https://user:{_SECRET}@elsewhere.example\\/x",
        f"https://user:{_SECRET}@127.0.0.1:1/x?token={_SECRET}",
    ],
)
def test_passwords_and_queries_of_addresses_are_not_shown(url: str) -> None:
    with pytest.raises(CountermarkError) as caught:
        Transport(timeout_s=2).get(url, "it")
    assert _SECRET not in str(caught.value)

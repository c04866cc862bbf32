# SPDX-License-Identifier: Apache-2.0
"""HTTP of the client: where secrets may go, what a busy server gets, how failures are told."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from countermark.client.deadline import Deadline
from countermark.client.transport import Transport, check, is_loopback, printable
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    Pushback,
    RequestRejected,
    SettingsError,
    UpstreamDown,
)
from tests.support.scripted_server import scripted


@pytest.fixture
def transport() -> Iterator[Transport]:
    opened = Transport(timeout_s=2)
    yield opened
    opened.close()


def test_a_post_arrives_as_sent_and_its_answer_comes_back(transport: Transport) -> None:
    with scripted((201, {"X-Thing": "a"}, b"answer")) as script:
        reply = transport.post(f"{script.url}/p?q=1", "it", b"\x00body", content_type="a/b")
        transport.close()
    assert (reply.status, reply.headers["x-thing"], reply.body) == (201, "a", b"answer")
    (asked,) = script.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/p?q=1", b"\x00body")
    assert asked.headers["content-type"] == "a/b"


@pytest.mark.parametrize("url", ["http://log.example/x", "ftp://localhost.example/", "//x"])
def test_nothing_is_sent_in_the_clear_to_another_machine(transport: Transport, url: str) -> None:
    with pytest.raises(SettingsError, match="nothing is sent there"):
        transport.post(url, "the log", b"secret", content_type="a/b")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(transport: Transport, status: int) -> None:
    with (
        scripted((200, {}, b"stolen")) as thief,
        scripted((status, {"Location": thief.url}, b"")) as script,
    ):
        reply = transport.post(script.url, "it", b"token", content_type="a/b")
        with pytest.raises(UpstreamDown, match=f"status {status}"):
            check(reply, "it")
        transport.close()
    assert thief.asked == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(transport: Transport, status: int) -> None:
    with scripted((status, {"Retry-After": "0"}, b""), (200, {}, b"ok")) as script:
        assert transport.get(script.url, "it").body == b"ok"
        transport.close()
    assert len(script.asked) == 2


def test_a_server_that_stays_busy_is_given_up(transport: Transport) -> None:
    with scripted((503, {"Retry-After": "0"}, b"")) as script:
        reply = transport.get(script.url, "the log")
        transport.close()
    assert len(script.asked) == 3
    with pytest.raises(Pushback, match=r"the log at http://localhost:\d+ is too busy") as raised:
        check(reply, "the log")
    assert raised.value.retry_after_s == 0


def test_a_long_wait_is_cut_short(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with scripted((503, {"Retry-After": "86400"}, b""), (200, {}, b"")) as script:
        transport.get(script.url, "it")
        transport.close()
    assert slept == [10]


@pytest.mark.parametrize(
    ("status", "kind"), [(400, RequestRejected), (404, RequestRejected), (500, UpstreamDown)]
)
def test_the_servers_own_words_are_told_on_one_line(
    transport: Transport, status: int, kind: type[CountermarkError]
) -> None:
    with scripted((status, {}, b"")) as script:
        reply = transport.get(script.url, "the CA")
        transport.close()
    with pytest.raises(kind, match=r"the CA at \S+ (refused|failed): bad \[31mkey now"):
        check(reply, "the CA", "bad\x1b[31mkey\n\tnow")


def test_a_reply_without_end_is_not_kept(transport: Transport) -> None:
    with scripted((200, {}, b"x" * (4 * 1024 * 1024 + 1))) as script:
        with pytest.raises(FormatError, match="larger than"):
            transport.get(script.url, "it")
        transport.close()


def test_nobody_there_says_how_to_start_it(transport: Transport) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(UpstreamDown, match=f"the log at http://localhost:{port} does not") as down:
        transport.get(f"http://localhost:{port}/x", "the log")
    assert down.value.__notes__ == ["start it with `countermark up`"]


@contextmanager
def hanging_up(times: int) -> Iterator[str]:
    """A server that breaks off so many times, then answers."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"

    def serve() -> None:
        for number in range(times + 1):
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                if number == times:
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_server_that_breaks_off_is_asked_again(transport: Transport) -> None:
    with hanging_up(2) as url:
        assert transport.post(url, "it", b"body", content_type="a/b").body == b"ok"


def test_a_server_that_keeps_breaking_off_is_unavailable(transport: Transport) -> None:
    with hanging_up(3) as url, pytest.raises(UpstreamDown, match="broke off"):
        transport.get(url, "it")


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hasty = Transport(timeout_s=0.2)
        with pytest.raises(UpstreamDown, match="takes too long"):
            hasty.get(f"http://127.0.0.1:{listener.getsockname()[1]}/", "it")


def test_names_below_localhost_are_not_asked_of_a_name_server(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever answers for them would be sent the token, in the clear."""
    asked = []
    resolve = socket.getaddrinfo

    def recorded(host: str, *rest: object, **more: object) -> object:
        asked.append(host)
        return resolve(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", recorded)
    with scripted((200, {}, b"answer")) as script:
        port = script.url.rpartition(":")[2]
        url = f"http://sign.localhost:{port}/x?y"
        assert transport.post(url, "it", b"secret", content_type="a/b").body == b"answer"
        transport.close()
    assert set(asked) <= {"localhost", "127.0.0.1"}
    (request,) = script.asked
    assert (request.path, request.headers["host"]) == ("/x?y", f"sign.localhost:{port}")


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "localhost.example", "10.0.0.1", "127.0.0.1.example", "example.org", "::2"]
)
def test_other_machines(host: str) -> None:
    assert not is_loopback(host)


def test_foreign_text_is_shortened() -> None:
    assert printable("a" * 1000) == "a" * 299 + "…"
    assert printable(" a\r\nb\u202ec ") == "a b c"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A TLS server for ``localhost``: its URL, and the file of its private certificate."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key_file = str(folder / "cert.pem"), str(folder / "key.pem")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(tz=UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    Path(certificate).write_bytes(built.public_bytes(Encoding.PEM))
    Path(key_file).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with scripted((200, {}, b"private"), tls=(certificate, key_file)) as server:
        yield server.url, certificate


def test_a_certificate_that_nobody_vouches_for_is_refused(
    transport: Transport, tls: tuple[str, str]
) -> None:
    with pytest.raises(UpstreamDown, match="no certificate that this machine trusts") as raised:
        transport.get(tls[0], "the CA")
    assert "SSL_CERT_FILE" in raised.value.__notes__[0]


def test_a_private_authority_can_be_named(
    tls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", tls[1])
    opened = Transport(timeout_s=2)
    assert opened.get(tls[0], "the CA").body == b"private"
    opened.close()


def test_a_proxy_carries_https_to_other_machines_and_nothing_else(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(4096))
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(UpstreamDown):
            transport.get("https://log.example/", "the log")
        thread.join(5)
        with scripted((200, {}, b"direct")) as server:
            assert transport.get(server.url, "it").body == b"direct"
            transport.close()
    assert [line.split()[:2] for line in asked] == [[b"CONNECT", b"log.example:443"]]


# --- a budget of time --------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_within_a_budget_a_server_in_trouble_is_asked_again(
    transport: Transport, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with scripted(*[(status, {}, b"")] * 4, (200, {}, b"ok")) as script:
        assert transport.until(Deadline.after(60)).get(script.url, "it").body == b"ok"
        transport.close()
    assert len(slept) == 4
    for pause, least in zip(slept, (0.25, 0.5, 1, 2), strict=True):
        assert least <= pause <= 1.5 * least


def test_the_time_that_a_server_names_is_waited_for(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    answers = [(503, {"Retry-After": said}, b"") for said in ("20", soon)]
    with scripted(*answers, (200, {}, b"ok")) as script:
        assert transport.until(Deadline.after(300)).get(script.url, "it").body == b"ok"
        transport.close()
    assert 20 <= slept[0] < 21
    assert 50 < slept[1] < 102  # the clock goes on meanwhile


@pytest.mark.parametrize("said", ["3600", "99999", "Thu, 01 Jan 2099 00:00:00 GMT"])
def test_a_time_past_the_budget_is_not_waited_for(transport: Transport, said: str) -> None:
    with scripted((503, {"Retry-After": said}, b"")) as script:
        reply = transport.until(Deadline.after(30)).get(script.url, "the log")
        transport.close()
    assert len(script.asked) == 1
    with pytest.raises(Pushback) as raised:
        check(reply, "the log")
    assert raised.value.retry_after_s >= 3600


@pytest.mark.parametrize("said", ["soon", "-1", "1e3", "٣", "9" * 400, "Thu, 99 Xxx 2099"])
def test_a_time_that_is_none_is_passed_over(transport: Transport, said: str) -> None:
    with scripted((503, {"Retry-After": said.encode().decode("latin-1")}, b""), (200, {}, b"")) as (
        script
    ):
        assert transport.until(Deadline.after(30)).get(script.url, "it").status == 200
        transport.close()


@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_an_answer_is_an_answer(transport: Transport, status: int) -> None:
    with scripted((status, {}, b"")) as script:
        assert transport.until(Deadline.after(30)).get(script.url, "it").status == status
        transport.close()
    assert len(script.asked) == 1


def test_when_the_budget_is_over_nothing_is_asked(transport: Transport) -> None:
    with scripted((200, {}, b"")) as script:
        with pytest.raises(UpstreamDown, match=f"the log at {script.url} takes too long") as raised:
            transport.until(Deadline.after(-1)).get(script.url, "the log")
        transport.close()
    assert script.asked == []
    assert "--timeout" in raised.value.__notes__[0]


def test_an_answer_that_drips_is_cut_off(transport: Transport) -> None:
    """Each byte comes in time; all of them never would."""
    stop = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        began = time.monotonic()
        with pytest.raises(UpstreamDown, match="takes too long"):
            transport.until(Deadline.after(0.5)).get(url, "it")
        assert time.monotonic() - began < 20
        stop.set()
        thread.join(5)


def test_what_is_left_is_shared_with_those_that_may_have_to_be_asked() -> None:
    whole = Deadline.after(90)
    assert 20 < whole.share(2).left_s() <= 30
    assert 60 < whole.share(0).left_s() <= 90

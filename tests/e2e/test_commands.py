# SPDX-License-Identifier: Apache-2.0
"""`sign`, `verify`, `inspect` and `login` against a real instance, as a person uses them."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from countermark.cli.exits import CONFIGURATION, NO_SIGNATURE, NOT_PROVEN, SERVICE_UNAVAILABLE
from tests.support.running import Running, running

ADA = "ada@example.org"
GIBIBYTE = 1024 * 1024 * 1024


def sign(instance: Running, *files: Path, email: str = ADA) -> None:
    done = instance.countermark("sign", "--email", email, *map(str, files))
    assert done.code == 0, done.err


def test_a_pipe_gets_one_line_per_file_and_nothing_else(instance: Running, tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text(file.name)
    done = instance.countermark("sign", "--email", ADA, *map(str, files))
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert len(lines) == 2
    for file, line in zip(files, lines, strict=True):
        pattern = rf"signed {re.escape(str(file))} as {ADA} \(log index \d+\) → .*\.sigstore\.json"
        assert re.fullmatch(pattern, line)
    assert "\x1b" not in done.out


def test_programs_get_one_object(instance: Running, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    done = instance.countermark("sign", "--json", "--email", ADA, str(file))
    assert (done.code, done.err) == (0, "")
    result = done.json
    assert result["instance"] == instance.url
    (row,) = result["signed"]
    assert (row["file"], row["bundle"]) == (str(file), f"{file}.sigstore.json")
    assert (row["identity"], row["issuer"], row["log"]) == (ADA, instance.issuer, instance.url)
    assert row["logIndex"] >= 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["time"])


def test_many_files_share_one_certificate(instance: Running, tmp_path: Path) -> None:
    files = [tmp_path / f"file {number}" for number in range(40)]
    for file in files:
        file.write_text(file.name)
    sign(instance, *files)
    certificates, indices = set(), set()
    for file in files:
        material = json.loads(Path(f"{file}.sigstore.json").read_text())["verificationMaterial"]
        certificates.add(material["certificate"]["rawBytes"])
        indices.add(material["tlogEntries"][0]["logIndex"])
    assert (len(certificates), len(indices)) == (1, 40)
    policy = ("--identity", ADA, "--issuer", instance.issuer)
    assert instance.countermark("verify", *policy, *map(str, files)).code == 0


def test_an_empty_file_can_be_signed(instance: Running, tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.touch()
    sign(instance, file)
    done = instance.countermark("verify", str(file), "--identity", ADA, "--issuer", instance.issuer)
    assert done.code == 0


def test_a_gibibyte_is_signed_and_verified_in_little_memory(
    instance: Running, tmp_path: Path
) -> None:
    big, small = tmp_path / "big", tmp_path / "small"
    with big.open("wb") as file:
        file.truncate(GIBIBYTE)
    small.write_bytes(b"x")
    peaks = [_peak_kib(instance, "sign", "--email", ADA, str(file)) for file in (small, big)]
    assert peaks[1] < peaks[0] + 16 * 1024, f"{peaks} KiB"
    policy = ("--identity", ADA, "--issuer", instance.issuer)
    peaks = [_peak_kib(instance, "verify", *policy, str(file)) for file in (small, big)]
    assert peaks[1] < peaks[0] + 16 * 1024, f"{peaks} KiB"


def test_a_long_signing_shows_how_far_it_is_and_stops_at_ctrl_c(
    instance: Running, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(64 * GIBIBYTE)
    terminal = Terminal(instance, "sign", "--email", ADA, str(big))
    terminal.expect(r"signing big.*64\.0 GB|signing big.*68\.7 GB")
    terminal.interrupt()
    said = terminal.rest()
    assert terminal.code == 130, said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["big"]


def _peak_kib(instance: Running, *arguments: str) -> int:
    """Peak memory of a command that succeeds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "countermark", *arguments],
        env=instance.environment(),
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


def test_a_login_is_remembered_until_it_is_forgotten(instance: Running, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    done = instance.countermark("login", "--email", "bob@example.org")
    assert (done.code, done.out) == (0, f"you are bob@example.org at {instance.url}\n")
    done = instance.countermark("sign", "--json", str(file))
    assert done.json["signed"][0]["identity"] == "bob@example.org"
    assert instance.countermark("login", "--forget").code == 0
    done = instance.countermark("sign", "--overwrite", str(file))
    assert done.code == 2
    assert "nobody is logged in" in done.err
    assert "--email" in done.err


@pytest.mark.parametrize("email", [(), ("--email", "bob@example.org")])
def test_a_login_elsewhere_keeps_nothing(instance: Running, email: tuple[str, ...]) -> None:
    config = ("--trust-config", str(instance.trust_config))
    before = _files(instance.registry)
    done = instance.countermark("login", *config, *email)
    assert (done.code, done.out) == (2, "")
    assert "tokens are not kept: `countermark sign` opens the browser" in done.err
    assert "--print-token" in done.err
    assert _files(instance.registry) == before


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_printed_token_signs_and_is_not_remembered(instance: Running, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    token = instance.token("eve@example.org")
    assert token.count(".") == 2
    done = instance.countermark(
        "sign", "--json", "--identity-token-file", "-", str(file), stdin=token
    )
    assert done.json["signed"][0]["identity"] == "eve@example.org"
    assert "eve@example.org" not in "".join(
        path.read_text() for path in instance.registry.glob("logins*")
    )


def test_a_token_of_the_wrong_kind_is_refused_in_the_authoritys_words(
    instance: Running, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    token = instance.token(ADA)
    forged = token[:-8] + ("AAAAAAAA" if token[-8:] != "AAAAAAAA" else "BBBBBBBB")
    done = instance.countermark("sign", str(file), COUNTERMARK_IDENTITY_TOKEN=forged)
    assert done.code == 2
    assert done.err.startswith(
        f"countermark: the certificate authority at {instance.url} refused: "
    )
    assert forged not in done.err
    assert not Path(f"{file}.sigstore.json").exists()


def test_what_was_not_signed_is_said_so(instance: Running, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    policy = ("--identity", ADA, "--issuer", instance.issuer)
    assert instance.countermark("verify", *policy, str(file)).code == NO_SIGNATURE


def test_inspect_shows_a_bundle_without_judging_it(instance: Running, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    sign(instance, file)
    file.write_text("changed since")
    done = instance.countermark("inspect", f"{file}.sigstore.json")
    assert done.code == 0
    assert ADA in done.out


def test_a_person_logs_in_by_browser_and_types_the_code(instance: Running, tmp_path: Path) -> None:
    """At a terminal without a display: the address is shown, the code typed, the file signed."""
    file = tmp_path / "file"
    file.write_text("x")
    terminal = Terminal(instance, "sign", "--no-browser", str(file))
    address = terminal.expect(rf"{re.escape(instance.url)}/oidc/auth\?\S+")
    terminal.expect("Code: ")
    terminal.type(_log_in(address, "grace@example.org"))
    said = terminal.rest()
    assert terminal.code == 0, said
    assert "grace@example.org" in said
    assert "now try: countermark verify" in said


class _Form(HTMLParser):
    """The fields of the one form on a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "input" and named.get("name"):
            self.fields[named["name"] or ""] = named.get("value") or ""


def _log_in(address: str, email: str) -> str:
    """What a browser and the person before it do; returns the code on the last page."""
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    page = browser.open(address).read().decode()
    form = _Form(page).fields | {"email": email}
    origin = re.match(r"http://[^/]+", address)
    assert origin is not None
    post = Request(
        f"{origin[0]}/oidc/auth", urlencode(form).encode(), headers={"Origin": origin[0]}
    )
    page = browser.open(post).read().decode()
    code = re.search(r"<(?:code|output|strong)[^>]*>\s*([A-Za-z0-9_-]+)\s*<", page)
    assert code is not None, page
    return code[1]


class Terminal:
    """Our command at a pseudo-terminal."""

    def __init__(self, instance: Running, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        self._end = ours
        self._process = subprocess.Popen(
            [sys.executable, "-m", "countermark", *arguments],
            env=instance.environment(COLUMNS="500", TERM="xterm"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._said = ""

    def expect(self, pattern: str) -> str:
        """Wait until the terminal shows `pattern`."""
        deadline = time.monotonic() + 60
        while not (found := re.search(pattern, self._said)):
            assert time.monotonic() < deadline, self._said
            self._read(1)
        return found[0]

    def type(self, text: str) -> None:
        os.write(self._end, f"{text}\n".encode())

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def rest(self) -> str:
        """Everything, once the command has ended."""
        while self._read(60):
            pass
        self._process.wait(60)
        os.close(self._end)
        return self._said

    @property
    def code(self) -> int | None:
        return self._process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self._end], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._end, 65536)
        except OSError:  # how Linux says that the other end is closed
            return False
        self._said += data.decode("utf-8", "replace")
        return bool(data)


def test_colours_and_advice_are_for_terminals(instance: Running, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    terminal = Terminal(instance, "sign", "--email", ADA, str(file))
    said = terminal.rest()
    assert terminal.code == 0
    assert "\x1b[32msigned\x1b[0m" in said
    assert f"now try: countermark verify {file} --identity {ADA}" in said


def test_verify_needs_no_instance_and_sign_says_that_there_is_none(tmp_path: Path) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_text("x")
    other.write_text("y")
    with running(tmp_path) as up:
        sign(up, file)
    policy = ("--identity", ADA, "--issuer", up.issuer)
    assert up.countermark("verify", *policy, str(file)).code == 0
    done = up.countermark("sign", "--email", ADA, str(other))
    assert done.code == SERVICE_UNAVAILABLE
    assert f"at {up.url} does not answer" in done.err
    assert "countermark up" in done.err
    file.write_text("changed")
    assert up.countermark("verify", *policy, str(file)).code == NOT_PROVEN
    (up.registry / "instances.json").chmod(0o666)
    assert up.countermark("verify", *policy, str(file)).code == CONFIGURATION


def test_the_client_needs_none_of_the_servers_packages(instance: Running, tmp_path: Path) -> None:
    modules = ("starlette", "uvicorn", "rocksdict", "uvloop", "httptools", "jwt", "jinja2")
    lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in modules)]
    (tmp_path / "sitecustomize.py").write_text("\n".join(lines))
    file = tmp_path / "file"
    file.write_text("x")
    policy = ("--identity", ADA, "--issuer", instance.issuer)
    for arguments in (
        ("sign", "--email", ADA, str(file)),
        ("verify", *policy, str(file)),
        ("inspect", f"{file}.sigstore.json"),
        ("login", "--email", ADA, "--print-token"),
    ):
        path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
        done = instance.countermark(*arguments, PYTHONPATH=path.rstrip(os.pathsep))
        assert done.code == 0, done.err


def test_signers_side_by_side_all_get_their_entries(instance: Running, tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(6)]
    for file in files:
        file.write_text(file.name)
    threads = [threading.Thread(target=sign, args=(instance, file)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    policy = ("--identity", ADA, "--issuer", instance.issuer)
    assert instance.countermark("verify", *policy, *map(str, files)).code == 0

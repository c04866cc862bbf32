# SPDX-License-Identifier: Apache-2.0
"""Logging in by device code at a running instance, with cosign and with our own command."""

import re
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from tests.support.peers import ADA, Ours, installed
from tests.support.running import Running

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("cosign")]


def person(instance: Running, said: str) -> None:
    """Somebody with a browser who reads what the program printed."""
    address = re.search(rf"{re.escape(instance.issuer)}/device\?user_code=([A-Z-]+)", said)
    assert address is not None, said
    with urlopen(address[0]) as page:
        assert f'value="{address[1]}"' in page.read().decode()
    form = urlencode({"user_code": address[1], "email": ADA, "decision": "continue"}).encode()
    with urlopen(Request(f"{instance.issuer}/device", form, {"Origin": instance.url})) as page:
        assert "logged in" in page.read().decode()


def run(instance: Running, *command: str, **environment: str) -> str:
    """Run a program that waits for the person; returns all that it said."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=instance.environment(**environment),
    )
    said = ""
    assert process.stdout is not None
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    with process.stdout:
        for line in process.stdout:
            said += line
            if "user_code=" in line:
                person(instance, said)
    watchdog.cancel()
    assert process.wait(60) == 0, said
    return said


def test_our_command_signs_after_a_login_elsewhere(instance: Running, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("signed on a machine without a browser")
    said = run(
        instance,
        *(sys.executable, "-m", "countermark", "sign", "--device"),
        *("--trust-config", str(instance.trust_config), str(file)),
    )
    assert f"signed {file} as {ADA}" in said
    assert "eyJ" not in said  # no token, ever


def test_cosign_signs_after_a_login_elsewhere(ours: Ours) -> None:
    file = ours.file()
    bundle = Path(f"{file}.cosign.json")
    said = run(
        ours.instance,
        *(installed("go", "cosign"), "sign-blob", "--yes", "--fulcio-auth-flow", "device"),
        *("--bundle", str(bundle), "--signing-config", ours.signing_config),
        *("--trusted-root", ours.trusted_root, str(file)),
        HTTPS_PROXY="http://127.0.0.1:1",
    )
    assert "Token received" in said
    ours.believes(file, bundle)

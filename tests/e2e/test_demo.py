# SPDX-License-Identifier: Apache-2.0
"""`countermark demo`: shows its evidence, reads only, and leaves nothing behind however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from countermark.cli.exits import NO_ARTIFACT

CHECKS = ["timestamp", "promise", "certificate", "sct", "inclusion", "entry", "signature"]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


def demo(temporary: Path, *arguments: str, python: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    environment = {name: text for name, text in os.environ.items() if name != "COUNTERMARK_HOME"}
    return subprocess.Popen(
        [sys.executable, *python, "-m", "countermark", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "TMPDIR": str(temporary), "HOME": str(temporary.parent)},
    )


def left_behind(temporary: Path) -> list[str]:
    """Files, and processes that work on them."""
    found = [str(path) for path in temporary.iterdir()]
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(temporary) in line:
            found.append(line)
    return found


def test_it_signs_verifies_and_shows_the_evidence(temporary: Path) -> None:
    process = demo(temporary)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), err
    for check in (*CHECKS, "identity"):
        assert f"✓ {check}" in out
    for line in ("in a process that can open no socket", "a changed file: ", "another identity: "):
        assert line in out
    assert "\x1b" not in out
    assert left_behind(temporary) == []
    assert not (temporary.parent / ".local").exists()


def test_nothing_of_the_working_directory_is_run(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's folder, with modules named like those that every program imports."""
    hostile = temporary.parent / "hostile"
    hostile.mkdir()
    for name in ("typing", "json", "hashlib", "secrets", "subprocess"):
        (hostile / f"{name}.py").write_text(
            f"open({str(hostile / 'ran')!r}, 'w'); raise SystemExit"
        )
    monkeypatch.chdir(hostile)
    process = demo(temporary, python=("-P",))
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), out
    assert not (hostile / "ran").exists()


def test_a_file_of_ones_own_is_only_read(temporary: Path) -> None:
    file = temporary.parent / "mine.txt"
    file.write_text("mine")
    process = demo(temporary, "--json", str(file))
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    result = json.loads(out)
    assert result["verified"]["file"] == str(file)
    assert [check["check"] for check in result["verified"]["checks"]] == [*CHECKS, "identity"]
    assert {item["what"] for item in result["refused"]} == {"a changed file", "another identity"}
    assert [path.name for path in sorted(temporary.parent.iterdir())] == ["mine.txt", "tmp"]
    assert left_behind(temporary) == []


def test_a_file_that_is_not_there_is_found_out_at_once(temporary: Path) -> None:
    process = demo(temporary, "no-such-file")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (NO_ARTIFACT, "")
    assert err == "countermark: there is no file no-such-file\n"
    assert left_behind(temporary) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["starting", "running"])
def test_however_it_is_stopped_nothing_is_left(
    temporary: Path, number: signal.Signals, when: str
) -> None:
    process = demo(temporary)
    deadline = time.monotonic() + 60
    while not list(temporary.glob("*/data")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if when == "running":
        assert process.stdout is not None
        assert process.stdout.readline().startswith("up ")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert left_behind(temporary) == []


def test_even_killed_it_takes_its_instance_along(temporary: Path) -> None:
    process = demo(temporary)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("up ")
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while any("countermark" in line for line in left_behind(temporary) if " " in line):
        assert time.monotonic() < deadline, left_behind(temporary)
        time.sleep(0.1)

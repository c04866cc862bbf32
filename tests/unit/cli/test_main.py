# SPDX-License-Identifier: Apache-2.0
"""The command line as people meet it: help, mistakes, exit codes, what a pipe and --json get."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from countermark.cli import main
from countermark.cli.exits import CONFIGURATION, NO_ARTIFACT, USAGE

LEAN = ("verify", "inspect")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("COUNTERMARK_HOME", str(folder))
    for name in list(os.environ):
        if name.startswith(("COUNTERMARK_", "SIGSTORE_", "ACTIONS_")) and name[-5:] != "_HOME":
            monkeypatch.delenv(name)
    return folder


def countermark(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real command, with pipes for a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "countermark", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
    )


def test_help_lists_every_command_under_its_heading() -> None:
    done = countermark("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name, entry in main.COMMANDS.items():
        assert f"{entry.section}:" in done.stdout
        assert f"  {name}" in done.stdout
        assert entry.help in done.stdout


@pytest.mark.parametrize("name", [name for name in main.COMMANDS if name not in LEAN])
def test_every_command_of_the_table_exists_and_says_what_it_does(name: str) -> None:
    module, attribute = main.COMMANDS[name].target.split(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.help


def test_nothing_at_all_is_answered_with_help() -> None:
    done = countermark()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == countermark("--help").stdout
    assert countermark("help").stdout == done.stdout


def test_half_a_command_is_answered_with_help_and_is_a_mistake() -> None:
    done = countermark("log")
    assert done.returncode == USAGE
    assert "fsck" in done.stdout


@pytest.mark.parametrize("name", main.COMMANDS)
def test_help_can_be_asked_for_in_two_ways(name: str) -> None:
    done = countermark("help", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == countermark(name, "--help").stdout


@pytest.mark.parametrize("name", LEAN)
def test_lean_commands_answer_for_themselves(name: str) -> None:
    done = countermark(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: countermark {name}")


def test_the_version_is_the_packages() -> None:
    done = countermark("--version")
    assert done.stdout == "countermark 0.1.0\n"


def test_help_imports_no_command(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; from countermark.cli.main import run; run(['--help']);"
        "print([m for m in sys.modules if m.endswith('_command') or m.endswith('_commands')])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert capfd.readouterr().out.endswith("[]\n")


@pytest.mark.parametrize(
    ("arguments", "sentence", "advice"),
    [
        (["sing"], "no such command 'sing'", "countermark --help"),
        (["sign"], "missing argument 'FILE...'", "countermark sign --help"),
        (["sign", "--emial", "x", "y"], "no such option", "countermark sign --help"),
        (["--no-such"], "no such option", "countermark --help"),
    ],
)
def test_a_mistake_is_one_sentence_and_where_to_read_on(
    arguments: list[str], sentence: str, advice: str
) -> None:
    done = countermark(*arguments)
    assert (done.returncode, done.stdout) == (USAGE, "")
    first, second = done.stderr.splitlines()
    assert first.startswith(f"countermark: {sentence}")
    assert advice in second


def test_a_missing_file_is_found_out_before_anything_is_sent() -> None:
    done = countermark("sign", "no-such-file")
    assert done.returncode == NO_ARTIFACT
    assert done.stderr == "countermark: there is no file no-such-file\n"


def test_programs_get_errors_as_json(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = countermark("sign", "--json", str(file))
    assert (done.returncode, done.stderr) == (CONFIGURATION, "")
    result = json.loads(done.stdout)
    assert result["signed"] == []
    assert result["error"]["code"] == "settings"
    assert result["error"]["exit"] == CONFIGURATION
    assert "countermark up" in result["error"]["hint"]


def test_a_bundle_that_exists_is_not_replaced_unasked(tmp_path: Path) -> None:
    file, bundle = tmp_path / "file", tmp_path / "file.sigstore.json"
    file.touch()
    bundle.write_text("precious")
    done = countermark("sign", str(file))
    assert done.returncode == USAGE
    assert "--overwrite" in done.stderr
    assert bundle.read_text() == "precious"


def test_one_bundle_path_can_not_be_for_two_files(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    done = countermark("sign", str(tmp_path / "a"), str(tmp_path / "b"), "--bundle", "x")
    assert done.returncode == USAGE
    assert "--bundle names one file" in done.stderr


def test_an_unreadable_token_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").touch()
    for token, sentence in (("missing", "cannot be read"), ("empty", "holds no identity token")):
        done = countermark(
            *("sign", "--instance", "public", str(tmp_path / "file")),
            *("--identity-token-file", str(tmp_path / token)),
        )
        assert done.returncode in (USAGE, CONFIGURATION)
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr


def test_our_own_faults_end_without_a_traceback_unless_asked_for(home: Path) -> None:
    home.mkdir()
    (home / "instances.json").mkdir()  # something nobody thought of would look like this
    code = (
        "import sys; import countermark.cli.main as m; m.run = lambda _: 1 // 0;"
        "from countermark.cli.entry import main; sys.argv = ['countermark']; sys.exit(main())"
    )
    quiet = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert quiet.returncode == 70
    assert "ZeroDivisionError" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    loud = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "COUNTERMARK_DEBUG": "1"},
    )
    assert "Traceback" in loud.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m countermark --help | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_without_the_server_parts_up_says_how_to_get_them(tmp_path: Path) -> None:
    blocker = tmp_path / "sitecustomize.py"
    blocker.write_text(
        "import sys\n"
        "for name in ('starlette', 'uvicorn', 'rocksdict', 'uvloop', 'httptools', 'jwt'):\n"
        "    sys.modules[name] = None\n"
    )
    done = countermark("up", PYTHONPATH=str(tmp_path))
    assert done.returncode == CONFIGURATION
    assert "this needs the server" in done.stderr
    assert "pip install 'countermark[server]'" in done.stderr

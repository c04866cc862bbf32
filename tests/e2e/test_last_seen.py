# SPDX-License-Identifier: Apache-2.0
"""A real instance whose log goes back and grows anew, under its own key: clients notice."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.note import NoteKey, SignedNote
from tests.support.instance import Instance

pytestmark = pytest.mark.xdist_group("instance")
ADA = "ada@example.org"


def run(instance: Instance, *arguments: str) -> tuple[int, Any]:
    done = instance.command(*arguments, "--json")
    return done.returncode, json.loads(done.stdout)


def sign(instance: Instance, file: Path) -> tuple[int, Any]:
    file.write_text(file.name)
    return run(instance, "sign", "--email", ADA, str(file))


def verify(instance: Instance, file: Path, *options: str) -> tuple[int, Any]:
    who = ("--identity", ADA, "--issuer", f"{instance.url}/oidc")
    return run(instance, "verify", str(file), *who, *options)


def evidence(instance: Instance, error: Any) -> list[tuple[int, bytes]]:
    """Size and root of both checkpoints in the file that an error names; the log signed both."""
    (path,) = [
        path for path in (instance.home / "evidence").iterdir() if str(path) in error["hint"]
    ]
    tree = json.loads(path.read_text())
    root: TrustedRoot = instance.trusted_root()
    heads = []
    for item in tree["checkpoints"]:
        note = SignedNote.parse(item["note"].encode())
        key = root.tlogs[0].public_key
        note.verify(NoteKey.for_rekor_v1(note.signatures[0].name, key))
        head = Checkpoint.parse(note.text)
        heads.append((head.tree_size, head.root_hash))
    return heads


def test_a_log_that_goes_back_and_grows_anew_is_refused(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in "abcdef"}
    copy = tmp_path / "copy"
    with Instance(tmp_path, "--workers", "1") as instance:
        assert sign(instance, files["a"])[0] == 0
        assert instance.stop() == 0
        shutil.copytree(instance.data_dir.path, copy, ignore=shutil.ignore_patterns("*.sock"))

        instance.start()
        for name in "bc":
            assert sign(instance, files[name])[0] == 0
        code, told = run(instance, "log", "check")
        assert code == 0
        (log,) = told["logs"]
        assert (log["consistent"], log["treeSize"], log["extends"]) == (True, 5, [5])
        code, told = verify(instance, files["a"], "--online")
        assert (code, told["logs"][0]["extends"]) == (0, [3, 5])

        assert instance.stop() == 0
        shutil.rmtree(instance.data_dir.path)
        shutil.copytree(copy, instance.data_dir.path)
        instance.start()
        check_fork(instance, files)
        assert run(instance, "log", "forget", instance.url)[0] == 0
        assert run(instance, "log", "check") == (0, {"logs": []})
        assert instance.stop() == 0
    code, told = verify(instance, files["c"], "--online")
    assert (code, told["results"][0]["verified"]) == (69, True)


def check_fork(instance: Instance, files: dict[str, Path]) -> None:
    """The instance runs on an old copy of its data."""
    code, told = run(instance, "log", "check")
    assert code == 1
    assert "shows 3 entries, and has signed 5 before" in told["logs"][0]["error"]["message"]
    assert [size for size, _ in evidence(instance, told["logs"][0]["error"])] == [5, 3]
    assert verify(instance, files["c"])[0] == 0
    code, told = verify(instance, files["c"], "--online")
    assert (code, told["results"][0]["verified"], told["logs"][0]["consistent"]) == (1, True, False)

    code, told = sign(instance, files["d"])  # the fork's fourth entry
    assert (code, told["error"]["code"]) == (1, "consistency-invalid")
    assert [size for size, _ in evidence(instance, told["error"])] == [4, 5]
    code, told = sign(instance, files["e"])  # its fifth: the log signed two trees of that size
    assert code == 1
    (one, other) = evidence(instance, told["error"])
    assert one[0] == other[0] == 5
    assert one[1] != other[1]
    code, told = verify(instance, files["e"])
    assert (code, told["results"][0]["error"]["code"]) == (1, "consistency-invalid")
    code, told = sign(instance, files["f"])  # its sixth does not extend what was remembered
    assert code == 1
    assert "rewrote its history" in told["error"]["message"]
    assert [size for size, _ in evidence(instance, told["error"])] == [5, 6]
    assert run(instance, "log", "check")[0] == 1
    check_evidence(instance)


def check_evidence(instance: Instance) -> None:
    """Whoever trusts the instance's root can judge what was kept."""
    files = sorted((instance.home / "evidence").iterdir())
    offline = [run(instance, "log", "evidence", str(file)) for file in files]
    assert sorted({told["verdict"] for _, told in offline}) == ["open", "two-trees"]
    for file, (code, told) in zip(files, offline, strict=True):
        assert code == (0 if told["verdict"] == "two-trees" else 1)
        sizes = [
            item["note"].split("\n")[1] for item in json.loads(file.read_text())["checkpoints"]
        ]
        if sizes == ["5", "6"]:
            code, told = run(instance, "log", "evidence", "--online", str(file))
            assert (code, told["verdict"]) == (0, "no-proof")

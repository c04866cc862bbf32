# SPDX-License-Identifier: Apache-2.0
"""rekor-cli and sigstore-python go on with an instance that has opened its next shards."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import Instance
from tests.support.matrix import Kind
from tests.support.peers import ADA, Ours, Recorder, installed
from tests.support.running import Done, Running

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("shards")]


class Sharded:
    """An instance whose first shard took one entry of ours, one of theirs; the second none yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "person").mkdir()
        self.instance = Instance(folder)
        self.running = Running(
            self.instance.url, self.instance.data_dir.path, folder / "person", self.instance.home
        )
        self.ours = Ours(self.running, folder)

    def rekor(self, command: str, *arguments: str) -> Done:
        """rekor-cli, which remembers what it has seen of the log."""
        path = installed("go", "rekor-cli")
        server = ("--rekor_server", self.running.url, "--format", "json")
        return self.running.run(path, command, *server, *arguments, HOME=str(self.folder))

    def sigstore(self, *arguments: str) -> Done:
        path = installed("sigstore-python", "bin", "sigstore")
        configuration = str(self.running.trust_config)
        return self.running.run(path, "--trust-config", configuration, *arguments)

    def sigstore_signs(self, file: Path) -> None:
        done = self.sigstore("sign", "--identity-token", self.running.token(ADA), str(file))
        assert done.code == 0, done.err

    def sigstore_verifies(self, file: Path) -> Done:
        policy = ("--cert-identity", ADA, "--cert-oidc-issuer", self.running.issuer)
        return self.sigstore("verify", "identity", *policy, str(file))

    def shard(self) -> None:
        assert self.instance.stop() == 0
        done = self.instance.command("log", "shard", "--data", str(self.running.data))
        assert done.returncode == 0, done.stderr
        self.instance.start()


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sharded]:
    made = Sharded(tmp_path_factory.mktemp("sharded"))
    with made.instance:
        made.ours.sign(made.ours.file("ours\n", "old-ours"))
        made.sigstore_signs(made.ours.file("theirs\n", "old-theirs"))
        assert made.rekor("loginfo").code == 0
        made.shard()
        yield made


def entry_of(file: Path) -> dict[str, Any]:
    bundle = json.loads(Path(f"{file}.sigstore.json").read_text())
    (entry,) = bundle["verificationMaterial"]["tlogEntries"]
    found: dict[str, Any] = entry
    return found


def test_rekor_cli_follows_the_log_into_the_next_shard(
    sharded: Sharded, recorder: Recorder
) -> None:
    version = sharded.running.run(installed("go", "rekor-cli"), "version")
    number = re.search(r"GitVersion: *v(\S+)", version.out + version.err)
    assert number is not None
    info = sharded.rekor("loginfo")
    assert info.code == 0, info.err
    sizes = (int(info.json["ActiveTreeSize"]), int(info.json["TotalTreeSize"]))
    assert sizes[1] == sizes[0] + 4
    new = sharded.ours.file("rekor\n", "new-rekor")
    sharded.ours.sign(new)
    again = sharded.rekor("loginfo")  # proves consistency in the active shard
    assert int(again.json["TotalTreeSize"]) == sizes[1] + 1
    for file in (sharded.folder / "old-ours", new):
        entry = entry_of(file)
        got = sharded.rekor("get", "--log-index", entry["logIndex"])
        assert (got.code, got.code or str(got.json["LogIndex"])) == (0, entry["logIndex"]), got.err
        by_id = sharded.rekor("get", "--uuid", got.json["UUID"])
        assert (by_id.code, by_id.json == got.json) == (0, True), by_id.err
        verified = sharded.rekor("verify", "--log-index", entry["logIndex"])
        assert verified.code == 0, verified.err
        place = (str(verified.json["Index"]), verified.json["EntryUUID"])
        assert place == (entry["inclusionProof"]["logIndex"], got.json["UUID"])
    trees = {sharded.rekor("get", "--log-index", str(index)).json["UUID"][:16] for index in (0, 4)}
    assert len(trees) == 2
    did = recorder("rekor-cli", number[1])
    did(Kind.ALSO, "`loginfo`, `get` and `verify` across shards")


def test_sigstore_python_verifies_old_and_new(sharded: Sharded, recorder: Recorder) -> None:
    ours, theirs = (sharded.ours.file("new\n", name) for name in ("new-ours", "new-theirs"))
    sharded.ours.sign(ours)
    sharded.sigstore_signs(theirs)
    assert entry_of(theirs)["logId"] == entry_of(ours)["logId"]
    old = [sharded.folder / name for name in ("old-ours", "old-theirs")]
    assert entry_of(old[0])["logId"] != entry_of(ours)["logId"]
    for file in (*old, ours, theirs):
        done = sharded.sigstore_verifies(file)
        assert (done.code, f"OK: {file}" in done.err) == (0, True), done.err
        sharded.ours.believes(file, Path(f"{file}.sigstore.json"))
    ours.write_text("changed\n")
    assert sharded.sigstore_verifies(ours).code != 0
    did = recorder("sigstore-python", sharded.sigstore("--version").out.split()[-1])
    did(Kind.ALSO, "`sign` and `verify` across shards")

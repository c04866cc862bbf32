# SPDX-License-Identifier: Apache-2.0
"""`log shard` on a real instance: what was signed before and after verifies, all is readable."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.encoding import to_base64
from countermark.core.wire.rekor_v1 import parse_log_entry
from tests.support.instance import Instance
from tests.support.tuf import ngclient

pytestmark = pytest.mark.xdist_group("instance")
ADA = "ada@example.org"


def signed(instance: Instance, file: Path) -> dict[str, Any]:
    """Sign a file; its entry in the log as the bundle has it."""
    file.write_text(f"{file.name}\n")
    done = instance.command("sign", "--email", ADA, str(file))
    assert done.returncode == 0, done.stderr
    bundle = json.loads(Path(f"{file}.sigstore.json").read_text())
    (entry,) = bundle["verificationMaterial"]["tlogEntries"]
    found: dict[str, Any] = entry
    return found


def verify(instance: Instance, file: Path, *options: str) -> int:
    policy = ("--identity", ADA, "--issuer", f"{instance.url}/oidc")
    return instance.command("verify", *policy, *options, str(file)).returncode


def get(instance: Instance, path: str) -> bytes:
    with urllib.request.urlopen(f"{instance.url}{path}", timeout=10) as reply:
        data: bytes = reply.read()
    return data


def test_signing_goes_on_in_the_next_shard(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    with Instance(tmp_path, "--workers", "1") as instance:
        data = ("--data", str(instance.data_dir.path))
        before = signed(instance, old)
        assert before["logIndex"] == "2"
        refused = instance.command("log", "shard", *data)
        assert (refused.returncode, "an instance runs on" in refused.stderr) == (78, True)
        known_root = tmp_path / "known-root.json"
        known_root.write_bytes((instance.data_dir.trust / "trusted_root.json").read_bytes())
        tuf_root = (instance.data_dir.tuf / "1.root.json").read_bytes()
        ngclient(tmp_path / "cache", instance.url, tuf_root).refresh()
        assert instance.stop() == 0

        done = instance.command("log", "shard", "--json", *data)
        assert (done.returncode, done.stderr) == (0, "")
        report = json.loads(done.stdout)
        assert [(log["name"], log["treeSize"]) for log in report["frozen"]] == [
            *(("rekor-v1-1", 3), ("ct-main", 1))
        ]
        assert [log["name"] for log in report["opened"]] == ["rekor-v1-2", "ct-main-2"]
        status = json.loads(instance.command("log", "info", "--json", *data).stdout)
        assert [log["frozen"] for log in status["logs"]] == [True, True, False, False]

        instance.start()
        assert verify(instance, old) == 0
        after = signed(instance, new)
        assert (after["logIndex"], after["inclusionProof"]["logIndex"]) == ("5", "2")
        assert after["logId"] != before["logId"]
        assert verify(instance, new) == 0
        check_roots(instance, tmp_path, known_root)
        check_reading(instance, before, after)
        assert "frozen" in instance.command("status", *data).stdout
        assert instance.stop() == 0
        checked = instance.command("log", "fsck", *data)
        assert checked.stdout.splitlines() == [
            "rekor-v1-1: 3 entries, sound",
            "ct-main: 1 entries, sound",
            "rekor-v1-2: 3 entries, sound",
            "ct-main-2: 1 entries, sound",
        ]


def check_roots(instance: Instance, folder: Path, known_root: Path) -> None:
    """An old copy of the trusted root holds for what is old; TUF clients get the new one."""
    with_known = ("--trusted-root", str(known_root))
    assert verify(instance, folder / "old", *with_known) == 0
    assert verify(instance, folder / "new", *with_known) == 1
    client = ngclient(folder / "cache", instance.url, None)
    info = client.get_targetinfo("trusted_root.json")
    assert info is not None
    fetched = Path(client.download_target(info)).read_bytes()
    assert TrustedRoot.parse(fetched) == instance.trusted_root()
    assert len(instance.trusted_root().tlogs) == len(instance.trusted_root().ctlogs) == 2
    fetched_root = folder / "fetched-root.json"
    fetched_root.write_bytes(fetched)
    for name in ("old", "new"):
        assert verify(instance, folder / name, "--trusted-root", str(fetched_root)) == 0


def check_reading(instance: Instance, before: dict[str, Any], after: dict[str, Any]) -> None:
    """All entries are there by index; both CT logs show what they hold."""
    for index in range(6):
        entry = parse_log_entry(get(instance, f"/api/v1/log/entries?logIndex={index}")).entry
        assert entry.inclusion_proof is not None
        assert (entry.log_index, entry.inclusion_proof.tree_size) == (index, 3)
        for known in (before, after):
            if known["logIndex"] == str(index):
                assert to_base64(entry.canonicalized_body) == known["canonicalizedBody"]
    info = json.loads(get(instance, "/api/v1/log"))
    (inactive,) = info["inactiveShards"]
    assert (inactive["treeSize"], info["treeSize"]) == (3, 3)
    for name in ("main", "main-2"):
        head = json.loads(get(instance, f"/ctlog/{name}/ct/v1/get-sth"))
        assert head["tree_size"] == 1
        checkpoint = get(instance, f"/ctlog/{name}/checkpoint").decode()
        assert checkpoint.startswith(f"localhost:{instance.port}/ctlog/{name}\n1\n")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(instance, "/ctlog/main-3/ct/v1/get-sth")

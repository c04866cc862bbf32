# SPDX-License-Identifier: Apache-2.0
"""What is remembered of logs, and what a log that shows two trees leaves behind."""

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from countermark.client.last_seen import LastSeen, everything_seen, load_seen, proven
from countermark.core.bundle.bundle import Bundle
from countermark.core.errors import ConsistencyInvalid, FormatError, SettingsError
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.note import SignedNote
from tests.support.forge import Forge

FORGE = Forge()
ROOT = FORGE.trusted_root()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def of_size(size: int, log: str = "v1", forge: Forge = FORGE) -> Bundle:
    """A bundle under a checkpoint of that size; roots of one size differ with every bundle."""
    return forge.bundle(log=log, tree_size=size, leaf_index=size - 1)


def meet(*bundles: Bundle) -> None:
    seen = LastSeen()
    for bundle in bundles:
        seen.meet(bundle, ROOT)
    seen.save()


def record(home: Path) -> Path:
    (path,) = (home / "checkpoints").iterdir()
    return path


def test_nothing_is_known_at_first(home: Path) -> None:
    assert everything_seen() == []
    LastSeen().save()
    assert not home.exists()


def test_larger_trees_are_kept_beside_the_first_until_proven() -> None:
    meet(of_size(5))
    meet(of_size(7))
    meet(of_size(6))
    (seen,) = everything_seen()
    assert [Checkpoint.parse(SignedNote.parse(n.encode()).text).tree_size for n in seen.notes] == [
        5,
        7,
    ]
    assert (seen.base_url, seen.origin) == ("https://log.example.org", "log.example.org - 1234")
    assert seen.newest().tree_size == 7
    assert seen.proven_at_s == 0
    for note in seen.notes:
        SignedNote.parse(note.encode()).verify(seen.key)


def test_several_logs_have_records_of_their_own() -> None:
    meet(of_size(5), of_size(6, "v2"))
    assert [seen.origin for seen in everything_seen()] == [
        "log.example.org - 1234",
        "v2.example.org",
    ]


def test_two_trees_of_one_size_are_refused_with_evidence(home: Path) -> None:
    first, second = of_size(5), of_size(5)
    meet(first)
    with pytest.raises(ConsistencyInvalid, match="two different trees of 5 entries") as caught:
        meet(second)
    (file,) = (home / "evidence").iterdir()
    assert str(file) in caught.value.__notes__[0]
    assert "entries, root" in caught.value.found
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    tree = json.loads(file.read_text())
    notes = [item["note"] for item in tree["checkpoints"]]
    proofs = [bundle.tlog_entries[0].inclusion_proof for bundle in (first, second)]
    assert notes == [proof.checkpoint for proof in proofs if proof is not None]
    with pytest.raises(ConsistencyInvalid):
        meet(second)
    assert len(list((home / "evidence").iterdir())) == 1
    meet(first)


def test_a_root_that_gives_another_key_the_logs_id_changes_nothing() -> None:
    """Whoever has somebody try a root of theirs cannot put words into another log's mouth."""
    meet(of_size(5))
    (honest,) = everything_seen()
    other = Forge()
    other.log_id = FORGE.log_id
    seen = LastSeen()
    seen.meet(of_size(5, forge=other), other.trusted_root())
    seen.save()
    assert len(everything_seen()) == 2
    assert load_seen(honest) == honest


def test_two_trees_in_one_run_are_refused_too() -> None:
    with pytest.raises(ConsistencyInvalid):
        meet(of_size(5), of_size(5))


def test_two_trees_met_by_two_processes_at_once(home: Path) -> None:
    one, other = LastSeen(), LastSeen()
    one.meet(of_size(5), ROOT)
    other.meet(of_size(5), ROOT)
    one.save()
    with pytest.raises(ConsistencyInvalid):
        other.save()
    assert len(list((home / "evidence").iterdir())) == 1


def test_no_more_than_a_few_are_kept_and_always_the_first() -> None:
    meet(*(of_size(size) for size in range(5, 40)))
    (seen,) = everything_seen()
    assert len(seen.notes) == 16
    assert "\n5\n" in seen.notes[0]
    assert seen.newest().tree_size == 39


def test_what_was_proven_replaces_what_it_extends() -> None:
    meet(of_size(5), of_size(7))
    (before,) = everything_seen()
    meet(of_size(9))  # by another process meanwhile
    newest = of_size(8).tlog_entries[0].inclusion_proof
    assert newest is not None
    after = proven(before, newest.checkpoint, 1234)
    assert load_seen(before) == after
    assert [note.split("\n")[1] for note in after.notes] == ["8", "9"]
    assert after.proven_at_s == 1234


def test_records_are_private_and_read_only_from_their_owner(home: Path) -> None:
    meet(of_size(5))
    assert stat.S_IMODE(record(home).stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "checkpoints").stat().st_mode) == 0o700
    record(home).chmod(0o666)
    with pytest.raises(SettingsError, match="can be written by others"):
        meet(of_size(6))


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{}",
        b"null",
        b"[" * 100_000,
        b'{"version": 1}',
        ("checkpoints", []),
        ("checkpoints", ["x"]),
        ("checkpoints", [1]),
        ("checkpoints", ["\ud800"]),
        ("checkpoints", "reversed"),
        ("origin", "other"),
        ("logId", "00" * 32),
        ("key", ""),
        ("keyHash", "00"),
        ("provenAt", "x"),
    ],
)
def test_a_damaged_record_is_an_error_and_never_nothing(
    home: Path, damage: bytes | tuple[str, object]
) -> None:
    meet(of_size(5), of_size(7))
    path = record(home)
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        tree = json.loads(path.read_text())
        name, value = damage
        tree[name] = tree[name][::-1] if value == "reversed" else value
        path.write_text(json.dumps(tree))
    with pytest.raises(FormatError, match="is damaged"):
        meet(of_size(6))
    with pytest.raises(FormatError, match="is damaged"):
        everything_seen()


def test_a_record_of_a_newer_version_is_not_touched(home: Path) -> None:
    meet(of_size(5))
    text = record(home).read_text().replace('"version": 1', '"version": 2')
    record(home).write_text(text)
    with pytest.raises(SettingsError, match="newer version"):
        meet(of_size(7))
    assert record(home).read_text() == text


def test_many_processes_lose_nothing(tmp_path: Path) -> None:
    """Each meets another size; at the end the largest is there, and the first."""
    meet(of_size(5))
    (tmp_path / "root.json").write_bytes(ROOT.serialize())
    for size in range(6, 14):
        (tmp_path / f"{size}.json").write_bytes(of_size(size).serialize())
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from countermark.client.last_seen import LastSeen\n"
        "from countermark.core.bundle.bundle import Bundle\n"
        "from countermark.core.bundle.trusted_root import TrustedRoot\n"
        "root = TrustedRoot.parse(Path('root.json').read_bytes())\n"
        "seen = LastSeen()\n"
        "seen.meet(Bundle.parse(Path(sys.argv[1]).read_bytes()), root)\n"
        "seen.save()\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, f"{size}.json"], cwd=tmp_path)
        for size in range(6, 14)
    ]
    assert [process.wait(60) for process in running] == [0] * 8
    (seen,) = everything_seen()
    assert "\n5\n" in seen.notes[0]
    assert seen.newest().tree_size == 13


def test_looking_costs_well_under_a_millisecond() -> None:
    bundle = of_size(5)
    meet(bundle, of_size(7))

    def cost_s(rounds: int = 40) -> float:
        started = time.process_time()
        for _ in range(rounds):
            LastSeen().meet(bundle, ROOT)
        return (time.process_time() - started) / rounds

    assert min(cost_s() for _ in range(5)) < 0.001


def test_the_folder_is_made_by_the_first_writer(home: Path) -> None:
    meet(of_size(5))
    assert sorted(os.listdir(home)) == ["checkpoints", "lock"]

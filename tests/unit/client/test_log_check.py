# SPDX-License-Identifier: Apache-2.0
"""Logs that are asked what they hold: honest ones, and real forks under the same key."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.client.last_seen import LastSeen, SeenLog, everything_seen, parse_checkpoint
from countermark.client.log_check import check_log, check_signed
from countermark.client.transport import Reply, Transport
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import TransparencyLog, TrustedRoot, Validity
from countermark.core.encoding import from_rfc3339
from countermark.core.errors import ConsistencyInvalid, FormatError, Pushback, UpstreamDown
from countermark.core.tlog.note import NoteKey
from countermark.tilelog.log import Log
from tests.support.forge import Forge
from tests.support.logs import ORIGIN, EmbeddedStores, TextLog, add_all, published, with_log
from tests.support.rekor import SigningKey, hashedrekord
from tests.support.v1_log import BASE_URL, TREE_ID, RunningLog

KEY = SigningKey.new()
EVER = Validity(from_rfc3339("2020-01-01T00:00:00Z", "start"))
BUNDLE = Forge().bundle()


class Wire(Transport):
    """Carries requests to a log in this process; `changed` are other answers, by path."""

    def __init__(self, log: RunningLog) -> None:
        super().__init__()
        self.log = log
        self.changed: dict[str, list[tuple[int, bytes]]] = {}
        self.asked: list[str] = []

    def get(self, url: str, what: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        assert url.startswith(f"{BASE_URL}/")
        parts = urlsplit(url)
        self.asked.append(parts.path)
        changed = self.changed.get(parts.path)
        if changed:
            status, body = changed.pop(0) if len(changed) > 1 else changed[0]
            return Reply(status, {}, body)
        found = self.log.browser.get(parts.path, query=dict(parse_qsl(parts.query)))
        return Reply(found.status, found.headers, found.body)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def log(key: ec.EllipticCurvePrivateKey) -> Iterator[RunningLog]:
    with RunningLog(key=key) as running:
        yield running


@pytest.fixture
def fork(key: ec.EllipticCurvePrivateKey) -> Iterator[RunningLog]:
    """Another tree under the key and the name of `log`."""
    with RunningLog(key=key) as running:
        yield running


def root_of(log: RunningLog) -> TrustedRoot:
    logs = tuple(
        TransparencyLog(
            BASE_URL, "SHA2_256", shard.public_key.spki, shard.public_key.details, EVER,
            shard.log_id,
        )
        for shard in log.shards.values()
    )  # fmt: skip
    return TrustedRoot(logs, (), (), ())


def add(log: RunningLog, *texts: str) -> Bundle:
    """Log signatures over texts; a bundle with the last one's entry."""
    for text in texts:
        reply = log.post(hashedrekord(KEY, text.encode()))
        assert reply.status == 201
    return BUNDLE._replace(tlog_entries=(log.check(reply.body).entry,))


def met(log: RunningLog, *bundles: Bundle) -> SeenLog:
    seen = LastSeen()
    for bundle in bundles:
        seen.meet(bundle, root_of(log))
    seen.save()
    (found,) = everything_seen()
    return found


def no_sleep(_: float) -> None:
    """Nobody has to wait for a log in this process."""


def evidence(home: Path) -> dict[str, object]:
    (file,) = (home / "evidence").iterdir()
    tree: dict[str, object] = json.loads(file.read_text())
    return tree


def test_an_honest_log_proves_that_it_extends_all_that_was_met(log: RunningLog) -> None:
    seen = met(log, add(log, "a"), add(log, "b", "c"), add(log, "d"))
    add(log, "e", "f")
    checked = check_log(Wire(log), seen)
    assert (checked.head.tree_size, checked.earlier) == (8, (3, 5, 6))
    (known,) = everything_seen()
    assert known == checked.log
    assert [parse_checkpoint(note).tree_size for note in known.notes] == [8]
    assert known.proven_at_s > 0
    again = check_log(Wire(log), known)
    assert (again.head.tree_size, again.earlier) == (8, (8,))


def test_another_checkpoint_is_checked_with_what_is_remembered(
    log: RunningLog, fork: RunningLog
) -> None:
    old = add(log, "a")
    seen = met(log, add(log, "b"))
    proof = old.tlog_entries[0].inclusion_proof
    assert proof is not None
    assert check_log(Wire(log), seen, also=(proof.checkpoint,)).earlier == (3, 4)
    forged = add(fork, "x").tlog_entries[0].inclusion_proof
    assert forged is not None
    with pytest.raises(ConsistencyInvalid, match="rewrote its history"):
        check_log(Wire(log), seen, also=(forged.checkpoint,))


def test_a_fork_that_grew_is_refused_with_both_checkpoints(
    log: RunningLog, fork: RunningLog, home: Path
) -> None:
    seen = met(log, add(log, "a", "b"))
    add(fork, "a", "B", "c", "d")
    with pytest.raises(ConsistencyInvalid, match="6 entries do not extend the 4") as caught:
        check_log(Wire(fork), seen)
    tree = evidence(home)
    assert str(home / "evidence") in caught.value.__notes__[0]
    checkpoints = tree["checkpoints"]
    assert isinstance(checkpoints, list)
    assert checkpoints[0]["note"] == seen.notes[0]
    for item in checkpoints:
        log.check_note(item["note"])
    proof = tree["consistencyProof"]
    assert isinstance(proof, list)
    assert proof
    assert everything_seen() == [seen]


def test_a_fork_of_the_same_size_is_refused(log: RunningLog, fork: RunningLog, home: Path) -> None:
    seen = met(log, add(log, "a", "b"))
    add(fork, "a", "B")
    with pytest.raises(ConsistencyInvalid, match="two different trees of 4 entries"):
        check_log(Wire(fork), seen)
    assert evidence(home)["consistencyProof"] is None


def test_a_log_that_took_entries_back_is_refused(
    log: RunningLog, fork: RunningLog, home: Path
) -> None:
    seen = met(log, add(log, "a", "b"))
    add(fork, "a")
    waited: list[float] = []
    with pytest.raises(ConsistencyInvalid, match="shows 3 entries, and has signed 4 before"):
        check_log(Wire(fork), seen, sleep=waited.append)
    assert len(waited) == 2
    assert "took entries back" in str(evidence(home)["what"])


def test_a_server_that_is_behind_is_given_time(log: RunningLog) -> None:
    add(log, "a")
    wire = Wire(log)
    behind = wire.get(f"{BASE_URL}/api/v1/log", "").body
    seen = met(log, add(log, "b"))
    now = wire.get(f"{BASE_URL}/api/v1/log", "").body
    wire.changed["/api/v1/log"] = [(200, behind), (200, now)]
    assert check_log(wire, seen, sleep=no_sleep).head.tree_size == 4


def test_a_fork_that_bundles_brought_is_found_at_the_next_question(
    log: RunningLog, fork: RunningLog
) -> None:
    """Offline a larger tree may be a fork's; the one known before is kept, and gives it away."""
    honest, forged = add(log, "a", "b"), add(fork, "x", "y", "z")
    seen = met(log, honest, forged)
    add(log, "c", "d", "e")
    with pytest.raises(ConsistencyInvalid, match="do not extend the 5"):
        check_log(Wire(log), seen, sleep=no_sleep)
    with pytest.raises(ConsistencyInvalid, match="do not extend the 4"):
        check_log(Wire(fork), seen, sleep=no_sleep)


def test_a_checkpoint_that_another_key_signed_is_refused(log: RunningLog) -> None:
    seen = met(log, add(log, "a"))
    with RunningLog() as other:
        add(other, "a", "b")
        with pytest.raises(ConsistencyInvalid, match="not signed by its key") as caught:
            check_log(Wire(other), seen)
    assert caught.value.expected.endswith(log.shard.public_key.key_id.hex())


def test_a_forged_signature_is_refused(log: RunningLog) -> None:
    seen = met(log, add(log, "a"))
    wire = Wire(log)
    tree = json.loads(wire.get(f"{BASE_URL}/api/v1/log", "").body)
    tree["signedTreeHead"] = tree["signedTreeHead"].replace("\n3\n", "\n4\n")
    wire.changed["/api/v1/log"] = [(200, json.dumps(tree).encode())]
    with pytest.raises(ConsistencyInvalid, match="not signed by its key"):
        check_log(wire, seen)


@pytest.mark.parametrize(
    "answer",
    [
        (200, b'{"hashes":[]}'),
        (200, b'{"hashes":["00"]}'),
        (200, b'{"hashes":null}'),
        (200, b"{}"),
        (200, b"no"),
        (200, json.dumps({"hashes": ["00" * 32] * 200}).encode()),
        (200, json.dumps({"hashes": ["00" * 32] * 3}).encode()),
        (400, b'{"code":400,"message":"no"}'),
        (404, b""),
    ],
)
def test_a_log_without_a_proof_is_refused(
    log: RunningLog, home: Path, answer: tuple[int, bytes]
) -> None:
    seen = met(log, add(log, "a"))
    add(log, "b", "c")
    wire = Wire(log)
    wire.changed["/api/v1/log/proof"] = [answer]
    with pytest.raises(ConsistencyInvalid):
        check_log(wire, seen, sleep=no_sleep)
    assert evidence(home)["log"] == BASE_URL
    assert everything_seen() == [seen]


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/api/v1/log", 500, UpstreamDown),
        ("/api/v1/log", 404, UpstreamDown),
        ("/api/v1/log", 503, Pushback),
        ("/api/v1/log/proof", 500, UpstreamDown),
        ("/api/v1/log/proof", 429, Pushback),
    ],
)
def test_a_log_that_is_away_proves_nothing_and_is_not_refused(
    log: RunningLog, home: Path, path: str, status: int, error: type[Exception]
) -> None:
    seen = met(log, add(log, "a"))
    add(log, "b")
    wire = Wire(log)
    wire.changed[path] = [(status, b"")]
    with pytest.raises(error):
        check_log(wire, seen, sleep=no_sleep)
    assert not (home / "evidence").exists()
    assert everything_seen() == [seen]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"signedTreeHead":"x","rootHash":"","treeID":"","treeSize":1}']
)
def test_a_reply_that_is_none_is_malformed(log: RunningLog, body: bytes) -> None:
    seen = met(log, add(log, "a"))
    wire = Wire(log)
    wire.changed["/api/v1/log"] = [(200, body)]
    with pytest.raises(FormatError):
        check_log(wire, seen)


def test_every_shard_is_asked_for_by_its_own_tree(log: RunningLog) -> None:
    old = add(log, "a", "b")
    seen = LastSeen()
    seen.meet(old, root_of(log))
    log.next_shard(TREE_ID + 1)
    seen.meet(add(log, "c"), root_of(log))
    seen.save()
    add(log, "d")
    first, second = everything_seen()
    assert check_log(Wire(log), first).head.tree_size == 4
    assert check_log(Wire(log), second).head.tree_size == 4
    assert check_log(Wire(log), second).log.origin.endswith(str(TREE_ID + 1))


def test_a_log_that_dropped_a_shard_is_refused(log: RunningLog, fork: RunningLog) -> None:
    log.next_shard(TREE_ID + 1)
    seen = met(log, add(log, "a"))
    with pytest.raises(ConsistencyInvalid, match="shows no tree"):
        check_log(Wire(fork), seen)


# --- after signing -------------------------------------------------------------------------------


def test_a_log_that_was_just_signed_with_proves_what_was_met_before(
    log: RunningLog, fork: RunningLog
) -> None:
    wire = Wire(log)
    assert check_signed(wire, [add(log, "a")], root_of(log)) == 0
    assert wire.asked == []
    later = [add(log, text) for text in ("b", "c", "d")]
    assert check_signed(wire, later, root_of(log)) == 1
    assert wire.asked == ["/api/v1/log/proof"]  # one for all
    (seen,) = everything_seen()
    assert [parse_checkpoint(note).tree_size for note in seen.notes] == [6]
    assert check_signed(wire, [add(log, "e")], root_of(log)) == 1
    assert check_signed(wire, later, root_of(log)) == 1  # others signed meanwhile
    assert check_signed(wire, [], root_of(log)) == 0
    with pytest.raises(ConsistencyInvalid):
        check_signed(Wire(fork), [add(fork, *"uvwxyz")], root_of(fork))


def test_what_could_not_be_proven_yet_is_proven_later(log: RunningLog) -> None:
    wire = Wire(log)
    check_signed(wire, [add(log, "a")], root_of(log))
    wire.changed["/api/v1/log/proof"] = [(503, b"")]
    with pytest.raises(Pushback):
        check_signed(wire, [add(log, "b")], root_of(log))
    (seen,) = everything_seen()
    assert len(seen.notes) == 2
    del wire.changed["/api/v1/log/proof"]
    assert check_signed(wire, [add(log, "c")], root_of(log)) == 1
    (seen,) = everything_seen()
    assert len(seen.notes) == 1


# --- tiled logs ----------------------------------------------------------------------------------


class Files(Transport):
    """Carries requests to the published files of a tiled log."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def get(self, url: str, what: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        path = self.folder / url.removeprefix("https://log.example/1/api/v2/")
        return Reply(200, {}, path.read_bytes()) if path.is_file() else Reply(404, {}, b"")


def tiled(folder: Path, *texts: str) -> Path:
    """A tiled log of our own engine with these entries, as files; gives their folder."""

    async def fill(log: Log) -> None:
        await add_all(log, texts)
        await published(log, len(texts))

    folder.mkdir(exist_ok=True)
    with_log(EmbeddedStores(folder), fill)
    (checkpoint,) = (folder / "objects").rglob("checkpoint")
    return checkpoint.parent


def seen_in(folder: Path) -> SeenLog:
    key: NoteKey = TextLog().note_key
    note = (folder / "checkpoint").read_text()
    return SeenLog(ORIGIN, "https://log.example/1", b"\x01" * 32, key, (note,))


def test_a_tiled_log_proves_itself_with_its_tiles(tmp_path: Path) -> None:
    folder = tiled(tmp_path / "log", *(f"text {number}" for number in range(300)))
    seen = seen_in(folder)
    assert check_log(Files(folder), seen).earlier == (300,)
    for tree, extended in (("text", True), ("other", False)):
        small = tiled(tmp_path / tree, *(f"{tree} {number}" for number in range(37)))
        earlier = seen_in(folder)._replace(notes=seen_in(small).notes)
        if extended:
            assert check_log(Files(folder), earlier).earlier == (37,)
        else:
            with pytest.raises(ConsistencyInvalid, match="rewrote its history"):
                check_log(Files(folder), earlier)


def test_a_tiled_log_that_grew(tmp_path: Path) -> None:
    folder = tiled(tmp_path / "log", *(f"text {number}" for number in range(300)))
    seen = seen_in(folder)

    async def more(log: Log) -> None:
        await add_all(log, [f"more {number}" for number in range(400)])
        await published(log, 700)

    with_log(EmbeddedStores(tmp_path / "log"), more)
    checked = check_log(Files(folder), seen)
    assert (checked.head.tree_size, checked.earlier) == (700, (300,))
    for tile in folder.glob("tile/0/*"):
        if tile.is_file():
            tile.write_bytes(tile.read_bytes()[:-32] + bytes(32))
    with pytest.raises(ConsistencyInvalid):
        check_log(Files(folder), seen)
    for tile in folder.glob("tile/0/*"):
        if tile.is_file():
            tile.write_bytes(b"")
    with pytest.raises(ConsistencyInvalid, match="gives no proof"):
        check_log(Files(folder), seen)

# SPDX-License-Identifier: Apache-2.0
"""A round whose sync takes seconds: nothing shows it before the kernel has it on disk.

strace holds the keeper's fdatasync up, before the kernel sees it or after it is done. Meanwhile
everything that reads is asked again and again, each by a client of its own; a reply that came
before the sync ended must know nothing of the round. In the end the keeper is killed while the
sync has not begun, and the disk loses what was not synced.
"""

import json
import shutil
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from countermark.app.asking import ask_status
from countermark.app.data_dir import DataDir
from countermark.core.errors import CountermarkError
from countermark.core.rekor.kinds import admit
from countermark.core.tlog.merkle import leaf_hash
from countermark.core.wire import fulcio, rekor_v1
from tests.fault.test_kill import check_certificates, check_history, check_stopped
from tests.support.instance import Instance
from tests.support.keeper import CT, V1, KeeperProcess
from tests.support.load import EMAIL, Client, Load, lasting, local_token
from tests.support.rekor import SigningKey, encode, hashedrekord
from tests.support.strace import RECORD, attached, needs_strace, read_record

pytestmark = [pytest.mark.fault, needs_strace, pytest.mark.xdist_group("instance")]

_DELAY_US = 2_000_000
Look = Callable[[Client], bool]
"""Asks one thing; whether the answer shows the round."""


def _has(client: Client, path: str) -> bool:
    return client.get(path)[0] == 200


def _number(client: Client, path: str, name: str) -> int:
    status, _, data = client.get(path)
    return int(json.loads(data)[name]) if status == 200 else 0


def _found(client: Client, path: str, question: dict[str, Any]) -> bool:
    status, _, data = client.post(path, encode(question))
    return status == 200 and bool(json.loads(data))


def _size_of_note(data: bytes) -> int:
    return int(data.split(b"\n")[1])


def looks_at_v1(
    data_dir: DataDir, size: int, proposal: dict[str, Any], entry_id: str
) -> dict[str, Look]:
    """All that would show entry `size`, which is `proposal`."""
    digest = proposal["spec"]["data"]["hash"]["value"]
    retrieve, folder = rekor_v1.RETRIEVE_PATH, data_dir.log_folder(V1)
    return {
        "log": lambda c: _number(c, rekor_v1.LOG_PATH, "treeSize") > size,
        "by index": lambda c: _has(c, f"{rekor_v1.ENTRIES_PATH}?logIndex={size}"),
        "by id": lambda c: _has(c, f"{rekor_v1.ENTRIES_PATH}/{entry_id}"),
        "retrieve id": lambda c: _found(c, retrieve, {"entryUUIDs": [entry_id]}),
        "retrieve index": lambda c: _found(c, retrieve, {"logIndexes": [size]}),
        "retrieve entry": lambda c: _found(c, retrieve, {"entries": [proposal]}),
        "index": lambda c: _found(c, rekor_v1.INDEX_PATH, {"hash": f"sha256:{digest}"}),
        "proof": lambda c: _has(c, f"{rekor_v1.PROOF_PATH}?firstSize=1&lastSize={size + 1}"),
        "duplicate": lambda c: c.post(rekor_v1.ENTRIES_PATH, encode(proposal))[0] in (201, 409),
        "checkpoint file": lambda _: _size_of_note((folder / "checkpoint").read_bytes()) > size,
        "tile file": lambda _: (folder / "tile/0/000.p" / str(size + 1)).exists(),
        "status": lambda _: _size_told(data_dir, V1) > size,
        "metrics": lambda c: _metric_above(c, V1, size),
    }


def looks_at_ct(data_dir: DataDir, size: int) -> dict[str, Look]:
    """All that would show the CT log's entry `size`."""
    api, more, folder = "/ctlog/main/ct/v1", size + 1, data_dir.log_folder(CT)

    def note(client: Client) -> bool:
        status, _, data = client.get("/ctlog/main/checkpoint")
        return status == 200 and _size_of_note(data) > size

    known = b64encode(_ct_leaf_hash(data_dir)).decode().replace("+", "%2B")
    return {
        "get-sth": lambda c: _number(c, f"{api}/get-sth", "tree_size") > size,
        "get-entries": lambda c: _has(c, f"{api}/get-entries?start={size}&end={size}"),
        "consistency": lambda c: _has(c, f"{api}/get-sth-consistency?first=1&second={more}"),
        "by hash": lambda c: _has(c, f"{api}/get-proof-by-hash?hash={known}&tree_size={more}"),
        "and proof": lambda c: _has(
            c, f"{api}/get-entry-and-proof?leaf_index={size}&tree_size={more}"
        ),
        "checkpoint": note,
        "tile": lambda c: _has(c, f"/ctlog/main/tile/0/000.p/{more}"),
        "data tile": lambda c: _has(c, f"/ctlog/main/tile/data/000.p/{more}"),
        "checkpoint file": lambda _: _size_of_note((folder / "checkpoint").read_bytes()) > size,
        "tile file": lambda _: (folder / "tile/0/000.p" / str(more)).exists(),
        "status": lambda _: _size_told(data_dir, CT) > size,
        "metrics": lambda c: _metric_above(c, CT, size),
    }


def _ct_leaf_hash(data_dir: DataDir) -> bytes:
    """Of an entry that is in the log."""
    tile = next((data_dir.log_folder(CT) / "tile/0/000.p").iterdir())
    return tile.read_bytes()[:32]


def _size_told(data_dir: DataDir, name: str) -> int:
    return max((log.tree_size for log in ask_status(data_dir).logs if log.name == name), default=0)


def _metric_above(client: Client, name: str, size: int) -> bool:
    _, _, data = client.get("/metrics")
    lines = [line.rpartition(b" ") for line in data.splitlines() if not line.startswith(b"#")]
    sizes = [value for what, _, value in lines if name.encode() in what and b"tree_size" in what]
    return any(float(value) > size for value in sizes)


class Hammer:
    """Clients that look until they are stopped, and when each saw or did not see the round."""

    def __init__(self, port: int, looks: dict[str, Look]) -> None:
        self._port = port
        self.seen: list[tuple[float, str, bool]] = []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._look, args=item, daemon=True) for item in looks.items()
        ]

    def __enter__(self) -> "Hammer":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _look(self, name: str, look: Look) -> None:
        client = Client(self._port)
        while not self._stopping.wait(0.03):
            try:
                shown = look(client)
            except CountermarkError:
                continue
            self.seen.append((time.time(), name, shown))
        client.close()


class Delayed:
    """An instance, and rounds of it under strace."""

    def __init__(self, instance: Instance, load: Load) -> None:
        self.instance = instance
        self.seen = load.seen
        self.client = Client(instance.port)
        self.key = SigningKey.new()
        secret = instance.data_dir.read_local_secret()
        self.token = local_token(instance.port, secret)
        self._turn = 0

    def settle(self) -> tuple[int, int]:
        """Wait until everything is published; the sizes of both logs."""

        def settled() -> bool:
            logs = ask_status(self.instance.data_dir).logs
            return bool(logs) and all(log.published_size == log.tree_size for log in logs)

        self.instance.wait("published", settled)
        time.sleep(0.5)  # the last staged leaves are dropped
        logs = {log.name: log.tree_size for log in ask_status(self.instance.data_dir).logs}
        return logs[V1], logs[CT]

    def proposal(self) -> tuple[dict[str, Any], str]:
        """A new entry and the end of its id."""
        self._turn += 1
        proposal = hashedrekord(self.key, b"delayed %d" % self._turn)
        return proposal, _uuid(proposal)

    def post(self, proposal: dict[str, Any]) -> float:
        """Have it logged; when that was answered."""
        status, headers, data = self.client.post(rekor_v1.ENTRIES_PATH, encode(proposal))
        if status == 409:  # the duplicate's client was first
            status, _, data = self.client.get(headers["location"])
        when = time.time()
        assert status in (200, 201), data
        logged = rekor_v1.parse_log_entry(data)
        self.seen.entries[logged.entry_id] = lasting(logged.entry)
        return when

    def certify(self) -> float:
        """Have a certificate issued; when that was answered."""
        request = fulcio.signing_cert_request(
            self.token, self.key.pem, self.key.sign(EMAIL.encode())
        )
        status, _, data = self.client.post("/api/v2/signingCert", request)
        when = time.time()
        assert status == 200, data
        leaf, issuer, *_ = fulcio.parse_signing_cert_response(data)
        self.seen.certificates.append((leaf, issuer))
        return when

    def check_hidden(
        self, folder: Path, delay: str, looks: dict[str, Look], work: Callable[[], float]
    ) -> None:
        """Do `work` while syncs are held up; nothing that looks may see it before they ended."""
        trace = folder / f"trace-{time.monotonic_ns()}"
        keeper = self.instance.processes()["keeper"].pid
        inject = f"-einject=fdatasync:{delay}={_DELAY_US}"
        with attached(
            *RECORD, "-etrace=fdatasync", inject, f"-o{trace}", threads=[keeper], follow=True
        ):
            with Hammer(self.instance.port, looks) as hammer:
                began = time.time()
                answered = work()
                time.sleep(0.5)
            self.settle()
        first, *_ = [call for call in read_record(trace) if call.began > began]
        # After the call, strace's delay is not in its time, but the keeper waits for it too.
        durable = first.began + _DELAY_US / 1e6
        assert answered >= durable, "it was answered before it was durable"
        early = [(name, shown) for when, name, shown in hammer.seen if when < durable]
        assert [name for name, shown in early if shown] == [], "it was shown before it was durable"
        # Some answers need the index, which waits for the round; the others kept coming.
        count = Counter(name for name, _ in early)
        assert sum(number > 3 for number in count.values()) >= len(looks) // 2, count
        assert any(shown for *_, shown in hammer.seen), "nothing ever shows it"


def _uuid(proposal: dict[str, Any]) -> str:
    """The hash that ends an entry's id."""
    return leaf_hash(
        admit(proposal["kind"], proposal["apiVersion"], encode(proposal["spec"])).body
    ).hex()


@pytest.mark.parametrize("delay", ["delay_enter", "delay_exit"])
def test_nothing_shows_a_round_before_it_is_durable(tmp_path: Path, delay: str) -> None:
    with Instance(tmp_path, "--workers", "2") as instance:
        log, data_dir = instance.trusted_root().tlogs[0], instance.data_dir
        token = local_token(instance.port, data_dir.read_local_secret())
        with Load(instance.port, log, token, posters=2) as load:
            load.wait_for_more()
            instance.wait("both kinds", lambda: bool(load.seen.entries and load.seen.certificates))
        delayed = Delayed(instance, load)
        size, _ = delayed.settle()
        proposal, uuid = delayed.proposal()
        looks = looks_at_v1(data_dir, size, proposal, uuid)
        delayed.check_hidden(tmp_path, delay, looks, lambda: delayed.post(proposal))
        _, size = delayed.settle()
        delayed.check_hidden(tmp_path, delay, looks_at_ct(data_dir, size), delayed.certify)
        if delay == "delay_enter":
            _lose_power(tmp_path, delayed)
        delayed.client.close()
        check_stopped(instance, load.seen)
    assert load.seen.wrong == []


def _lose_power(folder: Path, delayed: Delayed) -> None:
    """Kill the keeper with a round that the kernel was not asked to sync; the disk loses it."""
    instance, data_dir = delayed.instance, delayed.instance.data_dir
    sizes = delayed.settle()
    [log] = [path for path in data_dir.db.glob("*.log") if path.stat().st_size]
    synced = log.stat().st_size
    proposal, _ = delayed.proposal()
    client = Client(instance.port)
    replies: list[int] = []
    poster = threading.Thread(
        target=lambda: replies.append(client.post(rekor_v1.ENTRIES_PATH, encode(proposal))[0])
    )
    keeper = instance.processes()["keeper"].pid
    inject = f"-einject=fdatasync:delay_enter={5 * _DELAY_US}"
    with attached("-etrace=fdatasync", inject, "-o/dev/null", threads=[keeper], follow=True):
        poster.start()
        instance.wait("written", lambda: log.stat().st_size > synced)
        time.sleep(0.3)
        lost = DataDir.at(folder / "lost" / "data")
        shutil.copytree(data_dir.path, lost.path, ignore=shutil.ignore_patterns("*.sock"))
        instance.kill("keeper")
    poster.join(60)
    client.close()
    assert replies
    assert replies[0] in (0, 503), "it was acknowledged without a sync"
    with (lost.db / log.name).open("rb+") as file:
        file.truncate(synced)
    again = KeeperProcess(lost)
    assert again.start(), again.said()
    assert tuple(again.logs()[name].tree_size for name in (V1, CT)) == sizes
    assert again.stop() == 0
    check_certificates(lost, delayed.seen)
    check_history(lost, delayed.seen)
    instance.wait("ready again", instance.is_ready)

# SPDX-License-Identifier: Apache-2.0
"""The public-good instance's own roots, replayed with a set clock, and what this program ships."""

import datetime as dt
import json
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from countermark.client.trust import following
from countermark.client.trust.chain import Kept, read_roots, verify_kept
from countermark.client.trust.following import fetch
from countermark.client.trust.shipped import SHIPPED, shipped_root, shipped_trust
from countermark.core.bundle.signing_config import SigningConfig
from countermark.core.bundle.trusted_root import TrustedRoot
from countermark.core.errors import FormatError, VerificationError
from tests.support.tuf_mirror import mirror_of
from tests.support.vectors import vectors

# Roots 5 to 8 call their keys what securesystemslib still reads, and says is out of date.
pytestmark = [
    pytest.mark.vectors,
    pytest.mark.filterwarnings("ignore:keytype 'ecdsa-sha2-nistp256' is deprecated"),
]
FIRST, LAST = 5, 15


def history() -> dict[int, bytes]:
    folder = vectors("public-good", "root-history")
    return {n: (folder / f"{n}.root.json").read_bytes() for n in range(1, LAST + 1)}


def expiry(root: bytes) -> datetime:
    return datetime.fromisoformat(json.loads(root)["signed"]["expires"].replace("Z", "+00:00"))


def set_clock(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    """What python-tuf's client takes for the time."""

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Clock":
            return cls.fromtimestamp(now.timestamp(), tz)

    fake = SimpleNamespace(datetime=Clock, timezone=dt.timezone)
    monkeypatch.setattr("tuf.ngclient._internal.trusted_metadata_set.datetime", fake)


@pytest.mark.parametrize("first", range(FIRST, LAST + 1))
def test_every_root_leads_to_the_newest(first: int) -> None:
    roots = history()
    found = read_roots(roots[first], tuple(roots[n] for n in range(first + 1, LAST + 1)))
    assert [root.version for root in found] == list(range(first, LAST + 1))
    assert found[-1].expires == expiry(roots[LAST])


def test_the_newest_is_what_is_shipped() -> None:
    assert shipped_root("public") == history()[LAST]


@pytest.mark.parametrize("left_out", range(FIRST + 1, LAST))
def test_a_root_that_is_missing_breaks_the_chain(left_out: int) -> None:
    roots = history()
    later = tuple(roots[n] for n in range(FIRST + 1, LAST + 1) if n != left_out)
    with pytest.raises(VerificationError):
        read_roots(roots[FIRST], later)


def test_roots_in_another_order_or_twice() -> None:
    roots = history()
    for later in ((roots[7], roots[6]), (roots[6], roots[6]), (roots[FIRST],), (roots[4],)):
        with pytest.raises(VerificationError):
            read_roots(roots[FIRST], later)


def test_a_changed_root_is_refused() -> None:
    roots = history()
    tree = json.loads(roots[6])
    tree["signed"]["expires"] = "2099-01-01T00:00:00Z"
    with pytest.raises(VerificationError, match="signed"):
        read_roots(roots[FIRST], (json.dumps(tree).encode(),))


def test_roots_that_python_tuf_cannot_read_are_refused_in_our_words() -> None:
    """Versions before 5 have an expiry, or key types, of their own."""
    for version in range(1, FIRST):
        try:
            read_roots(history()[version], ())
        except (FormatError, VerificationError):
            continue
        assert version > 1


@pytest.fixture
def mirrored(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A repository whose roots are the public ones; nobody here can sign what comes after."""
    return {f"{n}.root.json": data for n, data in history().items()}


def test_a_client_of_2023_walks_to_the_newest_root(
    mirrored: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ten roots are taken, and then the timestamp is asked for, which we cannot sign."""
    roots = history()
    set_clock(monkeypatch, expiry(roots[LAST]) - timedelta(days=1))
    with mirror_of(mirrored) as mirror:
        with pytest.raises(Exception, match=r"timestamp\.json"):
            fetch(mirror.url, pin=roots[FIRST])
        asked = [name for name in mirror.asked if name.endswith(".root.json")]
        assert asked == [f"{n}.root.json" for n in range(FIRST + 1, LAST + 2)]
        assert mirror.asked[-1] == "timestamp.json"


def test_after_its_last_day_the_newest_root_is_refused(
    mirrored: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = history()
    set_clock(monkeypatch, expiry(roots[LAST]) + timedelta(seconds=1))
    mirrored["timestamp.json"] = b'{"signed": {}}'
    with mirror_of(mirrored) as mirror, pytest.raises(VerificationError, match="expired"):
        fetch(mirror.url, pin=roots[FIRST])


def test_a_mirror_that_withholds_the_newest_roots(
    mirrored: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = history()
    set_clock(monkeypatch, expiry(roots[LAST]) - timedelta(days=1))
    for version in range(10, LAST + 1):
        del mirrored[f"{version}.root.json"]
    mirrored["timestamp.json"] = b'{"signed": {}}'
    with mirror_of(mirrored) as mirror, pytest.raises(VerificationError, match="expired"):
        fetch(mirror.url, pin=roots[FIRST])


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_what_is_shipped_is_whole(name: str) -> None:
    (root,) = read_roots(shipped_root(name), ())
    assert root.consistent_snapshot
    trusted_root, config = shipped_trust(name)
    assert TrustedRoot.parse(trusted_root).tlogs
    assert SigningConfig.parse(config).rekor_tlog_urls
    assert following.default_tuf_url(name) == SHIPPED[name].tuf_url


def test_strangers_cannot_follow_the_public_root() -> None:
    """With the real root pinned, metadata of anybody else is no metadata."""
    from tests.support.tuf_mirror import Repository

    files = Repository().files
    kept = Kept((), files["timestamp.json"], files["2.snapshot.json"], files["2.targets.json"], {})
    with pytest.raises(VerificationError, match="timestamp was signed by 0/1"):
        verify_kept(shipped_root("public"), kept)

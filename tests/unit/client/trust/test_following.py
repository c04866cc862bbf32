# SPDX-License-Identifier: Apache-2.0
"""Trust is fetched from a pinned root, kept, refreshed, and used without a network."""

import time
from pathlib import Path

import pytest

from countermark.client.instances import load_instances, update_instances
from countermark.client.trust.following import (
    Followed,
    fetch,
    find_record,
    is_due,
    refresh_if_due,
    use_kept,
)
from countermark.client.trust.kept import kept_path
from countermark.client.trust.updating import download_root
from countermark.core.errors import (
    FormatError,
    RequestRejected,
    SettingsError,
    UpstreamDown,
    VerificationError,
)
from tests.support.tuf_mirror import (
    Mirror,
    Repository,
    changed,
    endless,
    mirror_of,
    sign,
)


def test_first_time_needs_a_root_and_asks_nobody_without(mirror: Mirror) -> None:
    with pytest.raises(SettingsError, match="starts from") as raised:
        fetch(mirror.url)
    assert "--root-checksum" in raised.value.__notes__[0]
    assert not mirror.asked
    assert not load_instances()


def test_what_was_fetched_is_recorded_and_used_without_asking(
    repository: Repository, mirror: Mirror, trusted_root: bytes
) -> None:
    done = fetch(mirror.url + "/", pin=repository.first_root)
    assert done.changed
    (record,) = load_instances()
    assert record == done.record
    assert (record.url, record.trusted_root_json) == (mirror.url, trusted_root)
    assert record.tuf_root_json == repository.first_root
    mirror.asked.clear()
    used = use_kept(record)
    assert used.checked == done.checked
    assert used.record.trusted_root_json == trusted_root
    assert not used.changed
    assert not mirror.asked


def test_a_refresh_asks_little_and_follows_new_keys_of_every_role(
    repository: Repository, mirror: Mirror, known: Followed, trusted_root: bytes
) -> None:
    mirror.asked.clear()
    assert not fetch(mirror.url).changed
    assert mirror.asked == ["2.root.json", "timestamp.json"]
    for roles in (("root",), ("timestamp", "snapshot"), ("targets",), ("root", "targets")):
        repository.rotate_root(*roles)
    repository.publish({"trusted_root.json": changed(trusted_root)})
    done = fetch(mirror.url)
    assert done.changed
    assert done.checked.versions.root == 5
    assert done.record.tuf_root_json == repository.first_root, "the pin stays"
    (record,) = load_instances()
    assert use_kept(record).record.trusted_root_json == changed(trusted_root)


def test_the_other_targets_are_kept_too(
    repository: Repository, mirror: Mirror, trusted_root: bytes
) -> None:
    name = "signing_config_rekor_v2.v0.2.json"
    repository.publish({"trusted_root.json": trusted_root, name: b"{}", "../../evil": b"x"})
    fetch(mirror.url, pin=repository.first_root)
    (record,) = load_instances()
    assert (record.target(name), record.target("other")) == (b"{}", None)


def test_without_a_trusted_root_there_is_nothing_to_trust(
    repository: Repository, mirror: Mirror
) -> None:
    repository.publish({"other.json": b"{}"})
    with pytest.raises(VerificationError, match=r"has no trusted_root\.json"):
        fetch(mirror.url, pin=repository.first_root)
    assert not load_instances()


def test_a_target_that_is_no_trusted_root_is_not_kept(
    repository: Repository, mirror: Mirror
) -> None:
    repository.publish({"trusted_root.json": b"{}"})
    with pytest.raises(FormatError):
        fetch(mirror.url, pin=repository.first_root)
    assert not load_instances()
    assert not Path(kept_path(mirror.url)).exists()


# The pin -----------------------------------------------------------------------------------


def test_another_root_than_the_pinned_one_is_asked_about(
    repository: Repository, mirror: Mirror, known: Followed
) -> None:
    other = Repository().first_root
    with pytest.raises(SettingsError, match="from another root"):
        fetch(mirror.url, pin=other)
    repository.rotate_root("root")
    later = repository.files["2.root.json"]
    done = fetch(mirror.url, pin=later, replace_pin=True)
    assert done.record.tuf_root_json == later
    assert fetch(mirror.url).checked.versions.root == 2


@pytest.mark.parametrize("pin", [b"", b"{}", b"garbage", b"\xff", b'{"signed": {}}'])
def test_a_pin_that_is_no_root(mirror: Mirror, pin: bytes) -> None:
    with pytest.raises((FormatError, SettingsError)):
        fetch(mirror.url, pin=pin)
    assert not mirror.asked


def test_a_pin_that_is_not_signed_as_it_demands(repository: Repository, mirror: Mirror) -> None:
    pin = sign(repository.root, repository.signers["root"][:1])
    with pytest.raises(VerificationError, match="1/2"):
        fetch(mirror.url, pin=pin)
    assert not mirror.asked


def test_a_root_by_its_checksum(repository: Repository, mirror: Mirror) -> None:
    import hashlib

    url = f"{mirror.url}/tuf/1.root.json"
    checksum = hashlib.sha256(repository.first_root).hexdigest()
    assert download_root(url, f"sha256:{checksum}") == repository.first_root
    assert download_root(url, checksum.upper()) == repository.first_root
    mirror.files["1.root.json"] = Repository().first_root
    with pytest.raises(VerificationError, match="checksum"):
        download_root(url, checksum)
    for bad in ("", "sha256:", "0" * 63, "g" * 64, "0" * 65):
        with pytest.raises(RequestRejected):
            download_root(url, bad)
    mirror.misbehaviours["1.root.json"] = endless
    with pytest.raises(FormatError, match="larger than"):
        download_root(url, checksum)


# Refreshing --------------------------------------------------------------------------------


def test_at_most_one_attempt_a_day_unless_asked(
    mirror: Mirror, known: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.asked.clear()
    (record,) = load_instances()
    assert refresh_if_due(record) == record
    assert not mirror.asked
    later = time.time() + 25 * 3600
    monkeypatch.setattr("time.time", lambda: later)
    mirror.files.pop("timestamp.json")
    assert refresh_if_due(record) == record, "a failure leaves what is known"
    assert mirror.asked
    mirror.asked.clear()
    (record,) = load_instances()
    refresh_if_due(record)
    assert not mirror.asked, "the failed attempt was the one of this day"


def test_what_another_process_just_did_is_not_done_again(
    mirror: Mirror, known: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both saw that a refresh was due, and one waited for the other."""
    state = known.record.tuf
    assert state is not None
    stale = known.record._replace(tuf=state._replace(attempted_at_s=0))
    mirror.asked.clear()
    assert refresh_if_due(stale) == known.record
    assert not mirror.asked


def test_what_a_killed_fetch_left_is_cleared_away(mirror: Mirror, known: Followed) -> None:
    folder = Path(kept_path(mirror.url)).parent
    name = Path(kept_path(mirror.url)).stem
    (folder / f"fetch-{name}-abc").mkdir()
    (folder / f"fetch-{name}-abc" / "timestamp.json").write_text("half")
    (folder / "fetch-of-another").mkdir()
    fetch(mirror.url)
    assert [path.name for path in folder.glob("fetch-*")] == ["fetch-of-another"]


def test_a_clock_that_was_put_back_does_not_stop_refreshing(known: Followed) -> None:
    assert known.record.tuf is not None
    state = known.record.tuf
    assert is_due(state, state.attempted_at_s - 1)
    assert not is_due(state, state.attempted_at_s)
    assert not is_due(state, state.attempted_at_s + 24 * 3600 - 1)
    assert is_due(state, state.attempted_at_s + 24 * 3600)


def test_a_copy_of_the_repository_serves_as_well(
    repository: Repository, tmp_path: Path, trusted_root: bytes
) -> None:
    folder = tmp_path / "copy"
    for name, data in repository.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    url = "https://sigstore.example.org"
    done = fetch(url, pin=repository.first_root, mirror=str(folder))
    assert done.record.trusted_root_json == trusted_root
    assert done.record.tuf is not None
    assert done.record.tuf.url == f"{url}/tuf"
    assert fetch(url, mirror=folder.as_uri()).checked == done.checked
    (folder / "timestamp.json").write_bytes(b"x" * 20_000)
    with pytest.raises(FormatError, match="larger than"):
        fetch(url, mirror=str(folder))
    with pytest.raises(RequestRejected, match="another machine"):
        fetch(url, mirror="file://server/share")


def test_another_mirror_of_the_repository_serves_as_well(repository: Repository) -> None:
    url = "https://sigstore.example.org"
    with mirror_of(repository.files) as mirror:
        done = fetch(url, pin=repository.first_root, mirror=f"{mirror.url}/tuf/")
    assert done.record.tuf is not None
    assert done.record.tuf.url == f"{url}/tuf", "for this time only"


def test_an_instance_of_this_machine_is_followed_and_stays_its_own(
    repository: Repository, mirror: Mirror, tmp_path: Path, trusted_root: bytes
) -> None:
    from countermark.client.instances import record_instance

    def come_up() -> None:
        record_instance(
            mirror.url,
            tmp_path,
            trusted_root_json=trusted_root,
            signing_config_json=b"{}",
            tuf_root_json=repository.first_root,
        )

    come_up()
    fetch(mirror.url)
    (record,) = load_instances()
    assert (record.data_dir, record.tuf is None) == (str(tmp_path), False)
    come_up()
    (again,) = load_instances()
    assert again.tuf == record.tuf


def test_recovery_from_versions_that_ran_away(
    repository: Repository, mirror: Mirror, known: Followed
) -> None:
    """A thief of the timestamp key signed version 2**31 - 1; a root with new keys ends that."""
    version = repository.timestamp.version
    repository.timestamp.version = 2**31 - 1
    repository.sign_timestamp()
    fetch(mirror.url)
    repository.timestamp.version = version
    repository.publish()
    with pytest.raises(VerificationError):
        fetch(mirror.url)
    repository.rotate_root("timestamp", "snapshot")
    repository.publish()
    done = fetch(mirror.url)
    assert done.checked.versions.timestamp < 100
    assert use_kept(load_instances()[0]).checked == done.checked


def test_a_registry_whose_state_is_damaged(known: Followed, home: Path) -> None:
    path = home / "instances.json"
    text = path.read_text()
    for damage in ('"versions": 7', '"versions": [1]', '"versions": ["1", 2, 3, 4]'):
        start = text.index('"versions"')
        path.write_text(text[:start] + damage + text[text.index("]", start) + 1 :])
        with pytest.raises(FormatError, match="damaged"):
            load_instances()


def test_forgotten_instances_are_found_no_more(known: Followed) -> None:
    update_instances(lambda records: [])
    assert find_record(known.record.url) is None


def test_a_first_fetch_that_fails_leaves_no_registry(
    repository: Repository, mirror: Mirror, home: Path
) -> None:
    mirror.files.pop("timestamp.json")
    with pytest.raises(UpstreamDown):
        fetch(mirror.url, pin=repository.first_root)
    assert not (home / "instances.json").exists()
    assert [path.suffix for path in (home / "tuf").iterdir()] == [".lock"]

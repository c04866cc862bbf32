# SPDX-License-Identifier: Apache-2.0
"""What is kept is checked each time, belongs to one user, and survives many processes."""

import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from countermark.client.instances import load_instances
from countermark.client.trust.chain import verify_kept
from countermark.client.trust.following import (
    Followed,
    fetch,
    use_kept,
)
from countermark.client.trust.kept import kept_path, read_kept
from countermark.core.errors import (
    FormatError,
    NotFound,
    RequestRejected,
    SettingsError,
    VerificationError,
)
from tests.support.tuf_mirror import (
    Mirror,
    Repository,
    changed,
    mirror_of,
    now,
)

# Keeping -----------------------------------------------------------------------------------


def test_expiry_is_told_offline_and_does_not_stop_it(
    repository: Repository, mirror: Mirror
) -> None:
    soon = now() + timedelta(seconds=30)
    repository.timestamp.expires = soon
    repository.publish()
    done = fetch(mirror.url, pin=repository.first_root)
    assert done.checked.expires == soon
    (record,) = load_instances()
    assert record.tuf is not None
    assert record.tuf.expires_at_s == soon.timestamp()
    assert use_kept(record).checked.expires == soon


def test_only_what_was_verified_is_used(mirror: Mirror, known: Followed) -> None:
    """TOB-SIGSTORE-10: a cached target is not believed for lying where targets lie."""
    path = Path(kept_path(mirror.url))
    original = path.read_text()
    (record,) = load_instances()
    damaged = original.replace("sigstore", "sigst0re", 1)
    assert damaged != original
    path.write_text(damaged)
    with pytest.raises(VerificationError):
        use_kept(record)
    path.write_text(original.replace("_type", "_tYpe", 1))
    with pytest.raises((VerificationError, FormatError)):
        use_kept(record)
    path.write_text("{")
    with pytest.raises(FormatError, match="damaged"):
        use_kept(record)
    path.unlink()
    with pytest.raises(NotFound):
        use_kept(record)
    path.write_text(original)
    assert use_kept(record).checked == known.checked


def test_a_damaged_file_is_got_again(mirror: Mirror, known: Followed) -> None:
    Path(kept_path(mirror.url)).write_text("{")
    assert fetch(mirror.url).checked == known.checked


def test_kept_files_that_others_could_have_written(
    mirror: Mirror, known: Followed, tmp_path: Path
) -> None:
    path = Path(kept_path(mirror.url))
    (record,) = load_instances()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o666)
    with pytest.raises(SettingsError, match="written by others"):
        use_kept(record)
    path.chmod(0o600)
    path.parent.chmod(0o777)
    with pytest.raises(SettingsError, match="written by others"):
        use_kept(record)
    with pytest.raises(SettingsError, match="written by others"):
        fetch(mirror.url)
    path.parent.chmod(0o700)
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(SettingsError, match="is a link"):
        use_kept(record)


def test_a_link_in_the_folder_is_never_written_through(
    mirror: Mirror, repository: Repository, home: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = Path(kept_path(mirror.url))
    path.parent.mkdir(parents=True, mode=0o700)
    path.symlink_to(victim)
    fetch(mirror.url, pin=repository.first_root)
    assert not path.is_symlink()
    (path.parent / f"{path.name}.lock").unlink()
    (path.parent / f"{path.name}.lock").symlink_to(victim)
    with pytest.raises(SettingsError, match="cannot be used"):
        fetch(mirror.url, pin=repository.first_root)
    assert victim.read_text() == "precious"


def test_a_folder_that_is_a_link(
    mirror: Mirror, repository: Repository, home: Path, tmp_path: Path
) -> None:
    home.mkdir(mode=0o700)
    (tmp_path / "other").mkdir()
    (home / "tuf").symlink_to(tmp_path / "other")
    with pytest.raises(SettingsError, match="no folder of its own"):
        fetch(mirror.url, pin=repository.first_root)
    assert not list((tmp_path / "other").iterdir())


@pytest.mark.parametrize(
    "url",
    [
        "https://a/../../../../etc/passwd",
        "https://" + "a" * 5000,
        "https://a/%2e%2e/\u202e",
        "..",
        "/",
    ],
)
def test_no_url_leads_out_of_the_folder(url: str, home: Path) -> None:
    path = Path(kept_path(url))
    assert path.parent == home / "tuf"
    assert len(path.name) < 100
    assert not path.name.startswith(".")


@pytest.mark.parametrize("url", ["", " ", "https://a b", "https://a\nb", "https://a\x1b[2J"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(RequestRejected, match="no address"):
        fetch(url, pin=b"{}")


def test_several_instances_side_by_side(
    repository: Repository, mirror: Mirror, known: Followed, trusted_root: bytes
) -> None:
    other = Repository()
    other.publish({"trusted_root.json": changed(trusted_root)})
    with mirror_of(other.files) as second:
        fetch(second.url, pin=other.first_root)
    roots = {record.url: use_kept(record).record.trusted_root_json for record in load_instances()}
    assert roots == {mirror.url: trusted_root, second.url: changed(trusted_root)}


def test_several_processes_at_once(
    repository: Repository, mirror: Mirror, known: Followed, trusted_root: bytes
) -> None:
    """Threads with locks of their own stand for processes; no state is ever mixed or lost."""
    errors: list[Exception] = []

    def work() -> None:
        try:
            fetch(mirror.url)
            use_kept(load_instances()[0])
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    repository.publish({"trusted_root.json": changed(trusted_root)})
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert use_kept(load_instances()[0]).record.trusted_root_json == changed(trusted_root)
    assert {path.suffix for path in Path(kept_path(mirror.url)).parent.iterdir()} == {
        ".json",
        ".lock",
    }


def test_kept_files_of_different_states_are_not_believed(
    repository: Repository, mirror: Mirror, known: Followed, trusted_root: bytes
) -> None:
    """Each is rightly signed: somebody put together what never was together."""
    pin = repository.first_root
    old = read_kept(mirror.url)
    repository.rotate_root("root")
    repository.publish({"trusted_root.json": changed(trusted_root)})
    seen = fetch(mirror.url).checked.versions
    new = read_kept(mirror.url)
    assert old is not None
    assert new is not None
    assert verify_kept(pin, new, seen).versions == seen
    for mixed, why in (
        (new._replace(timestamp=old.timestamp), "not the one that the timestamp names"),
        (new._replace(targets=old.targets), "not those that the snapshot names"),
        (new._replace(files=old.files), "does not hold"),
        (new._replace(files={"other.json": b"{}"}), "no target"),
        (new._replace(timestamp=new.snapshot), "holds snapshot metadata"),
        (new._replace(roots=()), "root 2 of the TUF repository was seen before"),
        (new._replace(roots=(*new.roots, *new.roots)), "cannot follow"),
        (old._replace(roots=new.roots), "went back"),
    ):
        with pytest.raises((VerificationError, FormatError), match=why):
            verify_kept(pin, mixed, seen)


def test_what_was_never_fetched_is_not_used(known: Followed) -> None:
    with pytest.raises(NotFound, match="never fetched"):
        use_kept(known.record._replace(tuf=None))
    path = Path(kept_path(known.record.url))
    path.write_text(path.read_text().replace('"version": 1', '"version": 2', 1))
    with pytest.raises(FormatError, match="newer version"):
        use_kept(known.record)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_not_believed(mirror: Mirror, known: Followed) -> None:
    os.chown(Path(kept_path(mirror.url)).parent, 65534, 65534)
    with pytest.raises(SettingsError, match="belongs to another user"):
        use_kept(known.record)

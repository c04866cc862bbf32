# SPDX-License-Identifier: Apache-2.0
"""Mirrors, and thieves of some keys, do their worst; what was known before stays as it was."""

import time
from datetime import timedelta
from pathlib import Path

import pytest

from countermark.client.instances import load_instances
from countermark.client.trust.chain import DISTRUST
from countermark.client.trust.following import (
    Followed,
    fetch,
    use_kept,
)
from countermark.client.trust.kept import kept_path
from countermark.core.distrust.document import DistrustList
from countermark.core.distrust.subject import SignerName
from countermark.core.errors import (
    CountermarkError,
    FormatError,
    SettingsError,
    UpstreamDown,
    VerificationError,
)
from tests.support.tuf_mirror import (
    Mirror,
    Repository,
    changed,
    dripping,
    dripping_headers,
    endless,
    hanging_up,
    mirror_of,
    now,
    redirecting,
    sign,
)

YESTERDAY = timedelta(days=-1)


# What a hostile mirror, or one with some of the keys, can try ------------------------------


def refused(mirror: Mirror, known: Followed, match: str) -> None:
    """The refresh fails, and what was known before is still there, whole."""
    with pytest.raises(CountermarkError, match=match) as raised:
        fetch(mirror.url)
    assert isinstance(raised.value, VerificationError), repr(raised.value)
    (record,) = load_instances()
    assert record._replace(tuf=None) == known.record._replace(tuf=None)
    assert use_kept(record).checked == known.checked


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_rollback(repository: Repository, mirror: Mirror, known: Followed, role: str) -> None:
    old = dict(repository.files)
    repository.publish()
    newest = fetch(mirror.url)
    if role == "timestamp":
        repository.files["timestamp.json"] = old["timestamp.json"]
    elif role == "snapshot":  # a new timestamp that names the old snapshot
        repository.timestamp.version += 1
        repository.timestamp.snapshot_meta.version -= 1
        repository.sign_timestamp()
    else:  # new timestamp and snapshot that name the old targets
        repository.snapshot.meta["targets.json"].version -= 1
        repository.snapshot.version += 1
        repository.sign_snapshot()
        repository.timestamp.version += 1
        repository.timestamp.snapshot_meta.version += 1
        repository.sign_timestamp()
    refused(mirror, newest, "version")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_rollback_after_the_kept_metadata_was_lost(
    repository: Repository, mirror: Mirror, known: Followed, role: str
) -> None:
    """The registry remembers the versions even if the folder is deleted or put back."""
    old = dict(repository.files)
    before = Path(kept_path(mirror.url)).read_bytes()
    repository.publish()
    fetch(mirror.url)
    repository.files.update(old)
    Path(kept_path(mirror.url)).unlink()
    with pytest.raises(VerificationError, match="went back"):
        fetch(mirror.url)
    Path(kept_path(mirror.url)).write_bytes(before)  # by an attacker: valid, but old
    (record,) = load_instances()
    with pytest.raises(VerificationError, match="went back"):
        use_kept(record)
    with pytest.raises(VerificationError, match="went back"):
        fetch(mirror.url)


def test_freeze(repository: Repository, mirror: Mirror, known: Followed) -> None:
    """An expired timestamp is not taken as the newest state."""
    repository.timestamp.expires = now() + YESTERDAY
    repository.publish()
    refused(mirror, known, "timestamp.json is expired")


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_other_expired_metadata(
    repository: Repository, mirror: Mirror, known: Followed, role: str
) -> None:
    getattr(repository, role).expires = now() + YESTERDAY
    repository.publish()
    refused(mirror, known, f"{role}.*expired")


def test_expired_root(repository: Repository, mirror: Mirror, known: Followed) -> None:
    repository.root.expires = now() + YESTERDAY
    repository.rotate_root()
    repository.publish()
    refused(mirror, known, r"root\.json is expired")


def test_expired_roots_on_the_way_are_fine(
    repository: Repository, mirror: Mirror, known: Followed
) -> None:
    repository.root.expires = now() + YESTERDAY
    repository.rotate_root("root")
    repository.root.expires = now() - YESTERDAY
    repository.rotate_root("root")
    assert fetch(mirror.url).checked.versions.root == 3


def test_mix_and_match(repository: Repository, mirror: Mirror, known: Followed) -> None:
    """Files of different states, each rightly signed, served under each other's names."""
    repository.publish()
    version = repository.snapshot.version
    repository.files[f"{version}.snapshot.json"] = repository.files[f"{version - 1}.snapshot.json"]
    refused(mirror, known, "Expected snapshot version")
    repository.sign_snapshot()
    version = repository.targets.version
    repository.files[f"{version}.targets.json"] = repository.files[f"{version - 1}.targets.json"]
    refused(mirror, known, "Expected targets")


def test_too_few_signatures(repository: Repository, mirror: Mirror, known: Followed) -> None:
    repository.root.version += 1
    for signers in ([], repository.signers["root"][:1], repository.signers["root"][:1] * 2):
        repository.publish_root(signers=signers)
        refused(mirror, known, "root was signed by [01]/2 keys")


def test_a_threshold_that_somebody_lowered(
    repository: Repository, mirror: Mirror, known: Followed
) -> None:
    """Its own threshold of one is not enough: the old root asks for two."""
    repository.root.version += 1
    repository.root.roles["root"].threshold = 1
    repository.publish_root(signers=repository.signers["root"][:1])
    refused(mirror, known, "root was signed by 1/2 keys")


@pytest.mark.parametrize("signed_by", ["old keys", "new keys"])
def test_a_root_signed_by_one_side_only(
    repository: Repository, mirror: Mirror, known: Followed, signed_by: str
) -> None:
    old = list(repository.signers["root"])
    repository.root.version += 1
    repository.use_keys("root", 2)
    repository.publish_root(signers=old if signed_by == "old keys" else None)
    refused(mirror, known, "root was signed by 0/2 keys")


def test_a_root_that_skips_a_version(
    repository: Repository, mirror: Mirror, known: Followed
) -> None:
    repository.root.version = 3
    repository.files["2.root.json"] = repository.publish_root()
    refused(mirror, known, "Expected root version 2")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_role_signed_by_a_stranger(
    repository: Repository, mirror: Mirror, known: Followed, role: str
) -> None:
    strangers = Repository().signers
    repository.signers[role] = strangers[role]
    repository.publish()
    refused(mirror, known, f"{role} was signed by 0/1 keys")


def test_another_repository_altogether(mirror: Mirror, known: Followed) -> None:
    mirror.files.update(Repository().files)
    with pytest.raises(CountermarkError):
        fetch(mirror.url)
    assert use_kept(load_instances()[0]).checked == known.checked


def test_a_target_that_was_changed(
    repository: Repository, mirror: Mirror, known: Followed, trusted_root: bytes
) -> None:
    repository.publish({"trusted_root.json": changed(trusted_root)})
    (path,) = repository.targets.targets["trusted_root.json"].get_prefixed_paths()
    repository.files[f"targets/{path}"] = trusted_root + b" "
    refused(mirror, known, "does not match expected hash")


def test_what_was_distrusted_is_not_forgotten(repository: Repository, mirror: Mirror) -> None:
    def publish(data: bytes) -> None:
        repository.publish({**repository.contents, DISTRUST: data})

    first = DistrustList.empty(mirror.url, now())
    listed = first.with_entry(SignerName("eve@example.org", ""), "stolen", "ada", now())
    publish(listed.serialize())
    known = fetch(mirror.url, pin=repository.first_root)
    assert known.record.target(DISTRUST) == listed.serialize()
    publish(first.serialize())
    refused(mirror, known, "no successor")
    other = first.with_entry(SignerName("bob@example.org", ""), "stolen", "ada", now())
    publish(other._replace(version=9).serialize())
    refused(mirror, known, "is not what it was")
    del repository.targets.targets[DISTRUST]
    repository.publish()
    refused(mirror, known, "no more")
    lifted = listed.with_lifted(1, "found again", "ada", now())
    publish(lifted.serialize())
    assert fetch(mirror.url).record.target(DISTRUST) == lifted.serialize()


def test_a_target_that_is_said_to_be_giant(
    repository: Repository, mirror: Mirror, known: Followed, trusted_root: bytes
) -> None:
    repository.publish({"trusted_root.json": changed(trusted_root)})
    repository.targets.targets["trusted_root.json"].length = 2**40
    repository.sign_targets()
    with pytest.raises(FormatError, match="larger than"):
        fetch(mirror.url)
    assert use_kept(load_instances()[0]).checked == known.checked


NAMES = ["2.root.json", "timestamp.json", "3.snapshot.json", "3.targets.json", "targets/"]


@pytest.mark.parametrize("name", NAMES)
def test_endless_data(
    repository: Repository, mirror: Mirror, known: Followed, trusted_root: bytes, name: str
) -> None:
    assert (repository.snapshot.version, repository.targets.version) == (3, 3)
    repository.publish({"trusted_root.json": changed(trusted_root)})
    name = name.replace("3.", "4.")
    if name == "targets/":
        (path,) = repository.targets.targets["trusted_root.json"].get_prefixed_paths()
        name += path
    mirror.misbehaviours[name] = endless
    with pytest.raises(FormatError, match="larger than"):
        fetch(mirror.url)
    assert use_kept(load_instances()[0]).checked == known.checked


@pytest.mark.parametrize("how", [dripping, dripping_headers])
def test_slow_data(mirror: Mirror, known: Followed, how: object) -> None:
    """Each byte comes soon, all of them never."""
    mirror.misbehaviours["timestamp.json"] = dripping if how is dripping else dripping_headers
    begin = time.monotonic()
    with pytest.raises(UpstreamDown, match="too slow"):
        fetch(mirror.url, total_s=0.6)
    assert time.monotonic() - begin < 5
    assert use_kept(load_instances()[0]).checked == known.checked


def test_a_mirror_that_breaks_off_or_is_gone(mirror: Mirror, known: Followed) -> None:
    mirror.misbehaviours["timestamp.json"] = hanging_up
    with pytest.raises(CountermarkError):
        fetch(mirror.url)
    mirror.misbehaviours.clear()
    mirror.files.clear()
    with pytest.raises(UpstreamDown, match="404"):
        fetch(mirror.url)
    assert use_kept(load_instances()[0]).checked == known.checked


def test_redirects_are_not_followed(mirror: Mirror, known: Followed) -> None:
    with mirror_of(dict(mirror.files)) as other:
        mirror.misbehaviours["timestamp.json"] = redirecting(f"{other.url}/tuf/timestamp.json")
        with pytest.raises(UpstreamDown, match="302"):
            fetch(mirror.url)
        assert not other.asked


def test_plain_http_is_for_this_machine() -> None:
    with pytest.raises(SettingsError, match="neither https nor on this machine"):
        fetch("http://tuf.example.org", pin=Repository().first_root)


@pytest.mark.parametrize(
    "evil", ["../../../../etc/passwd", "..", "a/b/../..", "%2e%2e/x", "\\..\\x"]
)
def test_a_hash_that_is_a_path(
    repository: Repository, mirror: Mirror, known: Followed, evil: str, tmp_path: Path
) -> None:
    """Where a target is asked for is made of its hash: in a copied repository, a path."""
    repository.publish({"trusted_root.json": b"{}"})
    repository.targets.targets["trusted_root.json"].hashes = {"sha256": evil}
    repository.sign_targets()
    folder = tmp_path / "copy"
    for name, data in repository.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd.trusted_root.json").write_bytes(b"{}")
    for where in ("", str(folder)):
        with pytest.raises(CountermarkError):
            fetch(mirror.url, mirror=where)
    assert use_kept(load_instances()[0]).checked == known.checked


def test_delegations_do_not_speak_for_the_repository(
    repository: Repository, mirror: Mirror, known: Followed
) -> None:
    """A role that was given all names may not slip in a target that the top role lacks."""
    from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]
    from tuf.api.metadata import (  # type: ignore[attr-defined]
        DelegatedRole,
        Delegations,
        MetaFile,
        TargetFile,
        Targets,
    )

    signer = CryptoSigner.generate_ed25519()
    key = signer.public_key
    role = DelegatedRole("../../evil", [key.keyid], 1, terminating=False, paths=["*"])
    repository.targets.delegations = Delegations({key.keyid: key}, {role.name: role})
    data = b"{}"
    delegated = Targets(version=1, expires=repository.targets.expires)
    delegated.targets["distrust.json"] = TargetFile.from_data("distrust.json", data, ["sha256"])
    repository.files["1...%2F..%2Fevil.json"] = sign(delegated, [signer])
    repository.snapshot.meta["../../evil.json"] = MetaFile(1)
    (path,) = delegated.targets["distrust.json"].get_prefixed_paths()
    repository.files[f"targets/{path}"] = data
    repository.publish()
    refused(mirror, known, "no target of the repository")

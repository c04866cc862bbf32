# SPDX-License-Identifier: Apache-2.0
"""Root ceremonies: m of n holders, what is refused on the way, what clients make of the result."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, TargetFile, Targets  # type: ignore[attr-defined]

from countermark.core.errors import (
    AlgorithmRefused,
    FormatError,
    InvariantBroken,
    RequestRejected,
    SettingsError,
    Unavailable,
)
from countermark.drivers.keys.file import ED25519, P256, P384, RSA_2048, FileSigner, create_key
from countermark.drivers.memory import MemoryObjectStore
from countermark.trust.api import routes
from countermark.trust.ceremony import Ceremony, changes
from countermark.trust.repository import TufRepository, next_targets_version
from countermark.trust.root_keys import PortSigner, tuf_key
from countermark.trust.roots import RoleKeys, next_root, parse_root, role_keys
from tests.support.http_server import serving
from tests.support.tuf import (
    START,
    TARGETS,
    MadeRepository,
    fetch_targets,
    make_repository,
    ngclient,
)

YEAR = timedelta(days=365)


@pytest.fixture
def made(tmp_path: Path) -> MadeRepository:
    return make_repository(tmp_path / "made")


@pytest.fixture
def url(made: MadeRepository) -> Iterator[str]:
    with serving(routes(made.objects, MemoryObjectStore())) as url:
        yield url


@pytest.fixture
def holders(tmp_path: Path) -> dict[str, FileSigner]:
    kinds = {"ada": ED25519, "bob": P256, "eve": P384}
    return {name: create_key(tmp_path / name, kind, b"secret") for name, kind in kinds.items()}


def keys_of(holders: dict[str, FileSigner]) -> tuple[Any, ...]:
    return tuple(tuf_key(signer.public_key.spki, name) for name, signer in holders.items())


def begun(
    made: MadeRepository,
    root: RoleKeys,
    *,
    targets: RoleKeys | None = None,
    online: FileSigner | None = None,
    files: dict[str, bytes] | None = None,
) -> Ceremony:
    """A ceremony whose next root has these keys."""
    repository = TufRepository.open(made.objects, made.online)
    key = tuf_key((online or made.online).public_key.spki)
    next_ = next_root(
        repository.root,
        root=root,
        targets=targets or RoleKeys((key,), 1),
        online=[key],
        now=START,
        lifetime=YEAR,
    )
    listed = None
    if files is not None:
        listed = Targets(
            version=next_targets_version(made.objects),
            expires=START + YEAR,
            targets={n: TargetFile.from_data(n, d, ["sha256"]) for n, d in files.items()},
        )
    return Ceremony.parse(
        Ceremony(
            "http://localhost:7446",
            repository.root_data,
            Metadata(next_).to_bytes(),
            None if listed is None else Metadata(listed).to_bytes(),
            files or {},
        ).serialize()
    )


def carried(ceremony: Ceremony) -> Ceremony:
    """As the next holder reads it."""
    return Ceremony.parse(ceremony.serialize())


def signed(ceremony: Ceremony, *signers: FileSigner) -> Ceremony:
    for signer in signers:
        ceremony = carried(ceremony.signed_by(PortSigner(signer)))
    return ceremony


def published(made: MadeRepository, ceremony: Ceremony) -> TufRepository:
    repository = TufRepository.open(made.objects, made.online)
    ceremony.check_complete(repository.root_data)
    repository.publish_signed(
        ceremony.root or b"", ceremony.targets or b"", dict(ceremony.files), START
    )
    return TufRepository.open(made.objects, made.online)


def test_two_of_three_holders_take_over_and_clients_follow(
    made: MadeRepository, url: str, holders: dict[str, FileSigner], tmp_path: Path
) -> None:
    first = made.objects.fetch("1.root.json")
    client = tmp_path / "client"
    assert fetch_targets(ngclient(client, url, first)) == TARGETS

    ceremony = begun(made, RoleKeys(keys_of(holders), 2))
    assert [party.needed for party in ceremony.wanted()] == [1, 2]
    assert changes(ceremony)[-1] == "root: 2 must sign instead of 1"
    assert changes(ceremony)[0].startswith("root: ada (")
    ceremony = signed(ceremony, holders["ada"], made.root_key)
    assert [party.needed for party in ceremony.wanted()] == [0, 1]
    assert not ceremony.complete
    ceremony = signed(ceremony, holders["eve"])
    assert ceremony.complete
    repository = published(made, ceremony)
    assert repository.root.version == 2

    # The old key alone has no say any more; two holders go on without it.
    with pytest.raises(RequestRejected, match="no say"):
        signed(begun(made, RoleKeys(keys_of(holders), 3)), made.root_key)
    third = signed(begun(made, RoleKeys(keys_of(holders), 3)), *holders.values())
    assert published(made, third).root.version == 3
    for folder, root in ((client, None), (tmp_path / "new", first)):
        assert fetch_targets(ngclient(folder, url, root)) == TARGETS
    repository = TufRepository.open(made.objects, made.online)
    repository.refresh(START + timedelta(hours=1))
    assert fetch_targets(ngclient(client, url, None)) == TARGETS


def test_nothing_is_published_before_enough_have_signed(
    made: MadeRepository, holders: dict[str, FileSigner]
) -> None:
    ceremony = begun(made, RoleKeys(keys_of(holders), 2))
    for so_far in (
        ceremony,
        signed(ceremony, made.root_key),
        signed(ceremony, made.root_key, holders["ada"]),
        signed(ceremony, holders["ada"], holders["bob"], holders["eve"]),
    ):
        with pytest.raises(RequestRejected, match="must sign"):
            published(made, so_far)
        repository = TufRepository.open(made.objects, made.online)
        with pytest.raises(RequestRejected, match="lacks signatures"):
            repository.publish_signed(so_far.root or b"", b"", {}, START)
    assert TufRepository.open(made.objects, made.online).root.version == 1


def test_a_holder_counts_once(made: MadeRepository, holders: dict[str, FileSigner]) -> None:
    ceremony = signed(begun(made, RoleKeys(keys_of(holders), 2)), holders["ada"])
    with pytest.raises(RequestRejected, match="signed already, and counts once"):
        signed(ceremony, holders["ada"])
    tree = json.loads(ceremony.serialize())
    tree["next"]["signatures"] *= 2
    with pytest.raises(FormatError, match="next cannot be read"):
        Ceremony.parse(json.dumps(tree).encode())


def test_one_key_under_two_ids_is_refused(
    made: MadeRepository, holders: dict[str, FileSigner]
) -> None:
    ceremony = begun(made, RoleKeys(keys_of(holders), 2))
    tree = json.loads(ceremony.serialize())
    signed_part = tree["next"]["signed"]
    (ada,) = (k for k, v in signed_part["keys"].items() if v.get("x-countermark-holder") == "ada")
    signed_part["keys"]["f" * 64] = signed_part["keys"][ada]
    signed_part["roles"]["root"]["keyids"].append("f" * 64)
    with pytest.raises(FormatError, match="one key under two ids"):
        Ceremony.parse(json.dumps(tree).encode())
    # Nor as another spelling of the same ECDSA key.
    tree = json.loads(ceremony.serialize())
    signed_part = tree["next"]["signed"]
    (bob,) = (k for k, v in signed_part["keys"].items() if v.get("x-countermark-holder") == "bob")
    twin = json.loads(json.dumps(signed_part["keys"][bob]))
    twin["keyval"]["public"] = twin["keyval"]["public"].replace("\n", "\r\n") + "\n"
    signed_part["keys"]["e" * 64] = twin
    signed_part["roles"]["root"]["keyids"].append("e" * 64)
    with pytest.raises(FormatError, match="one key under two ids"):
        Ceremony.parse(json.dumps(tree).encode())


def lower_threshold(tree: dict[str, Any]) -> None:
    tree["next"]["signed"]["roles"]["root"]["threshold"] = 1


def live_longer(tree: dict[str, Any]) -> None:
    tree["next"]["signed"]["expires"] = "2099-01-01T00:00:00Z"


def other_online_key(tree: dict[str, Any]) -> None:
    roles = tree["next"]["signed"]["roles"]
    roles["timestamp"]["keyids"] = roles["root"]["keyids"][:1]


@pytest.mark.parametrize("tamper", [lower_threshold, live_longer, other_online_key])
def test_what_was_changed_between_holders_is_refused(
    made: MadeRepository,
    holders: dict[str, FileSigner],
    tamper: Callable[[dict[str, Any]], None],
) -> None:
    ceremony = signed(begun(made, RoleKeys(keys_of(holders), 2)), holders["ada"])
    tree = json.loads(ceremony.serialize())
    tamper(tree)
    with pytest.raises(FormatError, match=r"ada \(.* did not sign what it holds"):
        Ceremony.parse(json.dumps(tree).encode())


def test_another_previous_root_is_refused_at_the_end(
    made: MadeRepository, holders: dict[str, FileSigner], tmp_path: Path
) -> None:
    stranger = make_repository(tmp_path / "stranger")
    ceremony = begun(stranger, RoleKeys(keys_of(holders), 1))
    ceremony = signed(ceremony, stranger.root_key, holders["ada"])
    with pytest.raises(RequestRejected, match="another one of that number"):
        published(made, ceremony)
    ours = signed(begun(made, RoleKeys(keys_of(holders), 1)), made.root_key, holders["ada"])
    assert published(made, ours).root.version == 2
    with pytest.raises(RequestRejected, match="follows root 1, but the repository has root 2"):
        published(made, ours)
    repository = TufRepository.open(made.objects, made.online)
    repository.publish_signed(ours.root or b"", b"", {}, START)  # the same again is no harm
    assert repository.root.version == 2


def test_copies_signed_side_by_side_count_together(
    made: MadeRepository, holders: dict[str, FileSigner]
) -> None:
    ceremony = begun(made, RoleKeys(keys_of(holders), 2))
    one, other = signed(ceremony, made.root_key), signed(ceremony, holders["bob"], holders["eve"])
    assert [one.complete, other.complete] == [False, False]
    merged = carried(one.merged(other))
    assert merged.complete
    assert published(made, merged).root.version == 2
    different = begun(made, RoleKeys(keys_of(holders), 3))
    with pytest.raises(RequestRejected, match="different ceremonies"):
        one.merged(different)


def test_a_root_that_would_stop_the_instance_is_refused(
    made: MadeRepository, holders: dict[str, FileSigner], tmp_path: Path
) -> None:
    other = create_key(tmp_path / "other-online.pem", ED25519, b"secret")
    ceremony = begun(made, RoleKeys(keys_of(holders), 1), online=other)
    ceremony = signed(ceremony, made.root_key, holders["ada"])
    with pytest.raises(RequestRejected, match="does not name the online key"):
        published(made, ceremony)


@pytest.mark.parametrize(("count", "threshold"), [(3, 4), (3, 0), (0, 1)])
def test_roles_that_nobody_could_sign_for_are_refused(
    made: MadeRepository, holders: dict[str, FileSigner], count: int, threshold: int
) -> None:
    with pytest.raises(RequestRejected, match="can never sign together"):
        begun(made, RoleKeys(keys_of(holders)[:count], threshold))


def test_rsa_keys_are_refused(tmp_path: Path) -> None:
    rsa = create_key(tmp_path / "rsa", RSA_2048, b"secret")
    with pytest.raises(AlgorithmRefused):
        tuf_key(rsa.public_key.spki)


def test_targets_go_offline_and_come_back(
    made: MadeRepository, url: str, holders: dict[str, FileSigner], tmp_path: Path
) -> None:
    first = made.objects.fetch("1.root.json")
    client = tmp_path / "client"
    fetch_targets(ngclient(client, url, first))
    root = role_keys(TufRepository.open(made.objects, made.online).root, "root")
    offline = RoleKeys(keys_of(holders), 2)
    newer = TARGETS | {"trusted_root.json": b'{"mediaType": "newer root"}\n'}

    ceremony = begun(made, root, targets=offline, files=newer)
    assert [party.what for party in ceremony.wanted()] == ["root", "root", "targets"]
    ceremony = signed(ceremony, made.root_key, holders["ada"])
    assert not ceremony.complete
    ceremony = signed(ceremony, holders["bob"])
    repository = published(made, ceremony)
    for folder, known in ((client, None), (tmp_path / "new", first)):
        assert fetch_targets(ngclient(folder, url, known)) == newer
    with pytest.raises(SettingsError, match="signed offline"):
        repository.publish(TARGETS, START)
    # Time goes by: timestamp and snapshot are signed online, the targets stay as they are.
    repository.refresh(START + timedelta(days=200))
    assert repository.targets.version == 2
    assert fetch_targets(ngclient(client, url, None)) == newer

    back = signed(begun(made, root), made.root_key)
    repository = published(made, back)
    repository.publish(TARGETS, START)
    assert fetch_targets(ngclient(client, url, None)) == TARGETS


def test_a_crash_between_root_and_timestamp_is_made_up_for(
    made: MadeRepository,
    url: str,
    holders: dict[str, FileSigner],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = made.objects.fetch("1.root.json")
    root = role_keys(TufRepository.open(made.objects, made.online).root, "root")
    ceremony = begun(made, root, targets=RoleKeys(keys_of(holders), 1), files=TARGETS)
    ceremony = signed(ceremony, made.root_key, holders["ada"])
    repository = TufRepository.open(made.objects, made.online)

    def full(self: object, path: str, data: bytes) -> None:
        raise Unavailable("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(made.objects), "replace", full)
        with pytest.raises(Unavailable):
            repository.publish_signed(
                ceremony.root or b"", ceremony.targets or b"", dict(ceremony.files), START
            )
    with pytest.raises(RepositoryError):
        fetch_targets(ngclient(tmp_path / "early", url, first))
    repository = TufRepository.open(made.objects, made.online)
    assert repository.due(START)
    repository.refresh(START)
    assert fetch_targets(ngclient(tmp_path / "late", url, first)) == TARGETS


def test_targets_that_are_older_or_others_are_refused(
    made: MadeRepository, holders: dict[str, FileSigner]
) -> None:
    root = role_keys(TufRepository.open(made.objects, made.online).root, "root")
    offline = RoleKeys(keys_of(holders), 1)
    ceremony = begun(made, root, targets=offline, files=TARGETS)
    ceremony = signed(ceremony, made.root_key, holders["ada"])
    repository = TufRepository.open(made.objects, made.online)
    other = dict(ceremony.files) | {"trusted_root.json": b"other"}
    with pytest.raises(RequestRejected, match="do not hold"):
        repository.publish_signed(ceremony.root or b"", ceremony.targets or b"", other, START)
    tree = json.loads(ceremony.serialize())
    tree["files"]["trusted_root.json"] = "b3RoZXI="
    with pytest.raises(FormatError, match="brings another trusted_root"):
        Ceremony.parse(json.dumps(tree).encode())
    del tree["files"]["trusted_root.json"]
    with pytest.raises(FormatError, match="does not bring the files"):
        Ceremony.parse(json.dumps(tree).encode())


def test_a_damaged_newest_root_is_noticed(made: MadeRepository) -> None:
    made.objects.put_all([("2.root.json", made.objects.fetch("1.root.json").replace(b"1", b"2"))])
    with pytest.raises(InvariantBroken):
        TufRepository.open(made.objects, made.online)


def test_what_expired_on_its_way_is_refused(
    made: MadeRepository, holders: dict[str, FileSigner]
) -> None:
    root = role_keys(TufRepository.open(made.objects, made.online).root, "root")
    offline = RoleKeys(keys_of(holders), 1)
    ceremony = begun(made, root, targets=offline, files=TARGETS)
    ceremony = signed(ceremony, made.root_key, holders["ada"])
    repository = TufRepository.open(made.objects, made.online)
    for late in (START + YEAR, START + 2 * YEAR):
        with pytest.raises(RequestRejected, match="good until"):
            repository.publish_signed(
                ceremony.root or b"", ceremony.targets or b"", dict(ceremony.files), late
            )
    assert TufRepository.open(made.objects, made.online).root.version == 1


def test_a_key_id_cannot_speak_to_a_terminal(made: MadeRepository) -> None:
    tree = json.loads(made.objects.fetch("1.root.json"))
    (keyid, *_) = tree["signed"]["roles"]["root"]["keyids"]
    text = json.dumps(tree).replace(keyid, "\\u001b[2Jtrust me")
    with pytest.raises(FormatError, match="key id"):
        parse_root(text.encode())


def test_what_a_ceremony_of_nothing_says(made: MadeRepository) -> None:
    root_data = made.objects.fetch("1.root.json")
    with pytest.raises(FormatError, match="nothing to sign"):
        carried(Ceremony("", root_data, None, None, {}))
    with pytest.raises(FormatError, match="from root 1 to 1"):
        carried(Ceremony("", root_data, root_data, None, {}))
    renewed = begun(made, role_keys(parse_root(root_data).signed, "root"))
    tree = json.loads(renewed.serialize())
    tree["next"]["signatures"] = [{"keyid": "0" * 64, "sig": "00"}]
    with pytest.raises(FormatError, match="stranger"):
        Ceremony.parse(json.dumps(tree).encode())

# SPDX-License-Identifier: Apache-2.0
"""Other clients are set up and set back: byte for byte, and never what is another's."""

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from countermark.client.instances import home_dir
from countermark.client.trust.installed import load_installed
from countermark.client.trust.installing import install, uninstall
from countermark.client.trust.peers import (
    CLIENTS,
    Anchor,
    Plan,
    Surroundings,
    check_url,
    cosign_name,
    git_config_path,
    js_folder,
    plan_for,
)
from countermark.client.trust.sources import Source, named_source
from countermark.core.errors import FormatError, NotFound, RequestRejected, SettingsError

URL = "https://sigstore.example.org"
ANCHOR = Anchor(3, b'{"signed": "root 3"}')
WRITTEN = ("cosign", "python", "js", "go", "gitsign")


@pytest.fixture
def person(tmp_path: Path) -> Path:
    home = tmp_path / "person"
    (home / ".config").mkdir(parents=True)
    (home / ".config" / "other").write_text("kept")
    return home


@pytest.fixture
def at(person: Path) -> Surroundings:
    return Surroundings(str(person), {}, os.path.join(home_dir(), "peers"), "linux")


@pytest.fixture
def source() -> Source:
    return named_source("public")._replace(name=URL, tuf_url=f"{URL}/tuf")


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below, with modes and contents, links as links."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            content = os.fsencode(os.readlink(path))
        else:
            content = path.read_bytes() if stat.S_ISREG(mode) else b""
        found[str(path.relative_to(folder))] = (mode, content)
    return found


@pytest.mark.parametrize("client", WRITTEN)
def test_everything_is_as_before(
    client: str, source: Source, at: Surroundings, tmp_path: Path
) -> None:
    before = snapshot(tmp_path)
    install(client, URL, plan_for(client, source, ANCHOR, at))
    assert snapshot(tmp_path).items() > before.items()
    for item in load_installed()[0].done:
        if item.kind == "file":
            assert hashlib.sha256(Path(item.path).read_bytes()).hexdigest() == item.made
            assert Path(item.path).stat().st_mode & 0o777 == 0o600
    assert uninstall(client)[1] == []
    shutil.rmtree(home_dir())  # the lock
    assert snapshot(tmp_path) == before


def test_cosign_is_left_as_cosign_initialize_leaves_it(
    source: Source, at: Surroundings, person: Path
) -> None:
    install("cosign", URL, plan_for("cosign", source, ANCHOR, at))
    root = person / ".sigstore/root"
    assert json.loads((root / "remote.json").read_text()) == {"mirror": f"{URL}/tuf"}
    assert (root / "sigstore.example.org-tuf/root.json").read_bytes() == ANCHOR.data
    moved = at._replace(environ={"TUF_ROOT": str(person / "elsewhere")})
    uninstall("cosign")
    install("cosign", URL, plan_for("cosign", source, ANCHOR, moved))
    assert (person / "elsewhere/remote.json").exists()


def test_what_the_client_keeps_in_its_new_folder_goes_with_it(
    source: Source, at: Surroundings, person: Path, tmp_path: Path
) -> None:
    before = snapshot(person)
    install("cosign", URL, plan_for("cosign", source, ANCHOR, at))
    mirror = person / ".sigstore/root/sigstore.example.org-tuf"
    (mirror / "targets").mkdir()
    for name in ("timestamp.json", "snapshot.json", "targets.json", "targets/trusted_root.json"):
        (mirror / name).write_text("{}")
    (mirror / "root.json").write_text("a newer root")
    (mirror.parent / "sigstore.example.org-tuf.json").write_text("{}")
    assert uninstall("cosign")[1] == []
    assert snapshot(person) == before


def test_what_somebody_else_put_there_stays_and_is_named(
    source: Source, at: Surroundings, person: Path, tmp_path: Path
) -> None:
    install("cosign", URL, plan_for("cosign", source, ANCHOR, at))
    root = person / ".sigstore/root"
    mirror = root / "sigstore.example.org-tuf"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "targets.json").write_text("mine")
    (mirror / "notes.txt").write_text("mine")
    (mirror / "targets").symlink_to(precious)
    (root / "remote.json").write_text('{"mirror":"https://other.example"}')
    _, left = uninstall("cosign")
    assert set(left) == {str(root / "remote.json"), *map(str, (mirror, root, root.parent))}
    assert (mirror / "notes.txt").read_text() == "mine"
    assert (precious / "targets.json").read_text() == "mine"
    assert not (mirror / "targets").exists()
    assert not (mirror / "root.json").exists()


def test_a_client_that_is_set_up_otherwise_is_asked_about_and_put_back(
    source: Source, at: Surroundings, person: Path
) -> None:
    root = person / ".sigstore/root"
    (root / "other.example").mkdir(parents=True)
    (root / "other.example/timestamp.json").write_text("theirs")
    (root / "remote.json").write_text('{"mirror":"https://other.example"}')
    (root / "remote.json").chmod(0o640)
    before = snapshot(person)
    plan = plan_for("cosign", source, ANCHOR, at)
    with pytest.raises(RequestRejected, match="says something else"):
        install("cosign", URL, plan)
    assert snapshot(person) == before
    install("cosign", URL, plan, replace=True)
    assert json.loads((root / "remote.json").read_text()) == {"mirror": f"{URL}/tuf"}
    assert uninstall("cosign")[1] == []
    assert snapshot(person) == before


def test_a_folder_that_the_client_had_already_stays_the_client_s(
    source: Source, at: Surroundings, person: Path
) -> None:
    mirror = person / ".sigstore/root/sigstore.example.org-tuf"
    mirror.mkdir(parents=True)
    for name in ("root.json", "timestamp.json"):
        (mirror / name).write_bytes(ANCHOR.data)
    (mirror / "root.json").chmod(0o644)
    (mirror.parent / "sigstore.example.org-tuf.json").write_text("theirs")
    before = snapshot(person)
    install("cosign", URL, plan_for("cosign", source, ANCHOR, at))
    uninstall("cosign")
    assert snapshot(person) == before


@pytest.mark.parametrize("changed", [False, True])
def test_a_link_goes_unless_it_leads_elsewhere_by_now(
    source: Source, at: Surroundings, person: Path, changed: bool
) -> None:
    plan = plan_for("python", source, ANCHOR, at)
    link = next(Path(step.path) for step in plan.steps if step.path.endswith("/root.json"))
    link.parent.mkdir(parents=True)
    before = snapshot(person)
    install("python", URL, plan)
    if changed:
        link.unlink()
        link.symlink_to("elsewhere")
    left = uninstall("python")[1]
    assert left == ([str(link)] if changed else [])
    if changed:
        link.unlink()
    assert snapshot(person) == before
    link.symlink_to("theirs")
    with pytest.raises(RequestRejected, match="says something else"):
        install("python", URL, plan, replace=True)


def test_one_client_is_set_up_for_one_instance_at_a_time(source: Source, at: Surroundings) -> None:
    plan = plan_for("cosign", source, ANCHOR, at)
    install("cosign", URL, plan)
    with pytest.raises(RequestRejected, match="already"):
        install("cosign", URL, plan)
    other = source._replace(name="https://b.example", tuf_url="https://b.example/tuf")
    with pytest.raises(RequestRejected, match="already"):
        install("cosign", other.name, plan_for("cosign", other, ANCHOR, at), replace=True)
    install("python", URL, plan_for("python", source, ANCHOR, at))
    install("python", other.name, plan_for("python", other, ANCHOR, at))
    with pytest.raises(RequestRejected, match="several instances"):
        uninstall("python")
    uninstall("python", other.name)
    uninstall("python")
    with pytest.raises(NotFound, match="nothing was set up"):
        uninstall("python")
    assert [item.client for item in load_installed()] == ["cosign"]


@pytest.mark.parametrize("before", [None, b"", b"[user]\n\tname = Ada\n", b"[user]\n\tname = Ada"])
def test_a_git_configuration_gets_lines_and_loses_them(
    source: Source, at: Surroundings, person: Path, before: bytes | None
) -> None:
    path = person / ".gitconfig"
    if before is not None:
        path.write_bytes(before)
        path.chmod(0o640)
    plan = plan_for("gitsign", source, None, at)
    install("gitsign", URL, plan)
    text = path.read_text()
    assert text.startswith((before or b"").decode())
    assert '\tfulcio = "https://fulcio.sigstore.dev"' in text
    if before is not None:
        assert "Ada" not in (Path(home_dir()) / "installed.json").read_text()
    assert uninstall("gitsign")[1] == []
    assert (path.read_bytes() if path.exists() else None) == before
    if before is not None:
        assert path.stat().st_mode & 0o777 == 0o640


def test_a_git_configuration_that_changed_since_keeps_its_changes(
    source: Source, at: Surroundings, person: Path
) -> None:
    path = person / ".gitconfig"
    path.write_text("[user]\n\tname = Ada\n")
    install("gitsign", URL, plan_for("gitsign", source, None, at))
    path.write_text(path.read_text() + "[core]\n\teditor = vi\n")
    uninstall("gitsign")
    assert path.read_text() == "[user]\n\tname = Ada\n[core]\n\teditor = vi\n"
    install("gitsign", URL, plan_for("gitsign", source, None, at))
    path.write_text(path.read_text().replace("fulcio =", "fulcio  ="))
    assert uninstall("gitsign")[1] == [str(path)]


def test_which_git_configuration(at: Surroundings, person: Path) -> None:
    assert git_config_path(at) == str(person / ".gitconfig")
    (person / ".config/git").mkdir()
    (person / ".config/git/config").write_text("")
    assert git_config_path(at) == str(person / ".config/git/config")
    (person / ".gitconfig").write_text("")
    assert git_config_path(at) == str(person / ".gitconfig")
    moved = at._replace(environ={"GIT_CONFIG_GLOBAL": "/elsewhere"})
    assert git_config_path(moved) == "/elsewhere"


def test_a_killed_install_is_undone(source: Source, at: Surroundings, person: Path) -> None:
    """It is noted before it is done: whatever was done by then is found again."""
    before = snapshot(person)
    plan = plan_for("cosign", source, ANCHOR, at)
    for steps in range(4):
        install("cosign", URL, plan)
        done = [item for item in load_installed()[0].done if item.kind == "file"]
        for item in done[steps:]:
            Path(item.path).unlink()
        assert uninstall("cosign")[1] == []
        assert snapshot(person) == before


def test_a_disk_that_is_full_leaves_something_to_undo(
    source: Source, at: Surroundings, person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(person)
    real = os.replace

    def full(old: str, new: str) -> None:
        if new.endswith("remote.json"):
            os.unlink(old)
            raise OSError(28, "No space left on device", new)
        real(old, new)

    with monkeypatch.context() as patched:
        patched.setattr("os.replace", full)
        with pytest.raises(SettingsError, match="No space left") as raised:
            install("cosign", URL, plan_for("cosign", source, ANCHOR, at))
    assert "uninstall --for cosign" in raised.value.__notes__[0]
    uninstall("cosign")
    assert snapshot(person) == before


def test_links_and_foreign_folders_are_not_written_to(
    source: Source, at: Surroundings, person: Path, tmp_path: Path
) -> None:
    plan = plan_for("cosign", source, ANCHOR, at)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    root = person / ".sigstore/root"
    root.mkdir(parents=True)
    (root / "remote.json").symlink_to(victim)
    with pytest.raises(SettingsError, match="is a link"):
        install("cosign", URL, plan, replace=True)
    (root / "remote.json").unlink()
    root.chmod(0o777)
    with pytest.raises(SettingsError, match="written by everybody"):
        install("cosign", URL, plan)
    root.chmod(0o700)
    (root / "remote.json").mkdir()
    with pytest.raises(SettingsError, match="no file that could be put back"):
        install("cosign", URL, plan, replace=True)
    assert victim.read_text() == "precious"
    assert load_installed() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_home_of_another_is_left_alone(source: Source, at: Surroundings, person: Path) -> None:
    os.chown(person, 65534, 65534)
    with pytest.raises(SettingsError, match="belongs to another user"):
        install("cosign", URL, plan_for("cosign", source, ANCHOR, at))
    assert not (person / ".sigstore").exists()


@pytest.mark.parametrize(
    "url",
    [
        *("https://..", "https://../..", "https://.", "ftp://a", "file:///etc", "https://", "x"),
        *("https://a@b", "https://a/?q", "https://a/#f", "https://a/\x1b[2J", "https://[::1"),
        *("https://a:99999999", "https://a b/"),
    ],
)
@pytest.mark.parametrize("client", ["cosign", "python", "js", "go"])
def test_addresses_that_would_make_strange_folders(
    client: str, url: str, source: Source, at: Surroundings
) -> None:
    with pytest.raises(RequestRejected):
        plan_for(client, source._replace(tuf_url=url), ANCHOR, at)


@pytest.mark.parametrize("path", ["/../..", "/..", "/a/../../b", "/%2e%2e/x", "/" + "a/" * 90])
def test_no_path_leads_out_of_a_client_s_folder(
    path: str, source: Source, at: Surroundings, person: Path
) -> None:
    url = f"https://a.example{path}"
    check_url(url)
    for client, folder in (
        ("cosign", ".sigstore/root"),
        ("python", ".local/share/sigstore-python/tuf"),
        ("js", ".local/share/sigstore-js"),
    ):
        plan = plan_for(client, source._replace(tuf_url=url), ANCHOR, at)
        for step in plan.steps:
            assert Path(os.path.normpath(step.path)).is_relative_to(person / folder)
            assert ".." not in Path(step.path).parts


def test_names_are_those_of_the_clients(at: Surroundings, person: Path) -> None:
    data = person / ".local/share/sigstore-js"
    assert js_folder("http://LocalHost:7446/tuf/", at) == str(data / "localhost%3A7446%2Ftuf")
    assert js_folder("https://a.example:443", at) == str(data / "a.example")
    assert cosign_name("http://Localhost:7446/tuf") == "localhost-7446-tuf"
    mac = at._replace(platform="darwin")
    assert js_folder("https://a", mac).startswith(str(person / "Library/Application Support"))
    moved = at._replace(environ={"XDG_DATA_HOME": "/data"})
    assert js_folder("https://a", moved) == "/data/sigstore-js/a"


def test_what_cannot_be_written_is_said(source: Source, at: Surroundings) -> None:
    npm = plan_for("npm", source, ANCHOR, at)
    assert (npm.steps, npm.caches) == ((), ())
    assert any("no" in line for line in npm.how)
    resource = plan_for("policy-controller", source, None, at)
    assert 'kind: "TrustRoot"' in resource.how
    assert not resource.steps
    with pytest.raises(RequestRejected, match="none of"):
        plan_for("java", source, ANCHOR, at)
    with pytest.raises(SettingsError, match="no TUF repository"):
        plan_for("cosign", source._replace(tuf_url=""), ANCHOR, at)
    with pytest.raises(SettingsError, match="no TUF repository"):
        plan_for("cosign", source, None, at)
    with pytest.raises(SettingsError, match="which services"):
        plan_for("gitsign", source._replace(signing_config_json=b""), None, at)
    assert set(WRITTEN) | {"npm", "policy-controller"} == set(CLIENTS)


def test_services_with_strange_names_do_not_break_out_of_a_configuration(
    source: Source, at: Surroundings
) -> None:
    config = json.loads(source.signing_config_json)
    config["caUrls"][0]["url"] = 'https://a/"\\\n[alias]\n\tx = !sh'
    with pytest.raises(RequestRejected, match="cannot be written"):
        plan_for(
            "gitsign", source._replace(signing_config_json=json.dumps(config).encode()), None, at
        )
    config["caUrls"][0]["url"] = 'https://a/"\\'
    plan = plan_for(
        "gitsign", source._replace(signing_config_json=json.dumps(config).encode()), None, at
    )
    assert any(getattr(step, "text", "").count('"https://a/\\"\\\\"') for step in plan.steps)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"version":1,"installed":[{}]}',
        b"\xff",
        b"[" * 9999,
        b'{"version":1,"installed":[{"client":"a","url":"b","done":[],"caches":[["/x",["("]]]}]}',
    ],
)
def test_a_damaged_record_is_not_acted_on(damage: bytes) -> None:
    path = Path(home_dir()) / "installed.json"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(damage)
    path.chmod(0o600)
    with pytest.raises(FormatError, match="damaged"):
        uninstall("cosign")
    path.write_bytes(b'{"version":2,"installed":[]}')
    with pytest.raises(SettingsError, match="newer version"):
        install("cosign", URL, Plan())
    path.chmod(0o666)
    with pytest.raises(SettingsError, match="written by others"):
        uninstall("cosign")

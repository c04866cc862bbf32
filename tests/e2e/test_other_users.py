# SPDX-License-Identifier: Apache-2.0
"""Another user of the machine, with a real instance whose user was careless with the umask."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import Instance

NOBODY = 65534
SECRETS = ("local-secret", "keys", "offline", "db", "run")
PUBLIC = ("trust/trusted_root.json", "tuf/1.root.json", "version")

pytestmark = [
    pytest.mark.xdist_group("instance"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """With umask 0, in folders that everybody may look into."""
    folder = Path(tempfile.mkdtemp(prefix="countermark-test-"))
    folder.chmod(0o755)
    (folder / "data").mkdir(0o755)
    before = os.umask(0)
    try:
        with Instance(folder, "--workers", "1") as running:
            os.umask(before)
            yield running
    finally:
        os.umask(before)
        shutil.rmtree(folder)


def as_nobody(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, user=NOBODY, group=NOBODY, extra_groups=(), cwd="/", capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip


def test_it_can_look_where_it_may(instance: Instance) -> None:
    """Else the refusals below would say nothing."""
    for name in PUBLIC:
        done = as_nobody("cat", str(instance.data_dir.path / name))
        assert done.returncode == 0, done.stderr


def test_secrets_are_not_readable(instance: Instance) -> None:
    paths = [instance.data_dir.path / name for name in SECRETS]
    paths += [path for name in SECRETS[1:] for path in (instance.data_dir.path / name).iterdir()]
    assert len(paths) > 20
    for path in paths:
        done = as_nobody("ls" if path.is_dir() else "cat", str(path))
        assert done.returncode != 0
        assert "ermission denied" in done.stderr, path
        assert done.stdout == ""


def test_nothing_can_be_put_in_place(instance: Instance) -> None:
    """Nor linked there, nor taken away."""
    everything = [instance.data_dir.path, *instance.data_dir.path.rglob("*")]
    writable = [path for path in everything if path.lstat().st_mode & 0o022]
    assert [path for path in writable if path.parent != instance.data_dir.db] == []
    folders = [path for path in everything if path.is_dir()]
    for folder in folders:
        for command in (["touch", f"{folder}/x"], ["ln", "-s", "/etc/passwd", f"{folder}/y"]):
            assert as_nobody(*command).returncode != 0, folder
    for path in instance.data_dir.path.iterdir():
        assert as_nobody("mv", str(path), f"{path}.old").returncode != 0
        assert as_nobody("rm", "-rf", str(path)).returncode != 0
        assert path.exists()


def test_the_users_registry_is_its_own(instance: Instance) -> None:
    registry = instance.home / "instances.json"
    assert registry.stat().st_mode & 0o777 == 0o600
    assert as_nobody("cat", str(registry)).returncode != 0
    assert as_nobody("touch", f"{instance.home}/config.toml").returncode != 0


def test_a_registry_of_another_user_is_not_believed(instance: Instance) -> None:
    """Who can write it chooses whom this user trusts, and where the secret is sent."""
    registry = instance.home / "instances.json"
    os.chown(registry, NOBODY, NOBODY)
    done = instance.command("sign", "--email", "a@example.org", str(registry))
    os.chown(registry, 0, 0)
    assert done.returncode == 78
    assert "belongs to another user" in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""What all versions of an artifact are called."""

import time

import pytest

from countermark.core.policy.versions import without_version


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app-1.2.3.tar.gz", "app-*.tar.gz"),
        ("app-v1.2.3-linux-x86_64", "app-*-linux-x86_64"),
        ("app_1.2.3_amd64.deb", "app_*_amd64.deb"),
        ("app_1.2.3-1_amd64.deb", "app_*_amd64.deb"),
        ("app-1.2.3-py3-none-any.whl", "app-*-py3-none-any.whl"),
        ("app-1.2.3rc1.tar.gz", "app-*.tar.gz"),
        ("app-1.2.3-rc.1.tar.gz", "app-*.tar.gz"),
        ("app-1.2.3-beta-linux.zip", "app-*-linux.zip"),
        ("app-1.2.3.dev0.tar.gz", "app-*.tar.gz"),
        ("app-1.2.3+build5.zip", "app-*.zip"),
        ("app.1.2.3.jar", "app.*.jar"),
        ("node-v20.1.0-linux-x64.tar.xz", "node-*-linux-x64.tar.xz"),
        ("libfoo2-1.2.a", "libfoo2-*.a"),
        ("kernel-6.1.7z", "kernel-*.7z"),
        ("app-20261122.zip", "app-*.zip"),
        ("app-2026-11-22.zip", "app-*.zip"),
        ("app_v2_linux.zip", "app_*_linux.zip"),
        ("foo@1.2.3.tgz", "foo@*.tgz"),
        ("python3.11-app-1.2.3", "python3.11-app-*"),
        ("a-1.2-for-linux-5.4.zip", "a-*-for-linux-5.4.zip"),
    ],
)
def test_versions_become_a_star(name: str, expected: str) -> None:
    assert without_version(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        *("SHA256SUMS", "app", "app.tar.gz", "app-x86_64.zip", "app-1a2b3c4.zip", "", "é-", "-*"),
        *("manylinux_2_17_x86_64.whl", "cosign-linux-amd64", "v1.2.3.tar.gz", "1.2.tar.gz"),
        *("a" * 2000 + "-1.2.3", "2026-11-22", "music.mp3"),
    ],
)
def test_other_names_stay(name: str) -> None:
    assert without_version(name) == name


def test_no_name_takes_long() -> None:
    started = time.process_time()
    for tail in ("-rc" * 330, "-1.1" * 250 + "z", ".1" * 500, "+a" * 500, "-1" * 500 + "_x", "~rc"):
        without_version("a-1.0" + tail)
        without_version("1.1" + tail)
    assert time.process_time() - started < 1

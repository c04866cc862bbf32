# SPDX-License-Identifier: Apache-2.0
"""Whose key the cache would hand out: never one of somebody else's."""

from dataclasses import replace
from pathlib import Path

import pytest

from countermark.client.choice import Instance
from countermark.client.git.sign import cache_slot
from countermark.client.logins import save_email
from countermark.core.bundle.signing_config import SigningConfig
from tests.support.forge import Forge

SERVICES = SigningConfig((), (), ())


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setenv("COUNTERMARK_HOME", str(tmp_path))
    return Instance("there", "https://there.example.org", Forge().trusted_root(), SERVICES)


def test_each_way_to_say_who_has_a_slot_of_its_own(instance: Instance) -> None:
    slots = [
        cache_slot(instance, environ={}),
        cache_slot(instance, email="a@example.org", environ={}),
        cache_slot(instance, email="b@example.org", environ={}),
        cache_slot(instance, token="one", environ={}),
        cache_slot(instance, token="two", environ={}),
        cache_slot(replace(instance, name="elsewhere"), environ={}),
        cache_slot(replace(instance, trusted_root=Forge().trusted_root()), environ={}),
    ]
    assert len(set(slots)) == len(slots)
    handed = {"COUNTERMARK_IDENTITY_TOKEN": "one"}
    assert cache_slot(instance, environ=handed) == slots[3]
    assert all(len(slot) == 64 for slot in slots)


@pytest.mark.parametrize(
    "variable", ["CI", "ACTIONS_ID_TOKEN_REQUEST_URL", "BUILDKITE", "CIRCLECI", "SIGSTORE_ID_TOKEN"]
)
def test_jobs_of_ci_systems_share_nothing(instance: Instance, variable: str) -> None:
    assert cache_slot(instance, environ={variable: "true"}) == ""
    assert cache_slot(instance, token="one", environ={variable: "true"}) != ""


def test_the_remembered_address_of_an_own_instance_counts(
    instance: Instance, tmp_path: Path
) -> None:
    own = replace(instance, url="http://localhost:1", data_dir=str(tmp_path))
    before = cache_slot(own, environ={})
    save_email(own.name, "a@example.org")
    after = cache_slot(own, environ={})
    assert before != after == cache_slot(own, email="a@example.org", environ={})

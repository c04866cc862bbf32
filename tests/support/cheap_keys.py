# SPDX-License-Identifier: Apache-2.0
"""Key files under a key derivation that costs next to nothing, for tests of everything else."""

import pytest

from countermark.client.keys import cosign, pkcs8


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written in this test cost a thousandth, and can be read."""
    monkeypatch.setattr(pkcs8, "_N", 2**10)
    monkeypatch.setattr(pkcs8, "_P", 1)
    monkeypatch.setattr(cosign, "_COSTS", (*cosign._COSTS, 2**10))
    monkeypatch.setattr(cosign, "_WRITTEN_COST", 2**10)

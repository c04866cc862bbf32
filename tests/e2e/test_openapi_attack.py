# SPDX-License-Identifier: Apache-2.0
"""schemathesis against a running instance: every reply is one that the OpenAPI documents allow.

A short seeded attack by default; the long one is `make fuzz-http`.
"""

import os
from pathlib import Path

from tests.support.instance import Instance
from tests.support.openapi import PHASES, attack

_CASES = int(os.environ.get("COUNTERMARK_HTTP_CASES", "0"))
_SEED = int(os.environ.get("COUNTERMARK_SEED", "20261122"))
_SHORT = (6, ("examples", "fuzzing"))  # half a minute
_DEEP = (
    "POST /api/v2/signingCert",
    "POST /api/v1/signingCert",
    "POST /api/v1/timestamp",
    "POST /api/v1/log/entries",
    "POST /api/v1/log/entries/retrieve",
    "POST /ctlog/{log}/ct/v1/add-chain",
    "POST /oidc/auth",
    "POST /oidc/token",
    "POST /oidc/device/code",
    "POST /oidc/local-token",
)
"""Operations that say yes only to what holds: the attack must have got that far."""


def test_every_reply_is_a_documented_one(tmp_path: Path) -> None:
    examples, phases = (_CASES, PHASES) if _CASES else _SHORT
    with Instance(tmp_path) as instance:
        before = {name: process.pid for name, process in instance.processes().items()}
        outcome = attack(instance, tmp_path, seed=_SEED, examples=examples, phases=phases)
        after = {name: process.pid for name, process in instance.processes().items()}
        said = instance.said()
    fsck = instance.command("log", "fsck", "--data", str(instance.data_dir.path))
    print(f"{outcome.cases} requests in {outcome.seconds:.0f} s, seed {_SEED}")
    assert not outcome.failures, outcome.failures
    assert after == before, "a process ended"
    assert "Traceback" not in said, said
    assert fsck.returncode == 0, fsck.stdout + fsck.stderr
    shallow = [operation for operation in _DEEP if not outcome.accepted.get(operation)]
    assert not shallow, "nothing valid was ever sent"

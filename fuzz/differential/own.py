# SPDX-License-Identifier: Apache-2.0
"""Bundles that an instance of ours has just made: a file and a statement, by its own login."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzz.differential.bundles import Base
from tests.support.running import running

_ARTIFACT = b"signed by an instance of ours\n"
_WHO = "ada@example.org"


@contextmanager
def own(folder: Path) -> Iterator[list[Base]]:
    """Bring an instance up in `folder` and have it sign; its root is there until the end."""
    with running(folder) as instance:
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {"name": "file", "digest": {"sha256": hashlib.sha256(_ARTIFACT).hexdigest()}}
            ],
            "predicateType": "https://example.org/predicate",
            "predicate": {"é": "🔏"},
        }
        (instance.home / "file").write_bytes(_ARTIFACT)
        (instance.home / "statement").write_text(json.dumps(statement, ensure_ascii=False))
        trust = instance.data / "trust"
        token = instance.token(_WHO)
        made = []
        for name, flags in (("file", ()), ("statement", ("--in-toto",))):
            done = instance.conformance(
                *("sign-bundle", *flags, "--identity-token", token, "--bundle", f"{name}.bundle"),
                *("--trusted-root", str(trust / "trusted_root.json")),
                *("--signing-config", str(trust / "signing_config.v0.2.json"), name),
            )
            assert done.code == 0, done.err
            made.append(
                Base(
                    f"own/{name}",
                    (instance.home / f"{name}.bundle").read_bytes(),
                    _ARTIFACT,
                    _WHO,
                    instance.issuer,
                    str(trust / "trusted_root.json"),
                )
            )
        yield made

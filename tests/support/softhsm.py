# SPDX-License-Identifier: Apache-2.0
"""SoftHSM: a PKCS#11 token in software, for as long as a test run lasts."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PIN, OFFICER_PIN = "567890", "123456"
_PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)


@dataclass(frozen=True)
class SoftHSM:
    """A store of tokens, and what programs need to find it."""

    module: str
    config: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.config), "COUNTERMARK_PKCS11_MODULE": self.module}

    def token(self, label: str) -> str:
        """Make a token; gives the beginning of its keys' URIs."""
        command = ["softhsm2-util", "--init-token", "--free", "--label", label]
        subprocess.run(
            [*command, "--so-pin", OFFICER_PIN, "--pin", PIN],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
        )
        return f"pkcs11:token={label}"


def softhsm(folder: Path) -> SoftHSM:
    """An empty store in `folder`; skips the test where SoftHSM is not installed."""
    module = next((place for place in _PLACES if os.path.exists(place)), "")
    if not module or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not there: run scripts/install-system-tools")
    tokens = folder / "tokens"
    tokens.mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    return SoftHSM(module, config)

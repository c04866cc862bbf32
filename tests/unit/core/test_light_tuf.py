# SPDX-License-Identifier: Apache-2.0
"""python-tuf comes without the libraries of key services, which stay importable after it."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import countermark.{module}
vendors = ("azure", "boto3", "botocore", "google", "hvac", "pkcs11")
loaded = [name for name in sys.modules if name.partition(".")[0] in vendors]
import tuf.api.metadata
print(json.dumps(loaded))
"""


def result(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "module",
    ["trust.repository", "trust.ceremony", "trust.roots", "trust.root_keys",
     "client.trust.chain", "client.trust.fetching", "client.trust.updating",
     "client.trust.doctor"],
)  # fmt: skip
def test_no_vendors_library_is_imported(module: str) -> None:
    assert result(SCRIPT.replace("{module}", module)) == []


def test_a_vendors_library_can_be_imported_afterwards() -> None:
    pytest.importorskip("azure.identity")
    program = "import json, countermark.core.light_tuf, azure.identity; print(json.dumps([]))"
    assert result(program) == []

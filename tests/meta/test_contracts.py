# SPDX-License-Identifier: Apache-2.0
"""The start-up of the client stays lean: what is imported is part of the contract."""

import subprocess
import sys

HEAVY_FOR_CLIENTS = {"starlette", "uvicorn", "rocksdict", "jinja2", "jwt", "uvloop"}


def imported_by(statement: str) -> set[str]:
    """Top-level modules loaded once `statement` has run in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sorted(n.split('.')[0] for n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return set(done.stdout.split())


def test_the_package_needs_no_server_library() -> None:
    loaded = imported_by(
        "import countermark; [getattr(countermark, n) for n in countermark.__all__]"
    )
    assert not loaded & HEAVY_FOR_CLIENTS


def test_importing_the_package_loads_nothing_else() -> None:
    assert not imported_by("import countermark") & {
        "cryptography",
        "click",
        "rich",
        "tuf",
        "urllib3",
    }

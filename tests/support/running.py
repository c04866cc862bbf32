# SPDX-License-Identifier: Apache-2.0
"""A running instance, and commands run as people run them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.instance import Instance

TIMEOUT_S = 120
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV", "PYTHONPATH")


@dataclass(frozen=True)
class Running:
    """An instance that is up, and a person's private folders.

    Attributes:
        url: its base URL.
        data: its data directory.
        home: the person's home; no command looks anywhere else.
        registry: the person's folder of instances and logins.
    """

    url: str
    data: Path
    home: Path
    registry: Path

    @property
    def issuer(self) -> str:
        return f"{self.url}/oidc"

    @property
    def trust_config(self) -> Path:
        return self.data / "trust" / "trust_config.json"

    def environment(self, **changes: str) -> dict[str, str]:
        """No more of the environment than programs need, so that no CI identity leaks in."""
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "COUNTERMARK_HOME": str(self.registry),
            **changes,
        }

    def run(self, *command: str, stdin: str = "", **environment: str) -> "Done":
        """Any program in that environment."""
        return self.run_in(self.home, *command, stdin=stdin, **environment)

    def run_in(self, folder: Path, *command: str, stdin: str = "", **environment: str) -> "Done":
        """Any program in that environment, in another folder than the person's home."""
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment(**environment),
            cwd=folder,
            timeout=TIMEOUT_S,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def countermark(self, *arguments: str, stdin: str = "", **environment: str) -> "Done":
        """Our command, with pipes for a terminal."""
        command = (sys.executable, "-m", "countermark", *arguments)
        return self.run(*command, stdin=stdin, **environment)

    def conformance(self, *arguments: str) -> "Done":
        """Our command for the conformance suite."""
        return self.run(sys.executable, "-m", "countermark.cli.conformance", *arguments)

    def token(self, email: str) -> str:
        """An identity token of the instance's own login."""
        done = self.countermark("login", "--url", self.url, "--email", email, "--print-token")
        assert done.code == 0, done.err
        return done.out.strip()


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """Bring an instance up in `folder` for as long as the context lasts."""
    home = folder / "person"
    home.mkdir()
    with Instance(folder) as instance:
        yield Running(instance.url, instance.data_dir.path, home, instance.home)

# SPDX-License-Identifier: Apache-2.0
"""Real repositories of a person who signs with a running instance."""

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.peers import ADA, on_path
from tests.support.running import Done, Running

PROGRAM = Path(sys.executable).with_name("countermark-git")


@dataclass(frozen=True)
class Repository:
    """A repository, and commands run in it; `environment` is added to the person's."""

    instance: Running
    path: Path
    environment: tuple[tuple[str, str], ...] = ()

    @classmethod
    def create(
        cls, instance: Running, path: Path, *, object_format: str = "sha1", **environment: str
    ) -> "Repository":
        path.mkdir()
        made = cls(instance, path, tuple(environment.items()))
        made.git("init", "--quiet", "--initial-branch=main", f"--object-format={object_format}")
        made.git("config", "user.name", "Ada")
        made.git("config", "user.email", ADA)
        return made

    def run(self, *command: str, stdin: str = "", **environment: str) -> Done:
        added = dict(self.environment) | environment
        return self.instance.run_in(self.path, *command, stdin=stdin, **added)

    def try_git(self, *arguments: str, **environment: str) -> Done:
        return self.run(on_path("git"), *arguments, **environment)

    def git(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        done = self.run(on_path("git"), *arguments, stdin=stdin, **environment)
        assert done.code == 0, done.out + done.err
        return done.out.strip()

    def countermark(self, *arguments: str, **environment: str) -> Done:
        return self.run(sys.executable, "-m", "countermark", *arguments, **environment)

    def set_up(self, *options: str) -> None:
        """Sign with countermark, as Ada, with the instance."""
        url = self.instance.url
        done = self.countermark("git", "setup", "--url", url, "--email", ADA, *options)
        assert done.code == 0, done.err

    def expect(self, identity: str = ADA) -> tuple[str, ...]:
        """Options that say who must have signed."""
        return ("--identity", identity, "--issuer", self.instance.issuer)

    def commit(self, message: str = "a change", **environment: str) -> str:
        """Make an empty commit; returns its id."""
        self.git("commit", "--quiet", "--allow-empty", "--message", message, **environment)
        return self.git("rev-parse", "HEAD")

    def write(self, kind: str, content: str) -> str:
        """Store an object as it is, however malformed; returns its id."""
        return self.git("hash-object", "-t", kind, "-w", "--stdin", "--literally", stdin=content)

    def shown(self, name: str = "HEAD") -> str:
        """What Git's own log says of the signature: one letter."""
        return self.git("log", "-1", "--format=%G?", name)

# SPDX-License-Identifier: Apache-2.0
"""What the command line tells the supervisor, and the supervisor its children.

It travels as JSON in a process's arguments, so it holds no secret: only where those are.
This module is imported by every process of an instance and imports next to nothing.
"""

import json
from typing import Final, NamedTuple

KEEPER: Final = "keeper"
WORKER: Final = "worker"


class Issuer(NamedTuple):
    """An identity provider whose tokens the CA takes.

    Attributes:
        url: its `iss`, exactly.
        type: how its claims become an identity: ``email`` or ``github-workflow``.
        audience: what its tokens must be meant for.
        jwks_file: its keys, pinned; empty to fetch them as its discovery document says.
    """

    url: str
    type: str
    audience: str = "sigstore"
    jwks_file: str = ""


class Launch(NamedTuple):
    """One start of an instance.

    Attributes:
        data_dir: a complete data directory.
        lock: descriptor that holds the directory's lock; the keeper inherits it.
        listeners: descriptors of listening sockets, a list for each worker.
        issuers: external identity providers.
        development: whether the embedded login is served; only where nobody but this machine
            can reach it.
        tls_cert: PEM certificate chain; empty for plain HTTP.
        tls_key: its PEM key.
        keys_passphrase: path of the online keys' passphrase, or ``env:NAME``; empty for the file
            beside the keys.
        log_format: ``text`` or ``json``.
        greeting: printed on stdout once everything works.
    """

    data_dir: str
    lock: int
    listeners: list[list[int]]
    issuers: list[Issuer]
    development: bool
    tls_cert: str = ""
    tls_key: str = ""
    keys_passphrase: str = ""
    log_format: str = "text"
    greeting: str = ""

    def serialize(self) -> str:
        """As JSON text, so that ``Launch.parse(l.serialize()) == l``."""
        return json.dumps(self._asdict(), separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> "Launch":
        """Read what `serialize` wrote, in a parent process of ours."""
        fields = json.loads(text)
        fields["issuers"] = [Issuer(*issuer) for issuer in fields["issuers"]]
        return cls(**fields)


class Child(NamedTuple):
    """What one child process is told.

    Attributes:
        launch: the whole instance.
        name: ``keeper``, ``worker-1`` …
        control: descriptor of its end of a socket pair: it says there when it is ready, and
            reads the end of file when the supervisor is gone.
        listeners: descriptors of its listening sockets.
    """

    launch: Launch
    name: str
    control: int
    listeners: list[int]

    def serialize(self) -> str:
        """As JSON text."""
        return json.dumps([self.launch.serialize(), self.name, self.control, self.listeners])

    @classmethod
    def parse(cls, text: str) -> "Child":
        """Read what `serialize` wrote, in our parent process."""
        launch, name, control, listeners = json.loads(text)
        return cls(Launch.parse(launch), name, control, listeners)

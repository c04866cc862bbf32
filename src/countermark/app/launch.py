# SPDX-License-Identifier: Apache-2.0
"""What the command line tells the supervisor, and the supervisor its children.

It travels as JSON in a process's arguments, so it holds no secret: only where those are.
This module is imported by every process of an instance and imports next to nothing.
"""

import json
from typing import Final, NamedTuple

SUPERVISOR: Final = "supervisor"
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
        access_log: whether workers write a line for each request.
        behind_proxy: whether a proxy of ours says where requests come from.
        metrics_listeners: descriptors of listening sockets for metrics and health alone, a list
            for each worker; empty to serve metrics on the other port, to this machine only.
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
    access_log: bool = False
    behind_proxy: bool = False
    metrics_listeners: list[list[int]] = []  # noqa: RUF012 - never changed
    greeting: str = ""

    @property
    def names(self) -> list[str]:
        """Every process of the instance."""
        return [SUPERVISOR, KEEPER, *self.workers]

    @property
    def workers(self) -> list[str]:
        """The worker processes, in the order of their listeners."""
        return [f"{WORKER}-{number}" for number in range(1, len(self.listeners) + 1)]

    @property
    def sockets(self) -> list[int]:
        """Descriptors of all listening sockets."""
        return [fd for group in (*self.listeners, *self.metrics_listeners) for fd in group]

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
        board: descriptor of the memory in which all processes count.
        listeners: descriptors of its listening sockets.
        metrics_listeners: the same of those for metrics.
    """

    launch: Launch
    name: str
    control: int
    board: int
    listeners: list[int]
    metrics_listeners: list[int]

    def serialize(self) -> str:
        """As JSON text."""
        launch, *rest = self
        return json.dumps([launch.serialize(), *rest])

    @classmethod
    def parse(cls, text: str) -> "Child":
        """Read what `serialize` wrote, in our parent process."""
        launch, *rest = json.loads(text)
        return cls(Launch.parse(launch), *rest)

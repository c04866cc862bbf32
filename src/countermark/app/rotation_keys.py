# SPDX-License-Identifier: Apache-2.0
"""Makes the keys that rotations begin with, and certificates for them by the offline roots."""

from datetime import datetime
from pathlib import Path
from typing import Final

from countermark.app.data_dir import DataDir
from countermark.app.instance import (
    CA_ROOT_KEY,
    FIRST_KEYS,
    TSA_ROOT_KEY,
    InstanceConfig,
    NextLog,
    Rotated,
    Service,
    ServiceKey,
)
from countermark.app.key_store import create_online_key
from countermark.app.keyring import active_chain, load_service_key, read_passphrase
from countermark.app.rotation import Material
from countermark.app.shards import plan_next_logs
from countermark.core.crypto.certificate import Certificate
from countermark.core.errors import SettingsError
from countermark.drivers.keys.file import (
    ED25519,
    P256,
    P384,
    RSA_2048,
    create_key,
    load_signer,
)
from countermark.ports.clock import Entropy
from countermark.ports.signer import Signer
from countermark.trust.authorities import (
    CODE_SIGNING,
    TIME_STAMPING,
    issue_ca_chain,
    issue_tsa_chain,
    issue_under,
)

_KINDS: Final[dict[Service, str]] = {
    "ca": P256,
    "tsa": P256,
    "login": RSA_2048,
    "tuf": ED25519,
}


class KeyMaker:
    """Makes keys for one instance. Blocks; does not touch instance.json."""

    def __init__(
        self,
        data_dir: DataDir,
        entropy: Entropy,
        now: datetime,
        *,
        online: bytes | None = None,
        offline: bytes | None = None,
    ) -> None:
        """Nothing is made yet.

        Args:
            data_dir: of the instance.
            entropy: for serial numbers and tree ids.
            now: start of every validity; whole seconds are used.
            online: passphrase of the online keys; by default that of the file beside them.
            offline: the same of the root keys.
        """
        self._data_dir = data_dir
        self._entropy = entropy
        self._now = now.replace(microsecond=0)
        self._online = online
        self._offline = offline

    def make(self, service: Rotated, config: InstanceConfig, *, new_root: bool) -> Material:
        """The next key of a service, or the next logs.

        Args:
            service: whose.
            config: instance.json.
            new_root: for CA and TSA: with a root key of its own, too.

        Raises SettingsError, FormatError, OSError.
        """
        if new_root and service not in ("ca", "tsa"):
            raise SettingsError(f"{service} has no root certificate")
        if service == "log":
            return self._logs(config)
        known = config.keys_of(service)
        if not known:
            known = (self._first(config, service),)
        number = len(known) + 1
        name = f"{FIRST_KEYS[service]}-{number}"
        chain: tuple[bytes, ...] = ()
        if service in ("ca", "tsa"):
            root, anchor = self._root(config, service, number, new_root=new_root)
            signer = self._create(self._data_dir.key_file(name), _KINDS[service])
            chain = self._chain(config, service, signer, root, anchor)
        else:
            signer = self._create(self._data_dir.key_file(name), _KINDS[service])
        coming = ServiceKey(
            service=service,
            key=name,
            spki=signer.public_key.spki,
            state="next",
            start=self._now,
            chain=chain,
        )
        return Material(keys=(*known, coming))

    def _first(self, config: InstanceConfig, service: Service) -> ServiceKey:
        """The key that the service was created with, as one of several."""
        signer = load_service_key(self._data_dir, config, service, self._online_secret())
        chain: tuple[bytes, ...] = ()
        if service in ("ca", "tsa"):
            chain = active_chain(self._data_dir, config, service)
        return ServiceKey(
            service=service,
            key=FIRST_KEYS[service],
            spki=signer.public_key.spki,
            state="active",
            start=config.created,
            chain=chain,
        )

    def _logs(self, config: InstanceConfig) -> Material:
        found: list[NextLog] = []
        for log in plan_next_logs(config, self._now, self._entropy):
            signer = self._create(self._data_dir.key_file(log.key), P256)
            found.append(NextLog(log=log, spki=signer.public_key.spki))
        return Material(logs=tuple(found))

    def _root(
        self, config: InstanceConfig, service: Service, number: int, *, new_root: bool
    ) -> tuple[Signer, bytes | None]:
        """The key that certifies the next one, and its certificate; None if that is still to be."""
        first = CA_ROOT_KEY if service == "ca" else TSA_ROOT_KEY
        folder = self._data_dir.offline
        secret = self._offline or read_passphrase(self._data_dir.offline_passphrase_file)
        if new_root:
            file = self._data_dir.offline_key_file(f"{first}-{number}")
            file.unlink(missing_ok=True)  # of a run that was killed: it certified nothing
            return create_key(file, P384, secret), None
        anchor = active_chain(self._data_dir, config, service)[-1]
        spki = Certificate.parse(anchor).spki
        for file in sorted(folder.glob(f"{first}*.pem")):
            signer = load_signer(file, secret)
            if signer.public_key.spki == spki:
                return signer, anchor
        error = SettingsError(f"the root key of {service} is not in {folder}")
        error.add_note("put that folder back for as long as this takes, or add --new-root")
        raise error

    def _chain(
        self,
        config: InstanceConfig,
        service: Service,
        signer: Signer,
        root: Signer,
        anchor: bytes | None,
    ) -> tuple[bytes, ...]:
        host, key = config.hostname, signer.public_key
        if anchor is None:
            issue = issue_ca_chain if service == "ca" else issue_tsa_chain
            return issue(host, root, key, self._now, self._entropy).chain
        profile = CODE_SIGNING if service == "ca" else TIME_STAMPING
        return issue_under(profile, host, root, anchor, key, self._now, self._entropy).chain

    def _create(self, file: Path, kind: str) -> Signer:
        file.unlink(missing_ok=True)  # of a run that was killed: nobody was told of it
        return create_online_key(file, kind, self._online_secret())

    def _online_secret(self) -> bytes:
        return self._online or read_passphrase(self._data_dir.keys_passphrase_file)

# SPDX-License-Identifier: Apache-2.0
"""The keeper's keys: every online signer of an instance, by name, and its certificate chains."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from countermark.app.data_dir import DataDir
from countermark.app.instance import FIRST_KEYS, InstanceConfig, Service
from countermark.app.key_store import load_online_key
from countermark.core.crypto.keys import PublicKey, decode_pem_blocks
from countermark.core.errors import FormatError, InvariantBroken, SettingsError
from countermark.drivers.durable import read_secret
from countermark.ports.signer import Signer


class FrozenSigner:
    """The `Signer` of a frozen log: nobody loads its private key any more."""

    __slots__ = ("_public_key",)

    def __init__(self, public_key: PublicKey) -> None:
        self._public_key = public_key

    @property
    def public_key(self) -> PublicKey:
        """What the log signed with."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Raises InvariantBroken."""
        raise InvariantBroken("a frozen log signs nothing")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What only the keeper holds.

    Attributes:
        signers: online keys by name: each log's, `ca`, `tsa`, `login`, `tuf-online`, whatever
            the names of the files in use are. Those of frozen logs are public halves alone.
        ca_chain: DER certificates, the issuing CA first, its root last.
        tsa_chain: DER certificates, the TSA's own first, its root last.
    """

    signers: Mapping[str, Signer]
    ca_chain: tuple[bytes, ...]
    tsa_chain: tuple[bytes, ...]

    @classmethod
    def load(
        cls, data_dir: DataDir, config: InstanceConfig, passphrase: bytes | None = None
    ) -> "KeyRing":
        """Read and decrypt every online key that is in use.

        Args:
            data_dir: a complete data directory.
            config: its instance.json.
            passphrase: of the online keys; by default that of the file beside them.

        Raises SettingsError, FormatError, InvariantBroken.
        """
        secret = passphrase or read_passphrase(data_dir.keys_passphrase_file)
        signers: dict[str, Signer] = {}
        for log in config.logs:
            if log.frozen is None:
                signers[log.key] = load_online_key(data_dir.key_file(log.key), secret)
            else:
                public_key = PublicKey.from_spki(log.frozen.spki, f"key of frozen log {log.name}")
                signers[log.key] = FrozenSigner(public_key)
        for service, name in FIRST_KEYS.items():
            signers[name] = load_service_key(data_dir, config, service, secret)
        return cls(
            signers,
            active_chain(data_dir, config, "ca"),
            active_chain(data_dir, config, "tsa"),
        )

    def signer(self, name: str) -> Signer:
        """The key of that name. Raises InvariantBroken."""
        if name not in self.signers:
            raise InvariantBroken(f"there is no key called {name}")
        return self.signers[name]


def load_service_key(
    data_dir: DataDir, config: InstanceConfig, service: Service, passphrase: bytes
) -> Signer:
    """The key that a service signs with. Raises SettingsError, FormatError, InvariantBroken."""
    signer = load_online_key(data_dir.key_file(config.key_name(service)), passphrase)
    active = config.active_key(service)
    if active is not None and signer.public_key.spki != active.spki:
        raise InvariantBroken(f"keys/{active.key}.pem is another key than clients were told of")
    return signer


def active_chain(data_dir: DataDir, config: InstanceConfig, service: Service) -> tuple[bytes, ...]:
    """The certificates of the key that CA or TSA sign with. Raises SettingsError, FormatError."""
    active = config.active_key(service)
    if active is not None:
        return active.chain
    return read_chain(data_dir.ca_chain_file if service == "ca" else data_dir.tsa_chain_file)


def read_passphrase(path: Path) -> bytes:
    """The first line of a passphrase file. Raises SettingsError."""
    passphrase = read_secret(path).split(b"\n", 1)[0]
    if not passphrase:
        raise SettingsError(f"{path} holds no passphrase")
    return passphrase


def read_chain(path: Path) -> tuple[bytes, ...]:
    """The DER certificates of a PEM file, in its order. Raises SettingsError, FormatError."""
    try:
        text = path.read_text("ascii")
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FormatError(path.name, "is not PEM") from error
    blocks = decode_pem_blocks(text, path.name)
    if any(label != "CERTIFICATE" for label, _ in blocks):
        raise FormatError(path.name, "holds something else than certificates")
    return tuple(data for _, data in blocks)

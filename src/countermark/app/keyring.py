# SPDX-License-Identifier: Apache-2.0
"""The keeper's keys: every online signer of an instance, by name, and its certificate chains."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from countermark.app.data_dir import DataDir
from countermark.app.instance import CA_KEY, LOGIN_KEY, TSA_KEY, TUF_KEY, InstanceConfig
from countermark.core.crypto.keys import decode_pem_blocks
from countermark.core.errors import FormatError, InvariantBroken, SettingsError
from countermark.drivers.durable import read_secret
from countermark.drivers.keys.file import FileSigner, load_signer


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What only the keeper holds.

    Attributes:
        signers: online keys by name: each log's, `ca`, `tsa`, `login`, `tuf-online`.
        ca_chain: DER certificates, the issuing CA first, its root last.
        tsa_chain: DER certificates, the TSA's own first, its root last.
    """

    signers: Mapping[str, FileSigner]
    ca_chain: tuple[bytes, ...]
    tsa_chain: tuple[bytes, ...]

    @classmethod
    def load(
        cls, data_dir: DataDir, config: InstanceConfig, passphrase: bytes | None = None
    ) -> "KeyRing":
        """Read and decrypt every online key.

        Args:
            data_dir: a complete data directory.
            config: its instance.json.
            passphrase: of the online keys; by default that of the file beside them.

        Raises SettingsError, FormatError, InvariantBroken.
        """
        secret = passphrase or read_passphrase(data_dir.keys_passphrase_file)
        names = (*(log.key for log in config.logs), CA_KEY, TSA_KEY, LOGIN_KEY, TUF_KEY)
        return cls(
            {name: load_signer(data_dir.key_file(name), secret) for name in names},
            read_chain(data_dir.ca_chain_file),
            read_chain(data_dir.tsa_chain_file),
        )

    def signer(self, name: str) -> FileSigner:
        """The key of that name. Raises InvariantBroken."""
        if name not in self.signers:
            raise InvariantBroken(f"there is no key called {name}")
        return self.signers[name]


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

# SPDX-License-Identifier: Apache-2.0
"""The TUF root of an instance: which online keys it names, and signing it where its keys are."""

from datetime import datetime

from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]

from countermark.app.data_dir import DataDir
from countermark.app.instance import TUF_ROOT_KEY, InstanceConfig, load_instance
from countermark.app.keyring import read_passphrase
from countermark.core.crypto.keys import PublicKey, decode_pem_blocks
from countermark.core.errors import RequestRejected, SettingsError
from countermark.drivers.durable import read_secret
from countermark.drivers.embedded.files import FileObjectStore
from countermark.drivers.keys.file import load_signer
from countermark.trust.repository import ROOT_LIFETIME, newest_root
from countermark.trust.root_keys import PortSigner, tuf_key
from countermark.trust.roots import check_next_root, parse_root, role_keys, with_online_keys


def online_spkis(data_dir: DataDir, config: InstanceConfig) -> tuple[bytes, ...]:
    """The online keys that the TUF root is to name: the one in use, and others in a rotation.

    Raises SettingsError, FormatError.
    """
    known = config.keys_of("tuf")
    if known:
        return tuple(key.spki for key in known if key.state != "old" or key.end is None)
    file = data_dir.key_file(config.key_name("tuf"))
    for label, data in decode_pem_blocks(read_secret(file).decode("ascii", "replace"), file.name):
        if label == "PUBLIC KEY":
            return (PublicKey.from_spki(data, file.name).spki,)
    raise SettingsError(f"{file} does not say its public half")


def newest_root_data(data_dir: DataDir) -> bytes:
    """The newest TUF root, as a file. Raises InvariantBroken."""
    return newest_root(FileObjectStore(data_dir.tuf, read_only=True))


def signed_root(data_dir: DataDir, passphrase: bytes | None, now: datetime) -> bytes | None:
    """The next TUF root with the online keys that it should name, signed by the root keys here.

    Args:
        data_dir: of the instance.
        passphrase: of the root keys; by default that of the file beside them.
        now: its lifetime begins.

    Returns None if there is nothing to change. Raises SettingsError if the keys here are not
    enough: then a ceremony is needed.
    """
    config = load_instance(data_dir.instance_file)
    previous_data = newest_root_data(data_dir)
    previous = parse_root(previous_data).signed
    online = [tuf_key(spki) for spki in online_spkis(data_dir, config)]
    root = with_online_keys(previous, online, now, ROOT_LIFETIME)
    if root is None:
        return None
    metadata = Metadata(root)
    wanted = {key.keyid for key in role_keys(previous, Root.type).keys}
    for signer in _root_signers(data_dir, passphrase):
        if signer.public_key.keyid in wanted:
            metadata.sign(signer, append=True)
    data = bytes(metadata.to_bytes())
    try:
        check_next_root(previous_data, data)
    except RequestRejected as error:
        needed = SettingsError(f"the keys in {data_dir.offline} cannot sign the next TUF root")
        needed.add_note(
            "put that folder back, or have a root signed by its holders: countermark trust "
            "ceremony start FILE; after its end, run the same with --continue"
        )
        raise needed from error
    return data


def _root_signers(data_dir: DataDir, passphrase: bytes | None) -> list[PortSigner]:
    files = sorted(data_dir.offline.glob(f"{TUF_ROOT_KEY}*.pem"))
    if not files:
        return []
    secret = passphrase or read_passphrase(data_dir.offline_passphrase_file)
    return [PortSigner(load_signer(file, secret)) for file in files]

# SPDX-License-Identifier: Apache-2.0
"""Key files: PEM of PKCS#8, encrypted or not, of cosign's own form, of SEC 1 and PKCS#1.

An encrypted file that others can read is noticed, and a plain one is refused, as with ssh.
"""

import os
import secrets
import stat
import sys
from typing import Final

from countermark.client.instances import sync_folder
from countermark.client.keys import cosign, pkcs8
from countermark.client.keys.asking import Asking
from countermark.client.keys.local import LocalKey
from countermark.core.crypto.keys import decode_pem_blocks, encode_pem
from countermark.core.errors import FormatError, NotFound, RequestRejected, SettingsError

ENCRYPTED: Final = "ENCRYPTED PRIVATE KEY"
PLAIN: Final = ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY")
MAX_FILE_BYTES: Final = 64 * 1024
_PUBLIC_MODE, _PRIVATE_MODE = 0o644, 0o600


def read_private_key(path: str, asking: Asking) -> LocalKey:
    """The key in a file.

    Raises NotFound, FormatError for what is no key, AlgorithmRefused for kinds that are not
    allowed, SettingsError for another passphrase and for a plain key that others can read.
    """
    data, mode = _read(path)
    blocks = _blocks(data, path)
    exposed = sys.platform != "win32" and mode & 0o077
    if exposed and blocks[0][0] in PLAIN:
        error = SettingsError(f"{path} is not encrypted, and can be read or changed by others")
        error.add_note(f"chmod 600 {path}")
        raise error
    if exposed:
        asking.notice(f"{path} can be read or changed by others: chmod 600 {path}")
    return _decode(blocks, asking, path)


def decode_private_key(data: bytes, asking: Asking, what: str) -> LocalKey:
    """The key in the PEM text `data`; see `read_private_key`."""
    return _decode(_blocks(data, what), asking, what)


def encode_private_key(key: LocalKey, passphrase: bytes | None, *, as_cosign: bool) -> bytes:
    """PEM of a key.

    Args:
        key: any key.
        passphrase: what to encrypt it with; None for no encryption, which cosign has not.
        as_cosign: write it in cosign's form instead of PKCS#8.
    """
    if as_cosign:
        salt, nonce = secrets.token_bytes(cosign.SALT_BYTES), secrets.token_bytes(24)
        body = cosign.seal(key.to_pkcs8(), passphrase or b"", salt=salt, nonce=nonce)
        return encode_pem(cosign.LABELS[0], body).encode("ascii")
    if passphrase is None:
        text = encode_pem("PRIVATE KEY", key.to_pkcs8())
    else:
        salt, iv = secrets.token_bytes(pkcs8.SALT_BYTES), secrets.token_bytes(pkcs8.IV_BYTES)
        text = encode_pem(ENCRYPTED, pkcs8.encrypt(key, passphrase, salt=salt, iv=iv))
    # The public half too: PBES2 does not notice damage, and any 32 bytes are an Ed25519 key.
    return (text + key.public_key.to_pem()).encode("ascii")


def write_key_pair(name: str, private_pem: bytes, public_pem: str) -> tuple[str, str]:
    """Write NAME.key, mode 0600, and NAME.pub, mode 0644; gives both names.

    Nothing is replaced: a key that is gone can't be made again. Raises RequestRejected,
    SettingsError.
    """
    private, public = f"{name}.key", f"{name}.pub"
    check_free(private, public)
    create_file(private, private_pem, _PRIVATE_MODE)
    create_file(public, public_pem.encode("ascii"), _PUBLIC_MODE)
    return private, public


def check_free(*paths: str) -> None:
    """Raises RequestRejected if one of the files exists."""
    for path in paths:
        if os.path.lexists(path):
            error = RequestRejected(f"{path} exists already")
            error.add_note("name another file; a key is never replaced")
            raise error


def create_file(path: str, data: bytes, mode: int = _PUBLIC_MODE) -> None:
    """Write a file that does not exist yet, whole or not at all, with that mode from the start;
    durable on return.

    Raises RequestRejected if it exists, SettingsError.
    """
    beside = f"{path}.{secrets.token_hex(4)}.new"
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _give_name(beside, path)
        finally:
            if os.path.lexists(beside):
                os.unlink(beside)
        sync_folder(os.path.dirname(os.path.abspath(path)))
    except FileExistsError as error:
        raise RequestRejected(f"{path} exists already") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error


def _give_name(beside: str, path: str) -> None:
    """Give the file its name unless something has it; no moment shows half of it."""
    if sys.platform == "win32":
        os.rename(beside, path)  # which refuses there if the name is taken
        return
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.rename(beside, path)


def _read(path: str) -> tuple[bytes, int]:
    try:
        with open(path, "rb") as file:
            # Asked of the open file: what is checked is what is read.
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFound(f"there is no key file {path}") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise FormatError(path, f"is larger than {MAX_FILE_BYTES} bytes")
    return data, mode


def _blocks(data: bytes, what: str) -> list[tuple[str, bytes]]:
    try:
        blocks = decode_pem_blocks(data.decode("ascii"), what)
    except UnicodeDecodeError as error:
        raise FormatError(what, "is not PEM") from error
    # `openssl ecparam -genkey` says the curve in a block of its own; the key says it again.
    blocks = [block for block in blocks if block[0] != "EC PARAMETERS"]
    if not blocks:
        raise FormatError(what, "holds no key")
    return blocks


def _decode(blocks: list[tuple[str, bytes]], asking: Asking, what: str) -> LocalKey:
    (label, data), *others = blocks
    if label in PLAIN:
        key = LocalKey.from_der(data, what)
    elif label == ENCRYPTED:
        key = pkcs8.decrypt(data, asking.passphrase(what), what)
    elif label in cosign.LABELS:
        key = LocalKey.from_der(cosign.unseal(data, asking.passphrase(what), what), what)
    elif label == "PUBLIC KEY":
        raise RequestRejected(f"{what} is a public key; signing needs the private one")
    else:
        raise FormatError(what, f"is a PEM {label[:40]!r} block, and no private key that we read")
    if others not in ([], [("PUBLIC KEY", key.public_key.spki)]):
        raise FormatError(what, "is damaged: its private and public halves differ")
    return key

# SPDX-License-Identifier: Apache-2.0
"""Where the online keys of an instance are: in encrypted files, or in a PKCS#11 token.

With a token (``keys/key-store`` holds its URI), the ECDSA keys are made in it and stay there: those
that certify, timestamp and log. The login's RSA key and the trust root's Ed25519 key stay in files,
since tokens differ in what they do with these. A key's file then says which key of the token it is,
and its public half: PEM ``COUNTERMARK TOKEN KEY`` (the URI) and ``PUBLIC KEY``.
"""

import secrets
from pathlib import Path
from typing import Final

from countermark.client.keys.asking import Asking
from countermark.client.keys.key import CheckedKey
from countermark.client.keys.pkcs11_uri import KeyURI
from countermark.core.crypto.keys import PublicKey, decode_pem_blocks, encode_pem
from countermark.core.encoding import from_utf8
from countermark.core.errors import FormatError, RequestRejected, SettingsError
from countermark.drivers.durable import SECRET, create_file, read_secret
from countermark.drivers.keys.file import P256, P384, create_key, load_signer
from countermark.ports.signer import Signer


def _stop(message: str) -> None:
    error = SettingsError(f"{message}, and nobody is here to see to that")
    error.add_note("log in to the token once with the right PIN by its own tool, then start again")
    raise error


UNATTENDED: Final = Asking(notice=_stop)
"""Whoever starts an instance again and again must not lock its token with a wrong PIN."""
STORE_FILE: Final = "key-store"
_LABEL: Final = "COUNTERMARK TOKEN KEY"
_IN_TOKENS: Final = (P256, P384)


def use_token(keys: Path, reference: str) -> None:
    """Have the keys of a new instance made in a token. Nothing is made yet.

    Args:
        keys: the folder of the online keys.
        reference: URI of the token, with its library (or that of COUNTERMARK_PKCS11_MODULE);
            the PIN from a file (``pin-source``) or COUNTERMARK_PKCS11_PIN at every start.

    Raises SettingsError, FormatError, NotFound if there is no such token.
    """
    from countermark.client.keys.pkcs11_token import find_token, library_path

    try:
        uri = KeyURI.parse(reference)
    except RequestRejected as error:
        raise SettingsError(str(error)) from error
    if uri.pin is not None:
        refusal = SettingsError("a token's PIN does not belong into an instance's settings")
        refusal.add_note("name a file with pin-source=, or set COUNTERMARK_PKCS11_PIN")
        raise refusal
    if uri.label is not None or uri.key_id is not None:
        raise SettingsError("the key store is a token, and not a key: leave out object and id")
    kept = uri._replace(module_path=library_path(uri))
    find_token(kept)
    create_file(keys / STORE_FILE, f"{kept.to_text()}\n".encode(), SECRET)


def create_online_key(file: Path, kind: str, passphrase: bytes) -> Signer:
    """Make a key where this instance keeps its keys; see `drivers.keys.file.create_key`."""
    token = _token(file.parent)
    if token is None or kind not in _IN_TOKENS:
        return create_key(file, kind, passphrase)
    from countermark.client.keys.pkcs11 import generate_token_key

    # By its id alone: a run that was killed leaves keys behind that nobody was told of.
    named = token._replace(label=f"countermark {file.stem}", key_id=secrets.token_bytes(8))
    _, public_key = generate_token_key(named, kind, UNATTENDED)
    uri = token._replace(key_id=named.key_id)
    text = encode_pem(_LABEL, str(uri).encode()) + public_key.to_pem()
    create_file(file, text.encode("ascii"), SECRET)
    return load_online_key(file, passphrase)


def load_online_key(file: Path, passphrase: bytes) -> Signer:
    """A key of the instance. Raises SettingsError, FormatError, NotFound, UpstreamDown."""
    token = _token(file.parent)
    if token is None:
        return load_signer(file, passphrase)
    blocks = decode_pem_blocks(from_utf8(read_secret(file), file.name), file.name)
    if blocks[0][0] != _LABEL:
        return load_signer(file, passphrase)
    from countermark.client.keys.pkcs11 import open_token_key

    named = KeyURI.parse(from_utf8(blocks[0][1], file.name))
    if [label for label, _ in blocks[1:]] != ["PUBLIC KEY"] or named.key_id is None:
        raise FormatError(file.name, "does not name a key of a token")
    expected = PublicKey.from_spki(blocks[1][1], file.name)
    key = open_token_key(token._replace(key_id=named.key_id), UNATTENDED)
    if key.public_key != expected:
        raise SettingsError(f"the token's key for {file.stem} is another one than {file} says")
    return CheckedKey(key)


def _token(keys: Path) -> KeyURI | None:
    file = keys / STORE_FILE
    if not file.exists():
        return None
    return KeyURI.parse(from_utf8(read_secret(file), file.name).strip())

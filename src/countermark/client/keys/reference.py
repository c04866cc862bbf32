# SPDX-License-Identifier: Apache-2.0
"""Key references, as people write them after ``--key``, and the keys that they name.

A path, ``env://NAME`` (PEM in a variable), ``pkcs11:…``, or the URI of a key service. A module that
speaks to a device or a service is imported when a reference asks for it.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Final

from countermark.client.credential import SigningKey
from countermark.client.keys.asking import Asking
from countermark.client.keys.key import CheckedKey
from countermark.core.crypto.keys import PublicKey, decode_pem_blocks
from countermark.core.errors import FormatError, NotFound, RequestRejected

_NOBODY: Final = Asking()
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://", re.ASCII)
_ENV: Final = "env://"
_FORMS: Final = "a file, env://NAME, pkcs11:…, awskms://, gcpkms://, azurekms://, hashivault://"


def open_key(
    reference: str, asking: Asking = _NOBODY, environ: Mapping[str, str] = os.environ
) -> CheckedKey:
    """The private key that a reference names; what it signs is verified at once.

    Args:
        reference: see above.
        asking: for passphrases and PINs.
        environ: for ``env://``.

    Raises NotFound, FormatError, RequestRejected, AlgorithmRefused, SettingsError, Unavailable.
    """
    return CheckedKey(_open(reference, asking, environ))


def public_key(
    reference: str, asking: Asking = _NOBODY, environ: Mapping[str, str] = os.environ
) -> PublicKey:
    """The public key that a reference names: PEM, or the public half of what a device holds.

    Raises as `open_key` does; RequestRejected for a file that holds a private key.
    """
    if is_remote(reference):
        return _open(reference, asking, environ, public=True).public_key
    from countermark.client.keys.files import MAX_FILE_BYTES
    from countermark.client.verify import read_file

    data = _variable(reference, environ) or read_file(reference, MAX_FILE_BYTES)
    try:
        label = decode_pem_blocks(data.decode("ascii"), reference)[0][0]
    except UnicodeDecodeError as error:
        raise FormatError(reference, "is not PEM") from error
    if "PRIVATE KEY" in label:
        refusal = RequestRejected(f"{reference} is a private key; verifying needs the public one")
        refusal.add_note(f"countermark key public --key {reference}")
        raise refusal
    return PublicKey.from_pem(data.decode("ascii"), reference)


def is_remote(reference: str) -> bool:
    """Whether a reference names a key of a device or a service.

    Without a look at the disk: a folder ``hashivault:`` in a stranger's archive must not stand in
    for the service. A file with such a name is written ``./hashivault:/…``.
    """
    if reference.startswith("pkcs11:"):
        return True
    return _SCHEME.match(reference) is not None and not reference.startswith(_ENV)


def _open(
    reference: str, asking: Asking, environ: Mapping[str, str], *, public: bool = False
) -> SigningKey:
    from countermark.client.keys import files

    if reference.startswith("pkcs11:"):
        from countermark.client.keys.pkcs11 import open_token_key

        return open_token_key(reference, asking, environ, public=public)
    if not is_remote(reference):
        data = _variable(reference, environ)
        if data is not None:
            return files.decode_private_key(data, asking, reference)
        return files.read_private_key(reference, asking)
    scheme = reference.partition("://")[0]
    opener = _SERVICES.get(scheme)
    if opener is None:
        error = RequestRejected(f"keys of {scheme[:40]}:// are not supported")
        error.add_note(f"a key is {_FORMS}")
        raise error
    return opener(reference)


def _variable(reference: str, environ: Mapping[str, str]) -> bytes | None:
    """The PEM in a variable; None if a reference names none."""
    if not reference.startswith(_ENV):
        return None
    name = reference.removeprefix(_ENV)
    if not environ.get(name):
        raise NotFound(f"the variable {name[:100]} holds no key")
    return environ[name].encode("utf-8", "replace")


def _aws(reference: str) -> SigningKey:
    from countermark.client.keys.aws import AWSKey

    return AWSKey.open(reference)


def _google(reference: str) -> SigningKey:
    from countermark.client.keys.google import GoogleKey

    return GoogleKey.open(reference)


def _azure(reference: str) -> SigningKey:
    from countermark.client.keys.azure import AzureKey

    return AzureKey.open(reference)


def _vault(reference: str) -> SigningKey:
    from countermark.client.keys.vault import VaultKey

    return VaultKey.open(reference)


_SERVICES: Final[dict[str, Callable[[str], SigningKey]]] = {
    "awskms": _aws,
    "gcpkms": _google,
    "azurekms": _azure,
    "hashivault": _vault,
    "openbao": _vault,
}

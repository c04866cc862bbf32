# SPDX-License-Identifier: Apache-2.0
"""What keys sign verifies; what a key got wrong is found out before anybody sees it."""

import hashlib

import pytest

from countermark.client.keys.ed25519ph import sign_ed25519ph
from countermark.client.keys.key import ED25519, KINDS, P256, CheckedKey, digest_name
from countermark.client.keys.local import LocalKey
from countermark.core.crypto.ed25519ph import verify_ed25519ph
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import SignatureInvalid

MESSAGE = b"a release"


@pytest.mark.parametrize("details", [d for d in KINDS.values() if "4096" not in d])
def test_a_key_signs_messages_and_digests(details: str) -> None:
    key = CheckedKey(LocalKey.generate(details))
    public = key.public_key
    assert public.details == details
    public.verify(key.sign(MESSAGE), MESSAGE)
    digest = hashlib.new(digest_name(public), MESSAGE).digest()
    signature = key.sign_digest(digest)
    if details == ED25519:
        assert verify_ed25519ph(public.spki[-32:], signature, digest)
    else:
        public.verify_digest(signature, digest, digest_name(public))
        public.verify(signature, MESSAGE)


def test_ed25519ph_is_that_of_the_rfc() -> None:
    # RFC 8032 section 7.3, "TEST abc".
    seed = bytes.fromhex("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42")
    assert sign_ed25519ph(seed, hashlib.sha512(b"abc").digest()).hex() == (
        "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
        "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
    )


class Liar:
    """Says one key is its own and signs with another, or spoils what it signs."""

    def __init__(self, details: str, *, spoil: bool) -> None:
        self._key = LocalKey.generate(details)
        self._shown = self._key if spoil else LocalKey.generate(details)
        self._spoil = spoil

    @property
    def public_key(self) -> PublicKey:
        return self._shown.public_key

    def sign(self, message: bytes) -> bytes:
        return self._spoilt(self._key.sign(message))

    def sign_digest(self, digest: bytes) -> bytes:
        return self._spoilt(self._key.sign_digest(digest))

    def _spoilt(self, signature: bytes) -> bytes:
        return signature[:-1] + bytes((signature[-1] ^ 1,)) if self._spoil else signature


@pytest.mark.parametrize("spoil", [True, False], ids=["spoilt", "another key's"])
@pytest.mark.parametrize("details", [P256, KINDS["p521"], ED25519, KINDS["rsa3072"]])
def test_a_wrong_signature_is_not_handed_on(details: str, spoil: bool) -> None:
    key = CheckedKey(Liar(details, spoil=spoil))
    with pytest.raises(SignatureInvalid, match="what the key made"):
        key.sign(MESSAGE)
    with pytest.raises(SignatureInvalid, match="what the key made"):
        key.sign_digest(hashlib.new(digest_name(key.public_key), MESSAGE).digest())


def test_no_key_shows_itself() -> None:
    key = CheckedKey(LocalKey.generate(P256))
    assert repr(key).startswith("CheckedKey(LocalKey(PKIX_ECDSA_P256_SHA_256, ")
    assert len(repr(key)) < 80

# SPDX-License-Identifier: Apache-2.0
"""Making Git signatures: what is signed as an artifact is the bytes of the signed attributes.

A timestamp authority is asked only if the settings say so, as with gitsign: the log's promise
proves the time, a token would double the size of every signature, and gitsign refuses tokens of
authorities that it was not told about.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from countermark.client.certificate import Keyless
from countermark.client.choice import Instance, configured_email
from countermark.client.credential import Credential, CredentialSource
from countermark.client.credential_cache import CachedKey, CredentialCache
from countermark.client.identity import TOKEN_VARIABLE, IdentityToken, has_local_login
from countermark.client.logins import load_email
from countermark.client.sign import Signed, Signer
from countermark.client.transport import Transport
from countermark.core.cms.write import git_signature, signed_attributes

_LEAST_CERTIFICATE_LIFE = timedelta(seconds=30)
_CI_VARIABLES = (
    "CI",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "BUILDKITE",
    "CIRCLECI",
    "SIGSTORE_ID_TOKEN",
)


class GitSigned(NamedTuple):
    """A signature of a commit or tag.

    Attributes:
        armoured: PEM, as Git stores it.
        signed: the bundle that it was made of, and what verifying that found out.
    """

    armoured: str
    signed: Signed

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the signer's certificate, in hex."""
        return hashlib.sha256(self.signed.bundle.certificates[0]).hexdigest()


def sign_payload(
    payload: bytes,
    instance: Instance,
    source: CredentialSource,
    transport: Transport,
    *,
    timestamps: bool = False,
) -> GitSigned:
    """Sign a commit or tag as Git hands it over.

    Args:
        payload: the object without signature.
        instance: the services to sign with.
        source: who signs.
        transport: to share connections with other work.
        timestamps: whether to ask the instance's timestamp authorities too.

    Raises what `Signer.sign` raises.
    """
    if not timestamps:
        services = replace(instance.signing_config, tsa_urls=())
        instance = replace(instance, signing_config=services)
    digest = hashlib.new(source.hash_name, payload).digest()
    attributes = signed_attributes(digest, datetime.now(tz=UTC))
    signed = Signer(instance, source, transport=transport).sign(attributes)
    return GitSigned(git_signature(attributes, signed.bundle), signed)


class CachedCredentials:
    """Credentials out of the cache; one that is not there is obtained and kept there.

    A `CredentialSource` for one signature.
    """

    hash_name = "sha256"

    def __init__(
        self,
        cache: CredentialCache,
        instance: Instance,
        slot: str,
        identify: Callable[[], IdentityToken],
    ) -> None:
        """Nothing is asked yet.

        Args:
            cache: where keys are made and kept.
            instance: whose certificate authority to ask.
            slot: of `cache_slot`.
            identify: has somebody log in, if it must be.
        """
        self._cache = cache
        self._instance = instance
        self._slot = slot
        self._identify = identify

    def current(self, transport: Transport) -> Credential:
        """See `CredentialSource`."""
        held = self._cache.find(self._slot)
        if held is not None:
            key = CachedKey(self._cache, held.key, held.certificate.public_key)
            found = Credential(key, held.certificate)
            if found.good_until(datetime.now(tz=UTC) + _LEAST_CERTIFICATE_LIFE):
                return found
        made: list[CachedKey] = []

        def new_key() -> CachedKey:
            made.append(self._cache.new_key())
            return made[-1]

        fresh = Keyless(self._instance, self._identify(), new_key=new_key).current(transport)
        assert fresh.certificate is not None
        self._cache.keep(self._slot, made[-1].name, fresh.certificate)
        return fresh


def cache_slot(
    instance: Instance,
    *,
    token: str = "",
    email: str = "",
    environ: Mapping[str, str] = os.environ,
) -> str:
    """The name under which the cache keeps what these would lead to; empty if it must not.

    In a CI system every job is somebody else, whatever the machine: nothing is kept there.
    """
    handed = token or environ.get(TOKEN_VARIABLE, "")
    if handed:
        who = ["token", handed]
    elif not email and any(environ.get(name) for name in _CI_VARIABLES):
        return ""
    elif has_local_login(instance):
        who = ["email", email or load_email(instance.name) or configured_email()]
    else:
        who = ["person", email]
    root = hashlib.sha256(instance.trusted_root.serialize()).hexdigest()
    return hashlib.sha256(json.dumps([instance.name, root, *who]).encode()).hexdigest()

# SPDX-License-Identifier: Apache-2.0
"""Signing what Git hands over, as Git's configuration says.

Git's own pipes are in the way of a person: whoever has to log in is asked at the terminal itself.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from countermark.cli.expected import ROOTS
from countermark.cli.options import prompts
from countermark.cli.output import Output
from countermark.client.certificate import Keyless
from countermark.client.choice import Instance, InstanceChoice, choose_instance
from countermark.client.credential import CredentialSource
from countermark.client.credential_cache import running_cache, start_cache
from countermark.client.git.settings import GitSettings, load_settings
from countermark.client.git.sign import CachedCredentials, GitSigned, cache_slot, sign_payload
from countermark.client.git.status import StatusWriter
from countermark.client.identity import IdentityToken, find_identity
from countermark.client.transport import Transport
from countermark.core.errors import CountermarkError

_CHOICES = (*ROOTS, "signing-config")


def sign_for_git(status: StatusWriter, payload: bytes) -> int:
    """Sign `payload`; the signature goes to stdout, status lines where Git reads them."""
    status.begin_signing()
    try:
        made = sign_as_configured(payload, load_settings())
    except CountermarkError as error:
        with _at_terminal() as terminal:  # older versions of Git keep what we say for themselves
            if terminal:
                Output().fail(error)
        raise
    evidence = made.signed.evidence
    status.created(evidence.key, made.fingerprint, datetime.now(tz=UTC))
    sys.stdout.write(made.armoured)
    sys.stdout.flush()
    return 0


def sign_as_configured(payload: bytes, settings: GitSettings, *, email: str = "") -> GitSigned:
    """Sign with the instance, the identity and the cache that the settings name.

    Raises SettingsError, TokenRejected, and what `sign_payload` raises.
    """
    instance = instance_for(settings)
    transport = Transport()
    timestamps = settings.flag("timestamps", default=False)
    source = _source(instance, transport, settings, email or settings.one("email"))
    return sign_payload(payload, instance, source, transport, timestamps=timestamps)


def instance_for(settings: GitSettings) -> Instance:
    """The instance that the environment, else Git's configuration, else the user's own names."""
    variables = [f"COUNTERMARK_{name.upper().replace('-', '_')}" for name in _CHOICES]
    if any(map(os.environ.get, variables)):
        return choose_instance()
    named = {name.replace("-", "_"): settings.one(name) for name in _CHOICES}
    return choose_instance(InstanceChoice(**named))


def _source(
    instance: Instance, transport: Transport, settings: GitSettings, email: str
) -> CredentialSource:
    def identify() -> IdentityToken:
        with _at_terminal():
            asked = prompts(no_browser=False)
            return find_identity(instance, transport, email=email, prompts=asked)

    slot = cache_slot(instance, email=email)
    if slot and settings.flag("cache", default=True):
        # Started only where that was asked for; one that runs is used.
        cache = start_cache() if "cache" in settings.values else running_cache()
        if cache is not None:
            return CachedCredentials(cache, instance, slot, identify)
    return Keyless(instance, identify())


@contextmanager
def _at_terminal() -> Iterator[bool]:
    """Let the person at the terminal be spoken to, while Git has our input and output.

    Gives whether there is a terminal.
    """
    with ExitStack() as stack:
        try:
            reads = stack.enter_context(open("/dev/tty", encoding="utf-8"))
            writes = stack.enter_context(open("/dev/tty", "w", encoding="utf-8", buffering=1))
        except OSError:  # there is no terminal
            yield False
            return
        kept = sys.stdin, sys.stderr
        sys.stdin, sys.stderr = reads, writes
        try:
            yield True
        finally:
            sys.stdin, sys.stderr = kept

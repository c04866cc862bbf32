# SPDX-License-Identifier: Apache-2.0
"""Signatures of commits and tags, the log entry inside them, and the objects themselves."""

import hashlib

from countermark.client.git.objects import parse_object
from countermark.client.git.settings import parse_settings
from countermark.client.git.verify import verify_signature
from countermark.client.verify import Root
from countermark.core.cms.entry import encode_entry, parse_entry
from countermark.core.cms.git_signature import GitSignature
from countermark.core.cms.signed_data import parse_signed_data
from countermark.core.errors import (
    AlgorithmRefused,
    FormatError,
    NotFound,
    SettingsError,
    VerificationError,
)
from countermark.core.verify.policy import UnsafeAnyIdentity
from fuzz.context import trusted_root
from fuzz.target import Refusals, Target

PAYLOAD = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nwhat was committed\n"


def _signature(data: bytes) -> bool:
    taken = False
    with Refusals(FormatError):
        read = parse_signed_data(data)
        assert read.signature in data
        assert read.signed_bytes[1:] in data
        taken = True
    with Refusals(FormatError):
        signature = GitSignature.parse(data)
        taken = True
        with Refusals(FormatError, VerificationError, AlgorithmRefused):
            root = Root("root", trusted_root())
            evidence = verify_signature(PAYLOAD, signature, UnsafeAnyIdentity(), root=root)
            assert evidence.signer is not None
    return taken


def _entry(data: bytes) -> bool:
    with Refusals(FormatError):
        entry = parse_entry(data)
        bare = entry._replace(canonicalized_body=b"")
        assert parse_entry(encode_entry(bare)) == bare
        return True
    return False


def _object(data: bytes) -> bool:
    taken = False
    for kind in ("commit", "tag"):
        head = f"{kind} {len(data)}\0".encode()
        for hash_name in ("sha1", "sha256"):
            oid = hashlib.new(hash_name, head + data).hexdigest()
            with Refusals(FormatError, NotFound):
                found = parse_object(oid, kind, data)
                assert found.signature.startswith(b"-----BEGIN SIGNED MESSAGE-----")
                assert b"\ngpgsig " not in found.payload.partition(b"\n\n")[0]
                taken = True
    with Refusals(FormatError, SettingsError):
        parse_settings(data)
    return taken


TARGETS = (
    Target("git-signature", _signature),
    Target("git-entry", _entry, 4096),
    Target("git-object", _object, 8192),
)

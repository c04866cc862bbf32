# SPDX-License-Identifier: Apache-2.0
"""What fuzzing found and no test of a single module shows."""

import json
import time
from collections.abc import Callable

import pytest

from countermark.core.crypto.certificate import parse_pem_certificates
from countermark.core.crypto.keys import PublicKey, encode_pem
from countermark.core.errors import CountermarkError, RequestRejected
from countermark.core.identity.uri import printed_uri
from countermark.core.rekor.stored import stored_search_keys
from countermark.core.verify.artifact import BytesArtifact
from countermark.core.verify.pattern import Pattern
from countermark.core.verify.policy import UnsafeAnyIdentity
from countermark.core.verify.verifier import verify
from countermark.core.wire.fulcio import parse_signing_cert_response
from tests.support.forge import ARTIFACT, Forge

LONG = "A" * 20_000


def _entry_of_a_long_kind() -> None:
    stored_search_keys(json.dumps({"kind": LONG, "apiVersion": LONG, "spec": {}}).encode())


def _checkpoint_of_a_long_name() -> None:
    forge = Forge()
    bundle = forge.bundle(promise=False)
    entry = bundle.tlog_entries[0]
    assert entry.inclusion_proof is not None
    note = entry.inclusion_proof.checkpoint.replace("log.example.org", LONG)
    proof = entry.inclusion_proof._replace(checkpoint=note)
    entries = (entry._replace(inclusion_proof=proof),)
    changed = bundle._replace(tlog_entries=entries)
    verify(changed, BytesArtifact(ARTIFACT), forge.trusted_root(), UnsafeAnyIdentity())


def _bundle_with_an_entry_of_a_long_kind() -> None:
    forge = Forge()
    bundle = forge.bundle()
    entries = (bundle.tlog_entries[0]._replace(kind=LONG),)
    changed = bundle._replace(tlog_entries=entries)
    verify(changed, BytesArtifact(ARTIFACT), forge.trusted_root(), UnsafeAnyIdentity())


def _log_of_a_long_url() -> None:
    log = Forge().trusted_root().tlogs[0]
    assert log._replace(base_url=LONG, key_details=LONG).public_key


def _authority_of_a_long_url() -> None:
    authority = Forge().trusted_root().certificate_authorities[0]
    assert authority._replace(uri=LONG, chain=(b"x",)).certificates


@pytest.mark.parametrize(
    "parse",
    [
        _entry_of_a_long_kind,
        _bundle_with_an_entry_of_a_long_kind,
        _checkpoint_of_a_long_name,
        _log_of_a_long_url,
        _authority_of_a_long_url,
        lambda: printed_uri("https://github.com", "/" + LONG + "\x00" * 5000),
        lambda: parse_pem_certificates(encode_pem(LONG, b"x")),
        lambda: PublicKey.from_pem(encode_pem(LONG, b"x")),
        lambda: parse_signing_cert_response(
            json.dumps(
                {
                    "signedCertificateEmbeddedSct": {
                        "chain": {"certificates": [encode_pem(LONG, b"x")]}
                    }
                }
            ).encode()
        ),
    ],
    ids=["kind", "entry", "checkpoint", "log", "authority", "uri", "certificates", "key", "chain"],
)
def test_errors_do_not_repeat_long_texts(parse: Callable[[], object]) -> None:
    with pytest.raises(CountermarkError) as caught:
        parse()
    assert len(str(caught.value)) < 4000


@pytest.mark.parametrize(
    "pattern",
    ["(((){9999}){9999}){9999}", "((x{0}){9999}){9999}", "(){9999}" * 100, "((|){99}){999}"],
)
def test_patterns_that_repeat_nothing_are_compiled_soon(pattern: str) -> None:
    started = time.process_time()
    with pytest.raises(RequestRejected, match="is too large"):
        Pattern(pattern)
    assert time.process_time() - started < 1

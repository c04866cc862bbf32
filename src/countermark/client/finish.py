# SPDX-License-Identifier: Apache-2.0
"""Making a bundle of a signature: timestamps over it, log entries of it, and a look at the whole.

Which services, and how many of them, is the signing config's word (`select_candidates`). One that
can't be reached is replaced by another operator's where the config leaves the choice.
"""

import hashlib
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from countermark.client.choice import Instance
from countermark.client.deadline import Deadline
from countermark.client.submit import request_timestamp, submit_entry
from countermark.client.transport import Transport
from countermark.core.bundle.bundle import HASH_ALGORITHMS, Bundle, TransparencyLogEntry
from countermark.core.bundle.signing_config import Candidates, select_candidates
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import to_base64
from countermark.core.errors import Pushback, TimeUnproven, Unavailable, UpstreamDown
from countermark.core.intoto.envelope import Envelope
from countermark.core.tsp.request import TimestampRequest
from countermark.core.tsp.verify import verify_timestamp
from countermark.core.verify.artifact import Artifact
from countermark.core.verify.evidence import Evidence
from countermark.core.verify.policy import Policy
from countermark.core.verify.verifier import verify
from countermark.core.wire import rekor_v1

_NONCE_BITS = 64
_LOG_VERSIONS, _TSA_VERSIONS = (1,), (1,)
T = TypeVar("T")


class Signed(NamedTuple):
    """A bundle, and what verifying it found out: who, when, which log, which checks."""

    bundle: Bundle
    evidence: Evidence


class Prepared(NamedTuple):
    """A signature that is made and timestamped, and on no log yet.

    Attributes:
        bundle: all but its log entries.
        verifier_pem: what the log is to be told: certificate or public key.
        artifact: what was signed.
        policy: what the finished bundle must verify under.
        deadline: when the time for this signature is over; None if it begins anew.
    """

    bundle: Bundle
    verifier_pem: str
    artifact: Artifact
    policy: Policy | PublicKey
    deadline: Deadline | None = None


def stamp(instance: Instance, bundle: Bundle, transport: Transport) -> Bundle:
    """`bundle` with the timestamps that the signing config asks for; none if it names no TSA.

    Raises Unavailable if too few authorities answer, RequestRejected if one refuses,
    VerificationError if one can't be believed: nothing should be logged with its word.
    """
    services = instance.signing_config
    if not services.tsa_urls:
        return bundle
    chosen = select_candidates(
        services.tsa_urls,
        services.tsa_config,
        "timestamp authority",
        supported=_TSA_VERSIONS,
        now=datetime.now(tz=UTC),
    )
    authorities = instance.trusted_root.timestamp_authorities
    imprint = hashlib.sha256(bundle.signature).digest()

    def ask(url: str, budgeted: Transport) -> bytes:
        nonce = secrets.randbits(_NONCE_BITS)
        request = TimestampRequest("sha256", imprint, nonce=nonce, certificates=True)
        token = request_timestamp(budgeted, url, request)
        if not authorities:
            raise TimeUnproven("the trusted root lists no timestamp authority")
        verify_timestamp(token, bundle.signature, authorities)
        return token

    return bundle._replace(timestamps=_of_enough(chosen, transport, ask))


def enter(instance: Instance, prepared: Prepared, transport: Transport) -> Bundle:
    """The bundle with the log entries that the signing config asks for.

    Raises Unavailable if too few logs answer, RequestRejected if one refuses.
    """
    services = instance.signing_config
    chosen = select_candidates(
        services.rekor_tlog_urls,
        services.rekor_tlog_config,
        "transparency log",
        supported=_LOG_VERSIONS,
        now=datetime.now(tz=UTC),
    )
    proposal = _proposal(prepared)

    def submit(url: str, budgeted: Transport) -> TransparencyLogEntry:
        return submit_entry(budgeted, url, proposal)

    return prepared.bundle._replace(tlog_entries=_of_enough(chosen, transport, submit))


def check_whole(instance: Instance, prepared: Prepared, bundle: Bundle) -> Signed:
    """Verify the finished bundle, so that nobody gets one that does not.

    Raises VerificationError or FormatError.
    """
    evidence = verify(bundle, prepared.artifact, instance.trusted_root, prepared.policy)
    return Signed(bundle, evidence)


def _of_enough(
    chosen: Candidates, transport: Transport, call: Callable[[str, Transport], T]
) -> tuple[T, ...]:
    """Answers of as many services as are needed, asked in order of preference."""
    answers: list[T] = []
    failures: list[Unavailable] = []
    for number, service in enumerate(chosen.services):
        others = len(chosen.services) - number - 1
        spare = others - (chosen.needed - len(answers) - 1)
        try:
            answers.append(call(service.url, transport.sharing(others if spare else 0)))
        except Unavailable as error:
            failures.append(error)
            if not spare:
                raise _all(failures) from error
        if len(answers) == chosen.needed:
            break
    return tuple(answers)


def _all(failures: list[Unavailable]) -> Unavailable:
    """One error for all services that did not do their part."""
    if len(failures) == 1:
        return failures[0]
    message = "; ".join(map(str, failures))
    waits = [error.retry_after_s for error in failures if isinstance(error, Pushback)]
    return Pushback(message, min(waits)) if waits else UpstreamDown(message)


def _proposal(prepared: Prepared) -> bytes:
    content = prepared.bundle.content
    if isinstance(content, Envelope):
        return rekor_v1.proposed_dsse(_envelope_json(content), [prepared.verifier_pem])
    hash_name = HASH_ALGORITHMS[content.hash_algorithm]
    return rekor_v1.proposed_hashedrekord(
        hash_name, content.digest.hex(), content.signature, prepared.verifier_pem
    )


def _envelope_json(envelope: Envelope) -> str:
    return json.dumps(
        {
            "payload": to_base64(envelope.payload),
            "payloadType": envelope.payload_type,
            "signatures": [
                {"sig": to_base64(item.sig)} | ({"keyid": item.keyid} if item.keyid else {})
                for item in envelope.signatures
            ],
        }
    )

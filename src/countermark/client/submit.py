# SPDX-License-Identifier: Apache-2.0
"""The three calls of signing: a certificate, a timestamp, a log entry.

Replies are read, not believed: the signer verifies what came back before it is used or kept.
"""

from urllib.parse import urljoin, urlsplit

from countermark.client.transport import Reply, Transport, check
from countermark.core.bundle.bundle import TransparencyLogEntry
from countermark.core.errors import FormatError
from countermark.core.tsp.request import TimestampRequest
from countermark.core.wire import fulcio, rekor_v1, tsa

_CA = "the certificate authority"
_LOG = "the transparency log"
_TSA = "the timestamp authority"
_JSON = "application/json"


def request_certificate(
    transport: Transport, url: str, *, token: str, public_key_pem: str, proof: bytes
) -> tuple[bytes, ...]:
    """Certificates as DER, leaf first, for the holder of `token` and of the key.

    Args:
        transport: how to reach it.
        url: the authority's base URL.
        token: identity token.
        public_key_pem: the key to be certified.
        proof: signature by that key over the token's subject.

    Raises RequestRejected with the authority's own words, Unavailable, FormatError.
    """
    reply = transport.post(
        url.rstrip("/") + "/api/v2/signingCert",
        _CA,
        fulcio.signing_cert_request(token, public_key_pem, proof),
        content_type=_JSON,
        headers={"Accept": _JSON},
    )
    check(reply, _CA, fulcio.error_message(reply.body))
    return fulcio.parse_signing_cert_response(reply.body)


def request_timestamp(transport: Transport, url: str, request: TimestampRequest) -> bytes:
    """A DER TimeStampResp. `url` is the full endpoint, as signing configs have it."""
    reply = transport.post(url, _TSA, request.serialize(), content_type=tsa.QUERY_TYPE)
    if reply.status not in tsa.SUCCESS:
        check(reply, _TSA, tsa.Refusal.parse(reply.body, reply.status).message)
    return reply.body


def submit_entry(transport: Transport, url: str, proposal: bytes) -> TransparencyLogEntry:
    """Log `proposal` (of `core.wire.rekor_v1`); an entry that is there already is fetched.

    Args:
        transport: how to reach it.
        url: the log's base URL.
        proposal: body of the POST.
    """
    entries = url.rstrip("/") + "/api/v1/log/entries"
    reply = transport.post(entries, _LOG, proposal, content_type=_JSON, headers={"Accept": _JSON})
    if reply.status == 409:  # our own POST arrived earlier, and its answer was lost
        reply = transport.get(_location(reply, entries), _LOG, headers={"Accept": _JSON})
    check(reply, _LOG, rekor_v1.parse_error(reply.body))
    return rekor_v1.parse_log_entry(reply.body).entry


def _location(reply: Reply, base: str) -> str:
    try:
        target = urljoin(base, reply.headers.get("location", ""))
        if urlsplit(target)[:2] == urlsplit(base)[:2] and target != base:
            return target
    except ValueError:
        pass
    raise FormatError(_LOG, "has this entry already but does not say where")

# SPDX-License-Identifier: Apache-2.0
"""The timestamp authority's HTTP API, for both sides: RFC 3161 queries, and sigstore-js's JSON.

A query is DER (see `core.tsp.request`) or this JSON::

    {"artifactHash": "<base64>", "hashAlgorithm": "sha256", "certificates": false,
     "nonce": 7, "tsaPolicyOID": "1.3.6.1.4.1.57264.2"}

The reply is a DER TimeStampResp with 200 or 201; a refusal is JSON with its own status, never a
DER rejection. Clients must look at the status first: upstream mislabels some refusals.
"""

import json
from typing import Any, NoReturn, TypeVar

import msgspec

from countermark.core.encoding import from_base64_bits, to_base64
from countermark.core.errors import AlgorithmRefused, FormatError
from countermark.core.tsp.request import WEAK_HASH, TimestampRequest

TIMESTAMP_PATH = "/api/v1/timestamp"
CERTCHAIN_PATH = "/api/v1/timestamp/certchain"
QUERY_TYPE = "application/timestamp-query"
REPLY_TYPE = "application/timestamp-reply"
JSON_TYPE = "application/json"
CHAIN_TYPE = "application/pem-certificate-chain"
SUCCESS = (200, 201)  # 201 before timestamp-authority v2.0.0
MAX_JSON_BYTES = 1024

T = TypeVar("T", bool, int, str)
_WHAT = "timestamp request"
_REFUSED = "Error generating timestamp response"
_MAX_ERROR_BYTES = 64 * 1024


class Refusal(msgspec.Struct, frozen=True):
    """The JSON body of every error: the HTTP status (or go-swagger's own code), and why."""

    code: int
    message: str

    @classmethod
    def parse(cls, data: bytes, status: int) -> "Refusal":
        """Read an error body; one that is not JSON (a proxy's page) still has its status."""
        try:
            return msgspec.json.decode(data[:_MAX_ERROR_BYTES], type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return cls(status, f"the timestamp authority answered with status {status}")

    def serialize(self) -> bytes:
        """Encode as upstream does, newline included."""
        return msgspec.json.encode(self) + b"\n"


EMPTY_BODY = Refusal(602, "request in body is required")
UNREADABLE = Refusal(400, _REFUSED)
TOO_LARGE = Refusal(400, "timestamp request is too large")


def unsupported_type(media_type: str) -> Refusal:
    """The refusal of a body that is neither DER nor JSON, sent with status 415."""
    offered = f'["{QUERY_TYPE}" "{JSON_TYPE}"]'
    return Refusal(415, f'unsupported media type "{media_type[:64]}", only {offered} are allowed')


def request_from_json(data: bytes) -> TimestampRequest:
    """Read the JSON form, as leniently as Go does: names in any case, unknown ones ignored.

    Raises AlgorithmRefused for SHA-1, RequestRejected for a digest of the wrong length, and
    FormatError for everything else.
    """
    if len(data) > MAX_JSON_BYTES:
        raise FormatError(_WHAT, f"is larger than {MAX_JSON_BYTES} bytes of JSON")
    fields = _fields(data)
    hash_name = (_field(fields, "hashAlgorithm", str) or "").lower()
    if hash_name == "sha1":
        raise AlgorithmRefused(WEAK_HASH)
    text = (_field(fields, "artifactHash", str) or "").replace("\r", "").replace("\n", "")
    return TimestampRequest(
        hash_name,
        from_base64_bits(text, "artifactHash"),
        nonce=_field(fields, "nonce", int),
        policy=_field(fields, "tsaPolicyOID", str) or None,
        certificates=_field(fields, "certificates", bool) or False,
    )


def request_to_json(request: TimestampRequest) -> bytes:
    """Encode in the JSON form, so that ``request_from_json(request_to_json(r)) == r``."""
    fields: dict[str, Any] = {
        "artifactHash": to_base64(request.digest),
        "hashAlgorithm": request.hash_name,
    }
    if request.certificates:
        fields["certificates"] = True
    if request.nonce is not None:
        fields["nonce"] = request.nonce
    if request.policy is not None:
        fields["tsaPolicyOID"] = request.policy
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def _fields(data: bytes) -> dict[str, Any]:
    try:
        # The standard reader, since a nonce may have more than 64 bits.
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(_WHAT, "is not JSON") from error
    if not isinstance(value, dict):
        raise FormatError(_WHAT, "is not a JSON object")
    return {name.lower(): field for name, field in value.items()}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _field(fields: dict[str, Any], name: str, kind: type[T]) -> T | None:
    value = fields.get(name.lower())
    if value is None:
        return None
    if type(value) is not kind:
        raise FormatError(_WHAT, f"{name} is of the wrong JSON type")
    return value

# SPDX-License-Identifier: Apache-2.0
"""Reading canonical bodies back out of a log."""

from typing import Final

import msgspec

from countermark.core.encoding import from_base64
from countermark.core.errors import FormatError
from countermark.core.rekor import dsse_entry, hashedrekord, intoto_proposal
from countermark.core.rekor.entry import EntryRejected, search_key
from countermark.core.rekor.verifiers import read_verifier


class _Body(msgspec.Struct):
    kind: str
    version: str = msgspec.field(name="apiVersion")
    spec: msgspec.Raw


class _Hash(msgspec.Struct):
    algorithm: str
    value: str


class _Data(msgspec.Struct):
    hash: _Hash


class _PublicKey(msgspec.Struct):
    content: str


class _Signature(msgspec.Struct):
    public_key: _PublicKey = msgspec.field(name="publicKey")


class _HashedRekord(msgspec.Struct):
    data: _Data
    signature: _Signature


class _EnvelopeSignature(msgspec.Struct):
    verifier: str


class _DSSE(msgspec.Struct):
    envelope_hash: _Hash = msgspec.field(name="envelopeHash")
    payload_hash: _Hash = msgspec.field(name="payloadHash")
    signatures: list[_EnvelopeSignature]


class _KeyedSignature(msgspec.Struct):
    public_key: str = msgspec.field(name="publicKey")


class _KeyedEnvelope(msgspec.Struct):
    signatures: list[_KeyedSignature]


class _InTotoContent(msgspec.Struct):
    envelope: _KeyedEnvelope
    payload_hash: _Hash = msgspec.field(name="payloadHash")


class _InToto(msgspec.Struct):
    content: _InTotoContent


_decode_body: Final = msgspec.json.Decoder(_Body).decode
_decode_hashedrekord: Final = msgspec.json.Decoder(_HashedRekord).decode
_decode_dsse: Final = msgspec.json.Decoder(_DSSE).decode
_decode_intoto: Final = msgspec.json.Decoder(_InToto).decode


def stored_search_keys(body: bytes) -> tuple[bytes, ...]:
    """The search keys that a canonical body alone yields: of its keys, certificates and hashes.

    For `dsse` and `intoto` the log may know more, from the statement that is not kept. Verifies
    nothing. Raises FormatError.
    """
    try:
        kind = _decode_body(body)
        if (kind.kind, kind.version) == (hashedrekord.KIND, hashedrekord.VERSION):
            record = _decode_hashedrekord(kind.spec)
            hashes, verifiers = [record.data.hash], [record.signature.public_key.content]
        elif (kind.kind, kind.version) == (dsse_entry.KIND, dsse_entry.VERSION):
            dsse = _decode_dsse(kind.spec)
            hashes = [dsse.envelope_hash, dsse.payload_hash]
            verifiers = [signature.verifier for signature in dsse.signatures]
        elif (kind.kind, kind.version) == (intoto_proposal.KIND, intoto_proposal.VERSION):
            content = _decode_intoto(kind.spec).content
            hashes = [content.payload_hash]
            verifiers = [signature.public_key for signature in content.envelope.signatures]
        else:
            raise FormatError("log entry", f"is a {kind.kind[:40]} {kind.version[:40]}")
    except (ValueError, RecursionError) as error:
        raise FormatError("log entry", str(error)) from error
    keys = {search_key(f"{item.algorithm}:{item.value}"): None for item in hashes}
    for verifier in verifiers:
        try:
            found = read_verifier(from_base64(verifier, "verifier"))
        except EntryRejected as error:
            raise FormatError("log entry", str(error)) from error
        keys.update(dict.fromkeys(found.search_keys))
    return tuple(keys)

# SPDX-License-Identifier: Apache-2.0
"""Entries of API v1 about envelopes: dsse 0.0.1, and intoto 0.0.1 and 0.0.2 of older clients."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable
from typing import TypeAlias

from countermark.core.bundle import protojson
from countermark.core.bundle.protojson import JSONObject
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import InclusionInvalid
from countermark.core.intoto.envelope import Envelope
from countermark.core.verify.content import envelope_uses
from countermark.core.verify.recorded import Signed, check_signature, check_verifier

_PLAIN = re.compile(r"[A-Za-z0-9 !#-%'-;=?@\[\]^-~]*", re.ASCII)
BodyCheck: TypeAlias = Callable[[JSONObject, Signed], tuple[PublicKey, ...]]


def _check_dsse(spec: JSONObject, signed: Signed) -> tuple[PublicKey, ...]:
    # envelopeHash is over the bytes as submitted, which a bundle does not keep.
    assert isinstance(signed.content, Envelope)
    _check_payload_hash(spec, signed.content)
    signatures = protojson.objects(spec, "signatures", limit=16)
    if len(signatures) != 1:
        raise InclusionInvalid(f"the log entry has {len(signatures)} signatures instead of one")
    check_signature(protojson.text(signatures[0], "signature"), signed)
    check_verifier(protojson.text(signatures[0], "verifier"), signed)
    return envelope_uses(signed.key)


def _check_intoto_v1(spec: JSONObject, signed: Signed) -> tuple[PublicKey, ...]:
    """intoto 0.0.1 keeps no signature: only the hash of the whole envelope ties it to one.

    That is over the bytes as they were submitted, so just the spelling of the clients of that
    time (Go's) is taken, with and without an empty keyid.
    """
    assert isinstance(signed.content, Envelope)
    content = protojson.required_object(spec, "content")
    _check_payload_hash(content, signed.content)
    check_verifier(protojson.text(spec, "publicKey"), signed)
    recorded = protojson.required_object(content, "hash")
    ours = [hashlib.sha256(text).hexdigest() for text in _go_spellings(signed.content)]
    if protojson.text(recorded, "algorithm") != "sha256":
        raise InclusionInvalid("the log entry does not hash its envelope with SHA-256")
    if protojson.text(recorded, "value") not in ours:
        raise InclusionInvalid(
            "the log entry records another signature, or an envelope spelt otherwise",
            found=f"envelope sha256:{protojson.text(recorded, 'value')[:64]}",
            expected=f"envelope sha256:{ours[0]}",
        )
    return envelope_uses(signed.key)


def _go_spellings(envelope: Envelope) -> list[bytes]:
    signature = envelope.signatures[0]
    if not (_PLAIN.fullmatch(envelope.payload_type) and _PLAIN.fullmatch(signature.keyid)):
        return [b""]  # what JSON would have to escape: nobody's, and a way to spell another
    keyids = [signature.keyid] if signature.keyid else ["", None]
    texts = []
    for keyid in keyids:
        named = b"" if keyid is None else b'"keyid":"%b",' % keyid.encode("utf-8")
        texts.append(
            b'{"payloadType":"%b","payload":"%b","signatures":[{%b"sig":"%b"}]}'
            % (
                envelope.payload_type.encode("utf-8"),
                b64encode(envelope.payload),
                named,
                b64encode(signature.sig),
            )
        )
    return texts


def _check_intoto_v2(spec: JSONObject, signed: Signed) -> tuple[PublicKey, ...]:
    assert isinstance(signed.content, Envelope)
    content = protojson.required_object(spec, "content")
    _check_payload_hash(content, signed.content)
    envelope = protojson.required_object(content, "envelope")
    payload_type = protojson.text(envelope, "payloadType")
    if payload_type != signed.content.payload_type:
        raise InclusionInvalid(
            "the log entry is about another type of payload",
            found=payload_type[:200],
            expected=signed.content.payload_type[:200],
        )
    signatures = protojson.objects(envelope, "signatures", limit=16)
    if len(signatures) != 1:
        raise InclusionInvalid(f"the log entry has {len(signatures)} signatures instead of one")
    twice = b64encode(signed.signature)  # as this kind has it: base64 of base64
    check_signature(protojson.text(signatures[0], "sig"), signed, b64encode(twice))
    check_verifier(protojson.text(signatures[0], "publicKey"), signed)
    return envelope_uses(signed.key)


def _check_payload_hash(parent: JSONObject, envelope: Envelope) -> None:
    digest = protojson.required_object(parent, "payloadHash")
    if protojson.text(digest, "algorithm") != "sha256":
        raise InclusionInvalid("the log entry does not hash its payload with SHA-256")
    recorded, ours = protojson.text(digest, "value"), hashlib.sha256(envelope.payload).hexdigest()
    if recorded != ours:
        raise InclusionInvalid(
            "the log entry is about another payload",
            found=f"payload sha256:{recorded[:64]} in the entry",
            expected=f"payload sha256:{ours}",
        )


CHECKS: dict[tuple[str, str], BodyCheck] = {
    ("dsse", "0.0.1"): _check_dsse,
    ("intoto", "0.0.1"): _check_intoto_v1,
    ("intoto", "0.0.2"): _check_intoto_v2,
}

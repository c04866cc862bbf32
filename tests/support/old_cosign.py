# SPDX-License-Identifier: Apache-2.0
"""A bundle's content in the files that cosign wrote before bundles."""

import json
from typing import Any

from countermark.core.bundle.bundle import Bundle
from countermark.core.crypto.certificate import Certificate
from countermark.core.intoto.envelope import Envelope
from tests.support.forge import go_envelope
from tests.support.made_certificates import b64


def rekor_bundle(bundle: Bundle) -> dict[str, Any]:
    """What the log promised, as cosign kept it."""
    entry = bundle.tlog_entries[0]
    return {
        "SignedEntryTimestamp": b64(entry.inclusion_promise),
        "Payload": {
            "body": b64(entry.canonicalized_body),
            "integratedTime": entry.integrated_time,
            "logIndex": entry.log_index,
            "logID": entry.log_id.hex(),
        },
    }


def signature_of(bundle: Bundle) -> bytes:
    """What stands in the .sig file, before base64: the envelope, if it is one."""
    content = bundle.content
    if isinstance(content, Envelope):
        return go_envelope(content, bundle.signature)
    return bundle.signature


def certificate_pem(bundle: Bundle) -> str:
    return Certificate.parse(bundle.certificates[0]).to_pem()


def old_bundle(bundle: Bundle, verifier: str = "") -> bytes:
    """cosign's first bundle format; `verifier` is a PEM, by default the certificate's."""
    pem = verifier or certificate_pem(bundle)
    tree = {
        "base64Signature": b64(signature_of(bundle)),
        "cert": b64(pem.encode()),
        "rekorBundle": rekor_bundle(bundle),
    }
    return json.dumps(tree).encode()

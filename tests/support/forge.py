# SPDX-License-Identifier: Apache-2.0
"""A Sigstore in memory that can lie: real keys, certificates, SCTs, log entries and timestamps.

Certificates are made with `cryptography.x509` and trees with a textbook recursion, so that the
code under test does not check itself. `Plan` says what the next bundle is to be like.
"""

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from countermark.core.bundle.bundle import (
    Bundle,
    Content,
    InclusionProof,
    MessageSignature,
    TransparencyLogEntry,
)
from countermark.core.bundle.trusted_root import (
    CertificateAuthority,
    TransparencyLog,
    TrustedRoot,
    Validity,
)
from countermark.core.crypto.certificate import Certificate
from countermark.core.intoto.envelope import PAYLOAD_TYPE_IN_TOTO, Envelope, EnvelopeSignature
from countermark.core.tsp.request import SIGSTORE_POLICY, TimestampRequest
from countermark.core.tsp.token import TokenTemplate
from tests.support.made_certificates import (
    NOW,
    CurveKey,
    authority,
    authority_identifier,
    b64,
    canonical,
    common_name,
    fulcio,
    hash_name,
    key_id,
    key_identifier,
    key_usage,
    path_of,
    public_pem,
    root_of,
    spki,
    timestamper,
    tlv,
    to_der,
    utf8,
)

ARTIFACT = b"what was signed\n"
NAME, ISSUER = "me@example.org", "https://accounts.example.org"
ORIGIN_V1, ORIGIN_V2 = "log.example.org - 1234", "v2.example.org"
SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
EVER = Validity(NOW - timedelta(days=365))


@dataclass(frozen=True)
class Plan:
    """What a bundle is to be like.

    Attributes:
        artifact: what is signed, or what the statement is about.
        log: ``v1`` or ``v2``.
        promise: whether the v1 entry has a SET.
        timestamp: whether there is a timestamp.
        envelope: whether a statement is signed instead of the artifact.
        kind: v1 kind for envelopes: ``dsse``, ``intoto``, or ``intoto 0.0.1``.
        name, issuer: whom the certificate names.
        issuer_v2: another issuer in the newer extension; empty to leave that out.
        curve: of the signer's key.
        made_at: when everything happens.
        integrated_at, stamped_at: other times for log and timestamp.
        sct_at: another time for the SCT.
        scts: how many SCTs the certificate has.
        leaf_index, tree_size: where the entry is in the log's tree.
        statement: the statement, if not the usual one.
        signing_usage: what the key usage extension says of signing; None to leave it out.
        extensions: more extensions for the leaf certificate.
        certificate: whether a certificate is used, rather than a bare key.
    """

    artifact: bytes = ARTIFACT
    log: str = "v1"
    promise: bool = True
    timestamp: bool = True
    envelope: bool = False
    kind: str = "dsse"
    name: x509.GeneralName = field(default_factory=lambda: x509.RFC822Name(NAME))
    issuer: str = ISSUER
    issuer_v2: str | None = None
    curve: ec.EllipticCurve = field(default_factory=ec.SECP256R1)
    made_at: datetime = NOW
    integrated_at: datetime | None = None
    stamped_at: datetime | None = None
    sct_at: datetime | None = None
    scts: int = 1
    leaf_index: int = 5
    tree_size: int = 7
    statement: bytes | None = None
    signing_usage: bool | None = True
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    certificate: bool = True


class Forge:
    """Keys of every service, and the trusted root that names them."""

    def __init__(self) -> None:
        p256, p384 = ec.SECP256R1(), ec.SECP384R1()
        self.ca_root_key = ec.generate_private_key(p384)
        self.ca_key = ec.generate_private_key(p256)
        self.ct_key = ec.generate_private_key(p256)
        self.log_key = ec.generate_private_key(p256)
        self.log_v2_key = ed25519.Ed25519PrivateKey.generate()
        self.tsa_root_key = ec.generate_private_key(p384)
        self.tsa_key = ec.generate_private_key(p256)
        self.ca_root = authority("ca root", self.ca_root_key, "ca root", self.ca_root_key)
        self.ca = authority(
            "ca", self.ca_key, "ca root", self.ca_root_key,
            path_length=0, purpose=ExtendedKeyUsageOID.CODE_SIGNING,
        )  # fmt: skip
        self.tsa_root = authority("tsa root", self.tsa_root_key, "tsa root", self.tsa_root_key)
        self.tsa = timestamper("tsa", self.tsa_key, "tsa root", self.tsa_root_key)
        self.ct_id, self.log_id = key_id(self.ct_key), key_id(self.log_key)
        raw = self.log_v2_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.log_v2_id = hashlib.sha256(f"{ORIGIN_V2}\n\x01".encode() + raw).digest()

    def trusted_root(self) -> TrustedRoot:
        """Everybody, for a year before and ever after."""
        log, v2 = spki(self.log_key), spki(self.log_v2_key)
        p256 = "PKIX_ECDSA_P256_SHA_256"
        ca = (to_der(self.ca), to_der(self.ca_root))
        tsa = (to_der(self.tsa), to_der(self.tsa_root))
        return TrustedRoot(
            (
                _log("https://log.example.org", log, p256, self.log_id),
                _log("https://v2.example.org", v2, "PKIX_ED25519", self.log_v2_id),
            ),
            (CertificateAuthority("example.org", "ca", "https://ca.example.org", ca, EVER),),
            (_log("https://ct.example.org/main", spki(self.ct_key), p256, self.ct_id),),
            (CertificateAuthority("example.org", "tsa", "https://tsa.example.org", tsa, EVER),),
        )

    def bundle(self, plan: Plan | None = None, **changes: Any) -> Bundle:
        """A bundle as planned; `changes` are to the plan."""
        plan = replace(plan or Plan(), **changes)
        key = ec.generate_private_key(plan.curve)
        leaf = self.leaf(key, plan)
        content, signature = sign_content(key, plan)
        pem = leaf.public_bytes(Encoding.PEM) if plan.certificate else public_pem(key)
        if plan.log == "v1":
            entry = self.entry_v1(plan, content, signature, pem)
        else:
            entry = self.entry_v2(plan, content, signature, leaf, key)
        stamps = (self.timestamp(signature, plan.stamped_at or plan.made_at),)
        return Bundle(
            "0.3",
            (to_der(leaf),) if plan.certificate else (),
            None if plan.certificate else "the key",
            (entry,),
            stamps if plan.timestamp else (),
            content,
        )

    def leaf(self, key: CurveKey, plan: Plan) -> x509.Certificate:
        """A signer's certificate for ten minutes from `made_at`, with SCTs embedded."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(common_name("ca"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(plan.made_at)
            .not_valid_after(plan.made_at + timedelta(minutes=10))
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(key_identifier(key), critical=False)
            .add_extension(authority_identifier(self.ca_key), critical=False)
            .add_extension(x509.SubjectAlternativeName([plan.name]), critical=True)
            .add_extension(fulcio(1, plan.issuer.encode()), critical=False)
        )
        if plan.signing_usage is not None:
            builder = builder.add_extension(key_usage(ca=not plan.signing_usage), critical=True)
        issuer_v2 = plan.issuer if plan.issuer_v2 is None else plan.issuer_v2
        if issuer_v2:
            builder = builder.add_extension(fulcio(8, utf8(issuer_v2)), critical=False)
        for extension, critical in plan.extensions:
            builder = builder.add_extension(extension, critical)
        without = builder.sign(self.ca_key, hashes.SHA256())
        if not plan.scts:
            return without
        at = plan.sct_at or plan.made_at
        items = [
            self.sct(without.tbs_certificate_bytes, at + timedelta(milliseconds=number))
            for number in range(plan.scts)
        ]
        body = b"".join(len(item).to_bytes(2) + item for item in items)
        value = tlv(0x04, len(body).to_bytes(2) + body)
        final = builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, value), critical=False)
        return final.sign(self.ca_key, hashes.SHA256())

    def sct(self, tbs: bytes, at: datetime, extensions: bytes = b"\x00\x00\x05leaf!") -> bytes:
        """An SCT over a TBSCertificate issued by the CA (RFC 6962 section 3.2)."""
        time = int(at.timestamp() * 1000).to_bytes(8)
        issuer = hashlib.sha256(spki(self.ca_key)).digest()
        tail = len(extensions).to_bytes(2) + extensions
        message = b"\x00\x00" + time + b"\x00\x01" + issuer + len(tbs).to_bytes(3) + tbs + tail
        signature = self.ct_key.sign(message, ec.ECDSA(hashes.SHA256()))
        signed = b"\x04\x03" + len(signature).to_bytes(2) + signature
        return b"\x00" + self.ct_id + time + tail + signed

    def entry_v1(
        self, plan: Plan, content: Content, signature: bytes, pem: bytes
    ) -> TransparencyLogEntry:
        """An entry of log API v1 with the promise and proof that go with it."""
        kind, version, spec = spec_v1(plan, content, signature, pem)
        body = canonical({"apiVersion": version, "kind": kind, "spec": spec})
        time = int((plan.integrated_at or plan.made_at).timestamp())
        index = 1000 + plan.leaf_index
        text = {
            "body": b64(body),
            "integratedTime": time,
            "logID": self.log_id.hex(),
            "logIndex": index,
        }
        promise = self.log_key.sign(canonical(text), ec.ECDSA(hashes.SHA256()))
        proof = self.proof(body, plan, "v1")
        return TransparencyLogEntry(
            index, self.log_id, kind, version, time, promise if plan.promise else b"", proof, body
        )

    def entry_v2(
        self, plan: Plan, content: Content, signature: bytes, leaf: x509.Certificate, key: CurveKey
    ) -> TransparencyLogEntry:
        """An entry of log API v2."""
        name = hash_name(plan.curve)
        data = content.pae() if isinstance(content, Envelope) else plan.artifact
        details = Certificate.parse(to_der(leaf)).public_key.details
        verifier: dict[str, Any] = {"keyDetails": details}
        if plan.certificate:
            verifier["x509Certificate"] = {"rawBytes": b64(to_der(leaf))}
        else:
            verifier["publicKey"] = {"rawBytes": b64(spki(key))}
        digest = b64(hashlib.new(name, data).digest())
        record = {
            "data": {"algorithm": "SHA2_" + name.removeprefix("sha"), "digest": digest},
            "signature": {"content": b64(signature), "verifier": verifier},
        }
        spec = {"hashedRekordV002": record}
        body = canonical({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec})
        proof = self.proof(body, plan, "v2")
        return TransparencyLogEntry(
            plan.leaf_index, self.log_v2_id, "hashedrekord", "0.0.2", 0, b"", proof, body
        )

    def proof(self, body: bytes, plan: Plan, log: str) -> InclusionProof:
        """A proof in a tree of other leaves, under a signed checkpoint."""
        leaves = [
            hashlib.sha256(b"\x00other %d" % number).digest() for number in range(plan.tree_size)
        ]
        leaves[plan.leaf_index] = hashlib.sha256(b"\x00" + body).digest()
        root = root_of(leaves)
        return InclusionProof(
            plan.leaf_index,
            root,
            plan.tree_size,
            tuple(path_of(plan.leaf_index, leaves)),
            self.checkpoint(root, plan.tree_size, log),
        )

    def checkpoint(self, root: bytes, size: int, log: str, name: str = "") -> str:
        """A signed note over a root; `name` overrides the name on the signature line."""
        origin = ORIGIN_V1 if log == "v1" else ORIGIN_V2
        text = f"{origin}\n{size}\n{b64(root)}\n"
        if log == "v1":
            signature = self.log_key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
            hint = self.log_id[:4]
        else:
            signature, hint = self.log_v2_key.sign(text.encode()), self.log_v2_id[:4]
        name = name or origin.partition(" - ")[0]
        return f"{text}\n— {name} {b64(hint + signature)}\n"

    def timestamp(self, signature: bytes, at: datetime, name: str = "sha256") -> bytes:
        """A timestamp over a signature, without certificates."""
        template = TokenTemplate(Certificate.parse(to_der(self.tsa)), policy=SIGSTORE_POLICY)
        request = TimestampRequest(name, hashlib.new(name, signature).digest(), nonce=7)
        draft = template.draft(request, serial=99, time=at)
        return draft.with_signature(
            self.tsa_key.sign(draft.message_to_sign, ec.ECDSA(hashes.SHA256()))
        )


def sign_content(key: CurveKey, plan: Plan) -> tuple[Content, bytes]:
    """The signature or envelope, and its bare signature."""
    name = hash_name(plan.curve)
    algorithm = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
    if not plan.envelope:
        signature = key.sign(plan.artifact, ec.ECDSA(algorithm[name]))
        digest = hashlib.new(name, plan.artifact).digest()
        return MessageSignature(signature, "SHA2_" + name.removeprefix("sha"), digest), signature
    payload = plan.statement or statement(plan.artifact)
    unsigned = Envelope(payload, PAYLOAD_TYPE_IN_TOTO, ())
    signature = key.sign(unsigned.pae(), ec.ECDSA(algorithm[name]))
    return unsigned._replace(signatures=(EnvelopeSignature(signature),)), signature


def statement(artifact: bytes) -> bytes:
    """An in-toto statement about an artifact."""
    subject = {"name": "thing", "digest": {"sha256": hashlib.sha256(artifact).hexdigest()}}
    tree = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject],
        "predicateType": "https://example.org/predicate",
        "predicate": {"weight": 1.5},
    }
    return json.dumps(tree).encode()


def spec_v1(
    plan: Plan, content: Content, signature: bytes, pem: bytes
) -> tuple[str, str, dict[str, Any]]:
    """Kind, version and spec of a v1 body."""
    if not isinstance(content, Envelope):
        name = hash_name(plan.curve)
        digest = {"algorithm": name, "value": hashlib.new(name, plan.artifact).hexdigest()}
        signed = {"content": b64(signature), "publicKey": {"content": b64(pem)}}
        return "hashedrekord", "0.0.1", {"data": {"hash": digest}, "signature": signed}
    payload = {"algorithm": "sha256", "value": hashlib.sha256(content.payload).hexdigest()}
    if plan.kind == "dsse":
        signatures = [{"signature": b64(signature), "verifier": b64(pem)}]
        envelope = {"algorithm": "sha256", "value": "00" * 32}
        return "dsse", "0.0.1", {
            "envelopeHash": envelope, "payloadHash": payload, "signatures": signatures
        }  # fmt: skip
    if plan.kind == "intoto 0.0.1":
        whole = hashlib.sha256(go_envelope(content, signature)).hexdigest()
        hashed = {"hash": {"algorithm": "sha256", "value": whole}, "payloadHash": payload}
        return "intoto", "0.0.1", {"content": hashed, "publicKey": b64(pem)}
    twice = b64(b64(signature).encode())
    inner = {
        "payloadType": content.payload_type,
        "signatures": [{"publicKey": b64(pem), "sig": twice}],
    }
    return "intoto", "0.0.2", {"content": {"envelope": inner, "payloadHash": payload}}


def go_envelope(content: Envelope, signature: bytes) -> bytes:
    """A DSSE envelope as Go's clients wrote it."""
    tree = {
        "payloadType": content.payload_type,
        "payload": b64(content.payload),
        "signatures": [{"keyid": "", "sig": b64(signature)}],
    }
    return json.dumps(tree, separators=(",", ":")).encode()


def _log(url: str, key: bytes, details: str, log_id: bytes) -> TransparencyLog:
    return TransparencyLog(url, "SHA2_256", key, details, EVER, log_id)

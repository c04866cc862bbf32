# SPDX-License-Identifier: Apache-2.0
"""Witnesses with real keys, and checkpoints cosigned by them (C2SP tlog-cosignature)."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from countermark.core.bundle.bundle import Bundle
from tests.support.made_certificates import NOW, b64


@dataclass
class MadeWitness:
    """A witness called `name` on its lines."""

    name: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def key_hash(self, kind: int = 4) -> bytes:
        raw = self.key.public_key().public_bytes_raw()
        return hashlib.sha256(f"{self.name}\n".encode() + bytes((kind,)) + raw).digest()[:4]

    def vkey(self, kind: int = 4) -> str:
        """The verifier key; kind 1 is how the first witnesses published theirs."""
        raw = self.key.public_key().public_bytes_raw()
        return f"{self.name}+{self.key_hash(kind).hex()}+{b64(bytes((kind,)) + raw)}"

    def line(self, checkpoint: str, at: datetime = NOW, text: str = "") -> str:
        """Its signature line for a checkpoint; over another `text` if one is given."""
        seconds = int(at.timestamp())
        signed = text or checkpoint.partition("\n\n")[0] + "\n"
        message = f"cosignature/v1\ntime {seconds}\n{signed}".encode()
        data = self.key_hash() + seconds.to_bytes(8) + self.key.sign(message)
        return f"— {self.name} {b64(data)}\n"


def checkpoint_of(bundle: Bundle, number: int = 0) -> str:
    proof = bundle.tlog_entries[number].inclusion_proof
    assert proof is not None
    return proof.checkpoint


def with_checkpoint(bundle: Bundle, checkpoint: str, number: int = 0) -> Bundle:
    entries = list(bundle.tlog_entries)
    proof = entries[number].inclusion_proof
    assert proof is not None
    proof = proof._replace(checkpoint=checkpoint)
    entries[number] = entries[number]._replace(inclusion_proof=proof)
    return bundle._replace(tlog_entries=tuple(entries))


def cosigned(bundle: Bundle, *witnesses: MadeWitness, first: bool = False) -> Bundle:
    """The bundle with cosignature lines behind the log's own, or before it."""
    checkpoint = checkpoint_of(bundle)
    lines = "".join(witness.line(checkpoint) for witness in witnesses)
    text, _, own = checkpoint.partition("\n\n")
    both = lines + own if first else own + lines
    return with_checkpoint(bundle, f"{text}\n\n{both}")

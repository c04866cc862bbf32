# SPDX-License-Identifier: Apache-2.0
"""dsse proposals: signatures, keys, what is stored and what can be found."""

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.core.intoto.envelope import pae
from countermark.core.rekor import dsse_proposal
from countermark.core.rekor.dsse_proposal import parse_proposal, parse_stored
from countermark.core.rekor.entry import CanonicalEntry, EntryRejected, search_key
from countermark.core.rekor.kinds import admit
from tests.support.rekor import (
    IN_TOTO,
    SigningKey,
    b64,
    certificate,
    dsse,
    encode,
    envelope,
    pem_of,
)

ANNE, BERT = SigningKey.new(), SigningKey.new()
STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [
        {"name": "a", "digest": {"sha256": "AB" * 32, "sha512": "cd" * 64}},
        {"name": "b"},
    ],
    "predicate": {"materials": [{"uri": "git+x", "digest": {"sha1": "ef" * 20}}]},
}
PAYLOAD = json.dumps(STATEMENT).encode()


def parse(proposal: dict[str, Any]) -> CanonicalEntry:
    return parse_proposal(encode(proposal["spec"]))


def refusal(proposal: dict[str, Any]) -> str:
    with pytest.raises(EntryRejected) as caught:
        parse(proposal)
    return str(caught.value)


def sha256(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def test_entry() -> None:
    text = envelope(PAYLOAD, ANNE)
    entry = parse(dsse(text, ANNE.pem))
    signature = json.loads(text)["signatures"][0]["sig"]
    hashes = {
        "envelopeHash": {"algorithm": "sha256", "value": sha256(text)},
        "payloadHash": {"algorithm": "sha256", "value": sha256(PAYLOAD)},
    }
    assert json.loads(entry.body) == {
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {**hashes, "signatures": [{"signature": signature, "verifier": b64(ANNE.pem)}]},
    }
    terms = [
        sha256(ANNE.pem),
        sha256(text),
        sha256(PAYLOAD),
        "ab" * 32,
    ]
    expected = {search_key(f"sha256:{term}") for term in terms}
    expected |= {search_key(f"sha512:{'cd' * 64}"), search_key(f"sha1:{'ef' * 20}")}
    assert set(entry.search_keys) == expected


def test_white_space_in_the_envelope_is_another_leaf() -> None:
    text = envelope(PAYLOAD, ANNE)
    assert parse(dsse(text, ANNE.pem)).body != parse(dsse(text + " ", ANNE.pem)).body


def test_only_in_toto_payloads_are_looked_into() -> None:
    text = envelope(PAYLOAD, ANNE, payload_type="application/json")
    assert len(parse(dsse(text, ANNE.pem)).search_keys) == 3


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b'{"subject": 7}', b"[" * 100_000])
def test_statement_that_is_none_can_be_logged(payload: bytes) -> None:
    text = envelope(payload, ANNE)
    assert parse(dsse(text, ANNE.pem)).search_keys


def test_more_digests_than_anybody_verifies() -> None:
    many = [{"digest": {"sha256": f"{number:064x}"}} for number in range(33_000)]
    text = envelope(json.dumps({"subject": many}).encode(), ANNE)
    assert "more than 32768 digests" in refusal(dsse(text, ANNE.pem))


def test_order_of_signatures_and_verifiers_does_not_matter() -> None:
    text = envelope(PAYLOAD, ANNE, BERT)
    body = parse(dsse(text, ANNE.pem, BERT.pem)).body
    assert parse(dsse(text, BERT.pem, ANNE.pem)).body == body
    stored = [item["signature"] for item in json.loads(body)["spec"]["signatures"]]
    assert stored == sorted(stored)


def test_verifiers_after_the_last_signature_are_not_looked_at() -> None:
    text = envelope(PAYLOAD, ANNE)
    assert parse(dsse(text, ANNE.pem, BERT.pem)).body == parse(dsse(text, ANNE.pem)).body
    assert parse(dsse(text, ANNE.pem, "junk")).body == parse(dsse(text, ANNE.pem)).body


def test_every_signature_needs_a_key_of_its_own() -> None:
    both = envelope(PAYLOAD, ANNE, BERT)
    assert refusal(dsse(both, ANNE.pem)) == "all signatures must have a key that verifies it"
    twice = envelope(PAYLOAD, ANNE, ANNE)
    words = "all signatures must have a key that verifies it"
    assert refusal(dsse(twice, ANNE.pem, ANNE.pem)) == words


def test_every_verifier_needs_a_signature() -> None:
    text = envelope(PAYLOAD, ANNE)
    assert refusal(dsse(text, BERT.pem, ANNE.pem)).startswith("could not verify envelope: ")


def test_url_safe_signatures_are_stored_in_the_standard_alphabet() -> None:
    tree = json.loads(envelope(PAYLOAD, ANNE))
    while not set("+/") & set(tree["signatures"][0]["sig"]):
        tree = json.loads(envelope(PAYLOAD, ANNE))
    standard = tree["signatures"][0]["sig"]
    tree["signatures"][0]["sig"] = standard.replace("+", "-").replace("/", "_")
    tree["payload"] = base64.urlsafe_b64encode(PAYLOAD).decode()
    body = parse(dsse(json.dumps(tree), ANNE.pem)).body
    assert json.loads(body)["spec"]["signatures"][0]["signature"] == standard


def test_other_keys() -> None:
    p384 = ec.generate_private_key(ec.SECP384R1())
    pure = ed25519.Ed25519PrivateKey.generate()
    message = pae(IN_TOTO, PAYLOAD)
    for key, signature in (
        (p384, p384.sign(message, ec.ECDSA(SHA256()))),  # SHA-256 whatever the curve
        (pure, pure.sign(message)),
    ):
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        tree: dict[str, Any] = {"payloadType": IN_TOTO, "payload": b64(PAYLOAD)}
        tree["signatures"] = [{"sig": b64(signature)}]
        parse(dsse(json.dumps(tree), pem.decode()))
        tree["signatures"] = [{"sig": b64(signature[:-1] + bytes([signature[-1] ^ 1]))}]
        assert "could not verify envelope" in refusal(dsse(json.dumps(tree), pem.decode()))


def test_refused() -> None:
    text = envelope(PAYLOAD, ANNE)
    computed = {"algorithm": "sha256", "value": sha256(text)}
    assert refusal({"spec": {}}) == "missing proposed content"
    stored = {"envelopeHash": computed, "payloadHash": computed, "signatures": []}
    assert refusal({"spec": stored}) == "missing proposed content"
    proposal = dsse(text, ANNE.pem)
    proposal["spec"]["envelopeHash"] = computed
    assert refusal(proposal) == (
        "either proposedContent or envelopeHash, payloadHash, and signatures must be present"
        " but not both"
    )
    assert "needs an envelope and verifiers" in refusal(dsse(text))
    assert "1 or more signatures" in refusal(dsse(envelope(PAYLOAD), ANNE.pem))
    assert "could not parse public key as x509" in refusal(dsse(text, "junk"))
    assert "more than 16 verifiers" in refusal(dsse(text, *[ANNE.pem] * 17))
    assert refusal(dsse("{", ANNE.pem)).startswith("envelope: ")
    tree = json.loads(text)
    tree["payload"] = "!"
    assert refusal(dsse(json.dumps(tree), ANNE.pem)).startswith("could not verify envelope: ")
    tree["payload"] = b64(PAYLOAD + b" ")
    assert refusal(dsse(json.dumps(tree), ANNE.pem)).startswith("could not verify envelope: ")
    tree["signatures"] *= 17
    assert "more than 16 signatures" in refusal(dsse(json.dumps(tree), ANNE.pem))


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    text = envelope(PAYLOAD, ANNE, BERT)
    monkeypatch.setattr(dsse_proposal, "MAX_VERIFIED_BYTES", 4 * len(PAYLOAD))
    assert "too large for so many" in refusal(dsse(text, ANNE.pem, BERT.pem))


def test_slow_curves_are_tried_on_fewer_signatures() -> None:
    def verifiers(curve: ec.EllipticCurve, count: int) -> tuple[str, list[str]]:
        keys = [ec.generate_private_key(curve) for _ in range(count)]
        message = pae(IN_TOTO, PAYLOAD)
        tree = json.loads(envelope(PAYLOAD))
        tree["signatures"] = [{"sig": b64(key.sign(message, ec.ECDSA(SHA256())))} for key in keys]
        pems = [
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            for key in keys
        ]
        return json.dumps(tree), [pem.decode() for pem in pems]

    for curve, most in ((ec.SECP256R1(), 16), (ec.SECP384R1(), 5), (ec.SECP521R1(), 4)):
        text, pems = verifiers(curve, most)
        parse(dsse(text, *pems))
    text, pems = verifiers(ec.SECP521R1(), 5)
    assert "too many signatures for keys so slow" in refusal(dsse(text, *pems))


def test_memory_is_bounded() -> None:
    """Each of these takes two bytes of a request and forty times that of memory."""
    tree = json.loads(envelope(PAYLOAD, ANNE))
    tree["signatures"] += [{}] * 70_000
    assert "more than 65536 elements" in refusal(dsse(json.dumps(tree), ANNE.pem))
    statements: list[dict[str, Any]] = [
        {"subject": [{}] * 140_000},
        {"predicate": {"materials": [{}] * 140_000}},
    ]
    for statement in statements:
        text = envelope(json.dumps(statement).encode(), ANNE)
        assert "lists more than 131072 elements" in refusal(dsse(text, ANNE.pem))
    # What is not read may be as long as it likes: bills of material are.
    text = envelope(json.dumps({"predicate": {"files": [{}] * 140_000}}).encode(), ANNE)
    parse(dsse(text, ANNE.pem))


def test_entries_are_small_enough_for_ten_in_a_reply() -> None:
    """Rejected rather than logged: a search for ten of them could not be answered."""
    keys = [SigningKey.new() for _ in range(6)]
    name = x509.UniformResourceIdentifier("https://" + "x" * 40_000)
    pems = [pem_of(certificate(key, [name])) for key in keys]
    spec = encode(dsse(envelope(PAYLOAD, *keys), *pems)["spec"])
    with pytest.raises(EntryRejected, match="larger than 262144 bytes"):
        admit("dsse", "0.0.1", spec)


def test_canonical_bodies_can_be_looked_up_but_not_logged() -> None:
    entry = parse(dsse(envelope(PAYLOAD, ANNE, BERT), ANNE.pem, BERT.pem))
    stored = json.loads(entry.body)["spec"]
    assert parse_stored(encode(stored)).body == entry.body
    stored["signatures"].reverse()
    assert parse_stored(encode(stored)).body == entry.body
    with pytest.raises(EntryRejected, match="missing proposed content"):
        parse_proposal(encode(stored))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("envelopeHash", None),
        ("payloadHash", {"algorithm": "sha512", "value": "ab" * 32}),
        ("payloadHash", {"algorithm": "sha256", "value": 'ab"' * 16}),
        ("signatures", []),
        ("signatures", [{"signature": 'x","y":"', "verifier": "QUFB"}]),
        ("signatures", [{"signature": "QUFB", "verifier": None}]),
    ],
)
def test_lookups_that_make_no_sense(field: str, value: object) -> None:
    entry = parse(dsse(envelope(PAYLOAD, ANNE), ANNE.pem))
    stored = json.loads(entry.body)["spec"] | {field: value}
    with pytest.raises(EntryRejected):
        parse_stored(encode(stored))

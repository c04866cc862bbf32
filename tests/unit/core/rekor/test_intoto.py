# SPDX-License-Identifier: Apache-2.0
"""intoto 0.0.2 proposals: signatures, keys, what is stored and what can be found."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from countermark.core.rekor import intoto_proposal
from countermark.core.rekor.entry import CanonicalEntry, EntryRejected, search_key
from countermark.core.rekor.intoto_proposal import parse_proposal, parse_stored
from countermark.core.rekor.stored import stored_search_keys
from tests.support.rekor import SigningKey, b64, certificate, encode, envelope, intoto, pem_of
from tests.support.vectors import vectors

ANNE, BERT = SigningKey.new(), SigningKey.new()
STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "a", "digest": {"sha256": "AB" * 32, "sha512": "cd" * 64}}],
    "predicate": {"materials": [{"uri": "git+x", "digest": {"sha1": "ef" * 20}}]},
}
PAYLOAD = json.dumps(STATEMENT).encode()
TEXT = envelope(PAYLOAD, ANNE)
Change = Callable[[dict[str, Any]], object]


def parse(proposal: dict[str, Any]) -> CanonicalEntry:
    return parse_proposal(encode(proposal["spec"]))


def refusal(proposal: dict[str, Any]) -> str:
    with pytest.raises(EntryRejected) as caught:
        parse(proposal)
    return str(caught.value)


def test_entry() -> None:
    entry = parse(intoto(TEXT, ANNE.pem))
    signature = json.loads(TEXT)["signatures"][0]["sig"]
    stated, payload = hashlib.sha256(TEXT.encode()).hexdigest(), hashlib.sha256(PAYLOAD).hexdigest()
    assert entry.body.decode() == (
        '{"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{"envelope":{"payloadType":'
        f'"application/vnd.in-toto+json","signatures":[{{"publicKey":"{b64(ANNE.pem)}",'
        f'"sig":"{b64(signature)}"}}]}},"hash":{{"algorithm":"sha256","value":"{stated}"}},'
        f'"payloadHash":{{"algorithm":"sha256","value":"{payload}"}}}}}}}}'
    )
    key = hashlib.sha256(ANNE.pem.encode()).hexdigest()
    terms = (f"sha256:{key}", f"sha256:{payload}", "sha256:" + "ab" * 32, "sha512:" + "cd" * 64)
    assert set(entry.search_keys) == {search_key(term) for term in (*terms, "sha1:" + "ef" * 20)}
    assert set(stored_search_keys(entry.body)) <= set(entry.search_keys)


def test_the_stated_hash_finds_nothing() -> None:
    honest, lying = intoto(TEXT, ANNE.pem), intoto(TEXT, ANNE.pem)
    lying["spec"]["content"]["hash"]["value"] = "AA" * 32
    assert set(parse(lying).search_keys) == set(parse(honest).search_keys)
    assert b'"value":"' + b"aa" * 32 in parse(lying).body


def test_two_signers_keep_their_order_and_key_ids() -> None:
    proposal = intoto(envelope(PAYLOAD, BERT, ANNE), BERT.pem, ANNE.pem)
    signatures = proposal["spec"]["content"]["envelope"]["signatures"]
    signatures[0]["keyid"], signatures[1]["keyid"] = 'B "é"', ""
    stored = json.loads(parse(proposal).body)["spec"]["content"]["envelope"]["signatures"]
    assert stored == [signatures[0], {k: v for k, v in signatures[1].items() if v}]


def test_keys_are_kept_as_they_came() -> None:
    """Real entries hold PEM without its last newline."""
    entry = parse(intoto(TEXT, ANNE.pem.rstrip()))
    (kept,) = json.loads(entry.body)["spec"]["content"]["envelope"]["signatures"]
    assert base64.b64decode(kept["publicKey"]).decode() == ANNE.pem.rstrip()
    assert entry.search_keys == parse(intoto(TEXT, ANNE.pem)).search_keys


def test_names_in_a_certificate_find_it() -> None:
    from cryptography import x509

    pem = pem_of(certificate(ANNE, [x509.RFC822Name("anne@example.org")]))
    assert search_key("anne@example.org") in parse(intoto(TEXT, pem)).search_keys


def test_signatures_must_verify_under_the_key_beside_them() -> None:
    assert "could not verify envelope" in refusal(intoto(TEXT, BERT.pem))
    both = envelope(PAYLOAD, ANNE, BERT)
    parse(intoto(both, ANNE.pem, BERT.pem))
    assert "could not verify envelope" in refusal(intoto(both, BERT.pem, ANNE.pem))
    other = intoto(TEXT, ANNE.pem)
    other["spec"]["content"]["envelope"]["payload"] = b64(b64(b"{}"))
    assert "could not verify envelope" in refusal(other)
    retyped = intoto(TEXT, ANNE.pem)
    retyped["spec"]["content"]["envelope"]["payloadType"] = "text/plain"
    assert "could not verify envelope" in refusal(retyped)


def content(proposal: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = proposal["spec"]["content"]
    return found


MISSING: dict[str, tuple[Change, str]] = {
    "content": (lambda p: p["spec"].pop("content"), "needs an envelope"),
    "envelope": (lambda p: content(p).pop("envelope"), "needs an envelope"),
    "hash": (lambda p: content(p).pop("hash"), "missing hash"),
    "payload": (lambda p: content(p)["envelope"].pop("payload"), "missing payload"),
    "signatures": (lambda p: content(p)["envelope"].pop("signatures"), "1 or more signatures"),
    "key": (lambda p: content(p)["envelope"]["signatures"][0].pop("publicKey"), "no publicKey"),
    "algorithm": (lambda p: content(p)["hash"].update(algorithm="sha512"), "one of [sha256]"),
    "digest": (lambda p: content(p)["hash"].update(value="aa"), "hexadecimal digits"),
    "once": (lambda p: content(p)["envelope"].update(payload=b64(PAYLOAD)), "not base64"),
    "many": (
        lambda p: content(p)["envelope"]["signatures"].extend([{}] * 16),
        "more than 16 signatures",
    ),
}


@pytest.mark.parametrize(("change", "message"), MISSING.values(), ids=MISSING)
def test_refused(change: Change, message: str) -> None:
    proposal = intoto(TEXT, ANNE.pem)
    change(proposal)
    assert message in refusal(proposal)


def test_memory_is_bounded() -> None:
    spec = b'{"content":{"envelope":{"signatures":[' + b"{}," * 70_000 + b"{}]}}}"
    with pytest.raises(EntryRejected, match="more than 65536 elements"):
        parse_proposal(spec)


def test_large_envelopes_are_verified_for_few_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intoto_proposal, "MAX_VERIFIED_BYTES", 1000)
    assert "too large for so many signatures" in refusal(
        intoto(envelope(PAYLOAD, ANNE, BERT, ANNE), ANNE.pem, BERT.pem, ANNE.pem)
    )


def test_stored_form_asks_for_the_same_entry() -> None:
    entry = parse(intoto(TEXT, ANNE.pem))
    assert parse_stored(encode(json.loads(entry.body)["spec"])).body == entry.body
    assert parse_stored(encode(intoto(TEXT, ANNE.pem)["spec"])) == entry
    with pytest.raises(EntryRejected, match="missing payload"):
        parse_proposal(encode(json.loads(entry.body)["spec"]))


@pytest.mark.vectors
@pytest.mark.parametrize("name", ["gundam-visor-cli-v1-tag", "supreme-googles-cli-v02-tag"])
def test_real_entries_are_rebuilt_byte_for_byte(name: str) -> None:
    """npm's attestations of years ago: their envelopes submitted again give the same leaves."""
    document = json.loads(vectors("npm", f"{name}.tgz.json").read_bytes())
    rebuilt = 0
    for attestation in document["attestations"]:
        (entry,) = attestation["bundle"]["verificationMaterial"]["tlogEntries"]
        body = base64.b64decode(entry["canonicalizedBody"])
        spec = json.loads(body)["spec"]
        payload = attestation["bundle"]["dsseEnvelope"]["payload"]
        spec["content"]["envelope"]["payload"] = b64(payload)
        assert parse_proposal(encode(spec)).body == body
        rebuilt += 1
    assert rebuilt == 2

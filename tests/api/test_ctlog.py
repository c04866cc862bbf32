# SPDX-License-Identifier: Apache-2.0
"""The CT log through its routes: what goes in, what comes out, proofs checked by hand."""

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from countermark.core.crypto import der
from countermark.core.ct.leaf import (
    PRECERT_ENTRY,
    X509_ENTRY,
    CertificateEntry,
    TimestampedEntry,
    parse_extra_data,
)
from countermark.core.ct.sct import (
    SignedCertificateTimestamp,
    sct_message_precert,
    sct_message_x509,
)
from countermark.core.ct.static_ct import DATA_TILES, TileLeaf, tree_head_message
from countermark.core.errors import InvariantBroken, LogFrozen, NotFound
from countermark.core.tlog.checkpoint import Checkpoint
from countermark.core.tlog.merkle import leaf_hash, verify_consistency, verify_inclusion
from countermark.core.tlog.note import SignedNote
from countermark.core.wire import ct as wire
from countermark.ctlog.auditor import CTAuditor, tree_head_signature
from countermark.ctlog.keeper import MAX_TREE_HEAD_AGE_MS
from countermark.ctlog.messages import GetEntries, GetRoots
from countermark.drivers.keys.file import FileSigner
from countermark.drivers.memory import MemoryLogStore
from countermark.ports.log_store import EntryRow
from countermark.tilelog.fsck import fsck
from countermark.tilelog.log import Limits
from countermark.tilelog.published_audit import audit_published
from tests.support.asgi import Reply
from tests.support.authority import (
    NOW,
    ORIGIN,
    CertifyingInstance,
    Chain,
    log_id,
    make_chain,
    spki,
)
from tests.support.crowd import most_at_once

PREFIX = "/ctlog/main"
API = f"{PREFIX}/ct/v1"
POISON = bytes.fromhex("3013060a2b06010401d6790204030101ff04020500")


@pytest.fixture(scope="module")
def instance() -> Iterator[CertifyingInstance]:
    with CertifyingInstance() as running:
        yield running


def leaf(
    chain: Chain,
    *,
    poison: bool = False,
    purposes: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CODE_SIGNING,),
    poison_extension: x509.ExtensionType | None = None,
    critical: bool = True,
) -> bytes:
    """A certificate or precertificate by the chain's issuing key."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(chain.issuing.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(minutes=10))
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
    if poison:
        builder = builder.add_extension(poison_extension or x509.PrecertPoison(), critical)
    issuing_key = chain.issuing_key
    assert isinstance(issuing_key, ec.EllipticCurvePrivateKey)
    return builder.sign(issuing_key, hashes.SHA256()).public_bytes(Encoding.DER)


def submit(instance: CertifyingInstance, endpoint: str, *chain: bytes) -> Reply:
    return instance.browser.post(f"{API}/{endpoint}", wire.add_chain_request(chain))


def get(instance: CertifyingInstance, name: str, **query: Any) -> Reply:
    return instance.browser.get(f"{API}/{name}", query={k: str(v) for k, v in query.items()})


def head(instance: CertifyingInstance) -> wire.SignedTreeHead:
    return wire.parse_tree_head_reply(get(instance, "get-sth").body)


def fill(instance: CertifyingInstance, count: int) -> None:
    for _ in range(count):
        pre = leaf(instance.chain, poison=True)
        assert submit(instance, "add-pre-chain", pre, *instance.chain.certificates).status == 200


# --- adding ------------------------------------------------------------------------------------


def test_precertificate_gets_an_sct_over_its_reconstruction(instance: CertifyingInstance) -> None:
    pre = leaf(instance.chain, poison=True)
    reply = submit(instance, "add-pre-chain", pre, *instance.chain.certificates)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    body = json.loads(reply.body)
    assert list(body) == ["sct_version", "id", "timestamp", "extensions", "signature"]
    assert (body["sct_version"], body["extensions"]) == (0, "")
    sct = wire.parse_add_chain_reply(reply.body)
    assert sct.log_id == log_id(instance)
    certificate = x509.load_der_x509_certificate(pre)
    poison = certificate.extensions.get_extension_for_class(x509.PrecertPoison)
    assert poison.critical
    # cryptography cuts SCT lists only; the poison is cut here by its fixed encoding.
    tbs = without(certificate.tbs_certificate_bytes, POISON)
    issuer_key_hash = hashlib.sha256(spki(instance.chain.issuing_key)).digest()
    message = sct_message_precert(sct.timestamp_ms, issuer_key_hash, tbs, sct.extensions)
    instance.ct_signer.public_key.verify(sct.signature, message)


def without(tbs: bytes, extension: bytes) -> bytes:
    """A TBSCertificate without one extension, rebuilt from its parts."""
    fields = der.Reader(tbs, "tbs").sequence()
    parts = []
    while fields:
        field = fields.read()
        if field.tag == der.context(3):
            extensions = der.decode(field.content, "extensions").content
            kept = der.encode(der.SEQUENCE, extensions.replace(extension, b""))
            parts.append(der.encode(der.context(3), kept))
        else:
            parts.append(field.encoded)
    return der.sequence(*parts)


def test_certificate_gets_an_sct_without_its_root(instance: CertifyingInstance) -> None:
    certificate = leaf(instance.chain)
    reply = submit(instance, "add-chain", certificate, instance.chain.certificates[0])
    sct = wire.parse_add_chain_reply(reply.body)
    message = sct_message_x509(sct.timestamp_ms, certificate)
    instance.ct_signer.public_key.verify(sct.signature, message)


def test_duplicate_gets_the_same_sct(instance: CertifyingInstance) -> None:
    pre = leaf(instance.chain, poison=True)
    first = submit(instance, "add-pre-chain", pre, *instance.chain.certificates)
    size = head(instance).tree_size
    instance.clock.now += timedelta(seconds=5)
    again = submit(instance, "add-pre-chain", pre, *instance.chain.certificates)
    assert again.body == first.body
    assert head(instance).tree_size == size


@pytest.mark.parametrize(("endpoint", "poison"), [("add-chain", True), ("add-pre-chain", False)])
def test_endpoints_are_strict_about_the_kind(
    instance: CertifyingInstance, endpoint: str, poison: bool
) -> None:
    certificate = leaf(instance.chain, poison=poison)
    reply = submit(instance, endpoint, certificate, *instance.chain.certificates)
    assert reply.status == 400
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.text.startswith("Bad Request\nfailed to verify add-chain contents: cert / precert")
    assert reply.text.endswith("\n")


def test_chains_that_lead_nowhere(instance: CertifyingInstance) -> None:
    chain, other = instance.chain, make_chain()
    pre = leaf(chain, poison=True)
    intermediate, root = chain.certificates
    forged = leaf(Chain(chain.certificates, other.issuing_key, chain.root_key), poison=True)
    client_only = leaf(chain, poison=True, purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    cases = [
        (pre,),
        (pre, root, intermediate),
        (pre, *other.certificates),
        (leaf(other, poison=True), *other.certificates),
        (forged, *chain.certificates),
        (client_only, *chain.certificates),
        (pre, intermediate, root, root),
        (pre, intermediate, b"no certificate"),
        (b"", *chain.certificates),
        (root,),
    ]
    before = head(instance).tree_size
    for case in cases:
        reply = submit(instance, "add-pre-chain", *case)
        assert reply.status == 400, case
        assert "chain failed to verify" in reply.text
    assert submit(instance, "add-chain", root).status == 400
    assert head(instance).tree_size == before


@pytest.mark.parametrize(
    ("extension", "critical"),
    [
        (x509.PrecertPoison(), False),
        (x509.UnrecognizedExtension(x509.PrecertPoison.oid, b"\x04\x00"), True),
    ],
)
def test_malformed_poison_is_neither(
    instance: CertifyingInstance, extension: x509.ExtensionType, critical: bool
) -> None:
    bad = leaf(instance.chain, poison=True, poison_extension=extension, critical=critical)
    for endpoint in ("add-chain", "add-pre-chain"):
        reply = submit(instance, endpoint, bad, *instance.chain.certificates)
        assert reply.status == 400
        assert "poison extension is malformed" in reply.text


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"chain":[]}', b'{"chain":["%%"]}', b"\xff", b'{"chain":7}']
)
def test_bodies_that_are_no_chains(instance: CertifyingInstance, body: bytes) -> None:
    reply = instance.browser.post(f"{API}/add-chain", body)
    assert reply.status == 400
    assert reply.text.startswith("Bad Request\nfailed to parse add-chain body: ")


def test_too_large_a_body(instance: CertifyingInstance) -> None:
    reply = instance.browser.post(f"{API}/add-chain", b" " * (512 * 1024 + 1))
    assert reply.status == 413


@pytest.mark.parametrize("name", ["add-chain", "add-pre-chain"])
def test_adding_by_get(instance: CertifyingInstance, name: str) -> None:
    reply = get(instance, name)
    assert reply.status == 405
    assert reply.headers["allow"] == "POST"
    assert reply.text == "Method Not Allowed\nmethod not allowed: GET\n"
    trace = instance.browser.send("TRACE", f"/ctlog/main/ct/v1/{name}")
    assert (trace.status, trace.headers["allow"]) == (405, "POST")


def test_full_queue_asks_to_wait() -> None:
    with CertifyingInstance(limits=Limits(queued=0)) as instance:
        pre = leaf(instance.chain, poison=True)
        reply = submit(instance, "add-pre-chain", pre, *instance.chain.certificates)
        assert reply.status == 429
        assert int(reply.headers["retry-after"]) > 0
        assert reply.text.startswith("Too Many Requests\n")


def test_stopped_log_is_unavailable() -> None:
    with CertifyingInstance() as instance:
        instance.wait(instance.log.drain())
        pre = leaf(instance.chain, poison=True)
        reply = submit(instance, "add-pre-chain", pre, *instance.chain.certificates)
        assert reply.status == 503
        assert reply.headers["retry-after"] == "1"


@pytest.mark.parametrize("damage", ["delete", "replace"])
def test_lost_issuer_is_an_internal_error(damage: str) -> None:
    with CertifyingInstance() as instance:
        fill(instance, 1)
        (path, *_) = instance.objects.paths("issuer/")
        if damage == "delete":
            instance.objects.delete_all([path])
        else:
            instance.objects.data.immutable[path] = b"something else"
        with pytest.raises(InvariantBroken):
            instance.wait(instance.new_ct_log().entries(0, 1))


def test_restarted_log_reads_its_issuers() -> None:
    with CertifyingInstance() as instance:
        fill(instance, 1)
        before = instance.wait(instance.ct.entries(0, 1))
        assert instance.wait(instance.new_ct_log().entries(0, 1)) == before


def test_log_that_is_not_there(instance: CertifyingInstance) -> None:
    with pytest.raises(NotFound):
        instance.wait(instance.keeper.call(GetRoots("other")))
    assert instance.browser.get("/ctlog/other/ct/v1/get-roots").status == 404


def test_answers_are_bounded_in_bytes() -> None:
    big = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(60_000))
    with CertifyingInstance() as instance:
        for _ in range(12):
            certificate = leaf(instance.chain, poison=True, poison_extension=big, critical=False)
            reply = submit(instance, "add-chain", certificate, *instance.chain.certificates)
            assert reply.status == 200, reply.text
        found = wire.parse_entries_reply(get(instance, "get-entries", start=0, end=11).body)
        assert 1 < len(found) <= 12
        assert sum(len(leaf_input) + len(extra) for leaf_input, extra in found) < 1 << 20


# --- reading -----------------------------------------------------------------------------------


def test_accepted_root_is_the_cas(instance: CertifyingInstance) -> None:
    roots = wire.parse_roots_reply(get(instance, "get-roots").body)
    assert roots == (instance.chain.certificates[-1],)


def test_tree_head_is_signed(instance: CertifyingInstance) -> None:
    fill(instance, 1)
    sth = head(instance)
    signature = sth.signature
    assert signature[:2] == b"\x04\x03"
    assert len(signature) == 4 + int.from_bytes(signature[2:4])
    message = tree_head_message(sth.timestamp_ms, sth.tree_size, sth.root_hash)
    instance.ct_signer.public_key.verify(signature[4:], message)


def test_old_tree_head_is_signed_again() -> None:
    with CertifyingInstance() as instance:
        fill(instance, 1)
        old = head(instance)
        instance.clock.now += timedelta(hours=25)
        new = head(instance)
        assert new.timestamp_ms == instance.clock.now_ms()
        assert (new.tree_size, new.root_hash) == (old.tree_size, old.root_hash)
        message = tree_head_message(new.timestamp_ms, new.tree_size, new.root_hash)
        instance.ct_signer.public_key.verify(new.signature[4:], message)
        assert head(instance) == new
        fill(instance, 1)
        assert head(instance).tree_size == 2


def test_every_entry_is_in_the_tree_and_says_what_was_submitted() -> None:
    with CertifyingInstance() as instance:
        chain = instance.chain.certificates
        submitted = [leaf(instance.chain, poison=number % 2 == 0) for number in range(9)]
        scts = []
        for number, certificate in enumerate(submitted):
            endpoint = "add-chain" if number % 2 else "add-pre-chain"
            reply = submit(instance, endpoint, certificate, *chain)
            scts.append(wire.parse_add_chain_reply(reply.body))
        sth = head(instance)
        assert sth.tree_size == 9
        entries = wire.parse_entries_reply(get(instance, "get-entries", start=0, end=500).body)
        assert len(entries) == 9
        for index, (leaf_input, extra) in enumerate(entries):
            entry = TimestampedEntry.parse_merkle_tree_leaf(leaf_input)
            assert entry.timestamp_ms == scts[index].timestamp_ms
            instance.ct_signer.public_key.verify(scts[index].signature, leaf_input)
            pre_certificate, above = parse_extra_data(entry.entry.entry_type, extra)
            assert above == chain
            if index % 2:
                assert entry.entry.entry_type == X509_ENTRY
                assert (entry.entry.certificate, pre_certificate) == (submitted[index], b"")
            else:
                assert entry.entry.entry_type == PRECERT_ENTRY
                assert pre_certificate == submitted[index]
            hashed = leaf_hash(leaf_input)
            for size in range(index + 1, 10):
                query = {"hash": base64.b64encode(hashed).decode(), "tree_size": size}
                found, path = wire.parse_proof_reply(
                    get(instance, "get-proof-by-hash", **query).body
                )
                root = instance.wait(instance.log.root_hash(size))
                assert found == index
                verify_inclusion(hashed, index, size, list(path), root)
            reply = get(instance, "get-entry-and-proof", leaf_index=index, tree_size=9)
            both = json.loads(reply.body)
            assert list(both) == ["leaf_input", "extra_data", "audit_path"]
            assert base64.b64decode(both["leaf_input"]) == leaf_input
            path_bytes = [base64.b64decode(item) for item in both["audit_path"]]
            verify_inclusion(hashed, index, 9, path_bytes, sth.root_hash)


def test_consistency_between_all_sizes() -> None:
    with CertifyingInstance() as instance:
        fill(instance, 6)
        roots = {size: instance.wait(instance.log.root_hash(size)) for size in range(7)}
        for first in range(1, 7):
            for second in range(first, 7):
                reply = get(instance, "get-sth-consistency", first=first, second=second)
                proof = list(wire.parse_consistency_reply(reply.body))
                verify_consistency(first, second, roots[first], roots[second], proof)
        empty = get(instance, "get-sth-consistency", first=0, second=6)
        assert json.loads(empty.body) == {"consistency": []}


def test_entries_are_cut_at_what_is_there(instance: CertifyingInstance) -> None:
    fill(instance, 2)
    size = head(instance).tree_size
    reply = get(instance, "get-entries", start=size - 1, end=size + 100)
    assert len(wire.parse_entries_reply(reply.body)) == 1
    # The same question will have a longer answer soon: no cache may keep this one.
    assert reply.headers["cache-control"] == "public, max-age=60"
    full = get(instance, "get-entries", start=size - 2, end=size - 1)
    assert "immutable" in full.headers["cache-control"]
    reply = get(instance, "get-entries", start=size, end=size)
    assert reply.status == 400
    message = f"need tree size: {size + 1} to get leaves but only got: {size}"
    assert reply.text == f"Bad Request\n{message}\n"
    far = 2**63 - 1
    assert get(instance, "get-entries", start=0, end=far).status == 200
    assert get(instance, "get-entries", start=far, end=far).status == 400


@pytest.mark.parametrize(
    ("name", "query", "status"),
    [
        ("get-entries", {}, 400),
        ("get-entries", {"start": "0"}, 400),
        ("get-entries", {"start": "x", "end": "1"}, 400),
        ("get-entries", {"start": "-1", "end": "1"}, 400),
        ("get-entries", {"start": "2", "end": "1"}, 400),
        ("get-entries", {"start": "0", "end": "9223372036854775808"}, 400),
        ("get-entries", {"start": "٠", "end": "1"}, 400),
        ("get-entries", {"start": "+0", "end": "00"}, 200),
        ("get-sth-consistency", {}, 400),
        ("get-sth-consistency", {"first": "1"}, 400),
        ("get-sth-consistency", {"first": "2", "second": "1"}, 400),
        ("get-sth-consistency", {"first": "-1", "second": "1"}, 400),
        ("get-sth-consistency", {"first": "0", "second": "100000"}, 200),
        ("get-sth-consistency", {"first": "1", "second": "100000"}, 400),
        ("get-proof-by-hash", {}, 400),
        ("get-proof-by-hash", {"hash": "AAAA", "tree_size": "1"}, 400),
        ("get-proof-by-hash", {"hash": "!", "tree_size": "1"}, 400),
        ("get-proof-by-hash", {"hash": "A" * 43 + "=", "tree_size": "0"}, 400),
        ("get-proof-by-hash", {"hash": "A" * 43 + "=", "tree_size": "1"}, 404),
        ("get-proof-by-hash", {"hash": "A" * 43 + "=", "tree_size": "100000"}, 404),
        ("get-entry-and-proof", {}, 400),
        ("get-entry-and-proof", {"leaf_index": "0", "tree_size": "0"}, 400),
        ("get-entry-and-proof", {"leaf_index": "1", "tree_size": "1"}, 400),
        ("get-entry-and-proof", {"leaf_index": "-1", "tree_size": "1"}, 400),
        ("get-entry-and-proof", {"leaf_index": "0", "tree_size": "100000"}, 400),
    ],
)
def test_parameters(
    instance: CertifyingInstance, name: str, query: dict[str, str], status: int
) -> None:
    if not head(instance).tree_size:
        fill(instance, 1)
    assert get(instance, name, **query).status == status


# --- static-ct-api -----------------------------------------------------------------------------


def test_checkpoint_carries_the_tree_head(instance: CertifyingInstance) -> None:
    fill(instance, 1)
    reply = instance.browser.get(f"{PREFIX}/checkpoint")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    sth = head(instance)
    checkpoint = Checkpoint.parse(SignedNote.parse(reply.body).text)
    assert checkpoint == Checkpoint(ORIGIN, sth.tree_size, sth.root_hash)
    signed = tree_head_signature(reply.body, ORIGIN, log_id(instance))
    assert signed == (sth.timestamp_ms, sth.signature)
    key_hash = hashlib.sha256(ORIGIN.encode() + b"\n\x05" + log_id(instance)).digest()[:4]
    (line,) = SignedNote.parse(reply.body).signatures
    assert (line.name, line.key_hash) == (ORIGIN, key_hash)


def test_tiles_hold_the_tree_and_the_entries() -> None:
    with CertifyingInstance() as instance:
        fill(instance, 260)
        data = instance.browser.get(f"{PREFIX}/tile/data/000")
        assert data.status == 200
        assert "immutable" in data.headers["cache-control"]
        records = DATA_TILES.split(data.body)
        hashed = instance.browser.get(f"{PREFIX}/tile/0/000").body
        assert hashed == b"".join(map(DATA_TILES.leaf_hash, records))
        rest = instance.browser.get(f"{PREFIX}/tile/data/001.p/4").body
        assert len(DATA_TILES.split(rest)) == 4
        # A narrower partial is the start of the wider one, published or not.
        narrow = instance.browser.get(f"{PREFIX}/tile/data/001.p/2").body
        assert rest.startswith(narrow)
        assert len(DATA_TILES.split(narrow)) == 2
        top = instance.browser.get(f"{PREFIX}/tile/1/000.p/1").body
        assert len(top) == 32
        first = TileLeaf.parse(records[0])
        issuers = [instance.browser.get(f"{PREFIX}/issuer/{name.hex()}") for name in first.issuers]
        assert tuple(reply.body for reply in issuers) == instance.chain.certificates
        assert issuers[0].headers["content-type"] == "application/pkix-cert"


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/001",
        "tile/0/000.p/256",
        "tile/6/000",
        "tile/entries/000",
        "tile/data/x000/000",
        "tile/../../keys",
        "issuer/" + "0" * 64,
        "issuer/" + "A" * 64,
        "issuer/..",
    ],
)
def test_what_a_log_does_not_hold(instance: CertifyingInstance, path: str) -> None:
    fill(instance, 1)
    assert instance.browser.get(f"{PREFIX}/{path}").status == 404


def test_auditor_agrees_with_what_is_stored() -> None:
    with CertifyingInstance() as instance:
        fill(instance, 3)
        auditor = CTAuditor(ORIGIN, instance.ct_signer.public_key, instance.objects)
        auditor.check_head(instance.log.head)
        for index, record in enumerate(instance.wait(records(instance, 0, 3))):
            row = instance.wait(instance.log.find(auditor.identity(record)))
            assert row is not None
            assert row.index == index
            auditor.check_promise(record, row)
            (key,) = auditor.search_keys(record)
            assert instance.wait(instance.log.search(key, limit=2)) == [index]


def test_fsck_finds_what_was_damaged() -> None:
    with CertifyingInstance() as instance:
        fill(instance, 3)
        public_key = instance.ct_signer.public_key
    stopped = MemoryLogStore(instance.store.data)

    def check() -> list[str]:
        auditor = CTAuditor(ORIGIN, public_key, instance.objects)
        report = fsck("ct-main", auditor, stopped, instance.objects)
        return [str(problem) for problem in report.problems]

    assert check() == []
    shown = audit_published(
        "ct-main", CTAuditor(ORIGIN, public_key, instance.objects), instance.objects
    )
    assert (shown.ok, shown.tree_size) == (True, 3)
    state = stopped.data["ct-main"]
    (identity, row), *_ = state.rows.items()
    wrong_key = FileSigner(ec.generate_private_key(ec.SECP256R1()))
    sct = SignedCertificateTimestamp.parse(row.promise)
    forged = sct._replace(signature=wrong_key.sign(b"something"))
    state.rows[identity] = EntryRow(row.index, row.time_ms, forged.serialize())
    assert any("SCT's signature" in problem for problem in check())
    state.rows[identity] = EntryRow(row.index, row.time_ms + 1, row.promise)
    assert any("name different times" in problem for problem in check())
    state.rows[identity] = row
    for path in list(instance.objects.paths("issuer/")):
        instance.objects.delete_all([path])
    assert any("is missing" in problem for problem in check())


async def records(instance: CertifyingInstance, start: int, end: int) -> list[bytes]:
    return list(await instance.log.records(start, end))


def test_ranges_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may hold megabytes, in the keeper's memory until the worker has taken it."""
    with CertifyingInstance() as instance:
        fill(instance, 3)

        def read() -> Reply:
            return get(instance, "get-entries", start=0, end=2)

        assert 1 < most_at_once(instance.keeper, GetEntries, read, monkeypatch) <= 16


# --- the end of a log --------------------------------------------------------------------------


def test_a_frozen_log_takes_nothing_and_signs_no_new_head() -> None:
    with CertifyingInstance() as instance:
        fill(instance, 2)
        last = head(instance)
        instance.clock.now += timedelta(milliseconds=MAX_TREE_HEAD_AGE_MS + 1000)
        assert head(instance).timestamp_ms == instance.clock.now_ms()
        instance.log.freeze()
        shown = instance.new_ct_log().tree_head()
        assert (shown.timestamp_ms, shown.signature) == (last.timestamp_ms, last.signature)
        before = set(instance.objects.paths("issuer/"))
        pre = leaf(instance.chain, poison=True)
        reply = submit(instance, "add-pre-chain", pre, *instance.chain.certificates)
        assert (reply.status, b"frozen" in reply.body) == (400, True)
        stranger = make_chain().certificates
        with pytest.raises(LogFrozen):
            instance.wait(instance.ct.add(CertificateEntry(bytes(32), b"x"), pre, stranger))
        assert set(instance.objects.paths("issuer/")) == before
        assert get(instance, "get-entries", start=0, end=1).status == 200

# SPDX-License-Identifier: Apache-2.0
"""Server CPU of a log entry, a certificate and a timestamp, beside their public-key floors."""

import hashlib
import json
import os
from collections.abc import Sequence
from itertools import islice

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.floors import RS256, SIGN, VERIFY
from bench.instance import (
    Instance,
    SigningKey,
    hashedrekord,
    instance,
    new_keys,
    signing_cert_requests,
)
from bench.load import post, run_load
from bench.measure import GroupCPU, Row, percentile
from bench.windows import Windows
from countermark.core.crypto import der

WINDOWS = 7
CLIENTS = 32
WARM, BUSY, ALONE = 300, 800, 80
SIGNERS = WARM + WINDOWS * (BUSY + ALONE)
V1_ENTRIES = "/api/v1/log/entries"


def _entries(signers: Sequence[SigningKey], count: int) -> list[list[bytes]]:
    """Windows of requests, each signed with a key of its own, as keyless signing does."""
    numbered = enumerate(signers)
    return [
        [
            post(V1_ENTRIES, hashedrekord(signer, number), "application/json")
            for number, signer in islice(numbered, count)
        ]
        for _ in range(WINDOWS)
    ]


def _v1_rows(running: Instance, signers: Sequence[SigningKey], kind: str) -> list[Row]:
    warm, loaded = signers[:WARM], signers[WARM:]
    run_load(running.port, _entries(warm, WARM)[0], clients=CLIENTS)
    busy, alone = loaded[: WINDOWS * BUSY], loaded[WINDOWS * BUSY :]
    rows = []
    for part, count, clients in ((busy, BUSY, CLIENTS), (alone, ALONE, 1)):
        measured = Windows({VERIFY: 1, SIGN: 1})
        measured.send(running, _entries(part, count), 201, clients=clients)
        noun = "client" if clients == 1 else "clients"
        rows.append(measured.row(f"v1 POST hashedrekord, {kind}, {clients} {noun}"))
    return rows


def _certificates(running: Instance) -> tuple[Row, list[SigningKey]]:
    """The certificate row, and keys with the certificates that were issued for them."""
    signers = new_keys(SIGNERS)
    per_window = SIGNERS // WINDOWS
    windows: list[list[bytes]] = []
    for start in range(0, per_window * WINDOWS, per_window):
        # a token lives ten minutes: each window has its own
        bodies = signing_cert_requests(running.token(), signers[start : start + per_window])
        windows.append([post("/api/v2/signingCert", body, "application/json") for body in bodies])
    run_load(running.port, windows[0][:WARM], clients=CLIENTS)
    measured = Windows({RS256: 1, VERIFY: 2, SIGN: 3})
    measured.send(running, windows, 200, clients=CLIENTS)
    row = measured.row(f"certificate with embedded SCT, {CLIENTS} clients")
    alone = run_load(running.port, windows[0][:ALONE], clients=1)
    row.detail["p50_ms_one_client"] = round(percentile(alone.latencies_s, 0.5) * 1e3, 2)
    return row, _with_certificates(signers, [body for r in measured.results for body in r.replies])


def certified(running: Instance, count: int) -> list[SigningKey]:
    """Fresh keys with certificates that the instance issued for them."""
    signers = new_keys(count)
    replies: list[bytes] = []
    for start in range(0, count, BUSY):  # a token lives ten minutes
        bodies = signing_cert_requests(running.token(), signers[start : start + BUSY])
        requests = [post("/api/v2/signingCert", body, "application/json") for body in bodies]
        replies += run_load(running.port, requests, clients=CLIENTS, keep=True).replies
    return _with_certificates(signers, replies)


def _with_certificates(signers: Sequence[SigningKey], replies: Sequence[bytes]) -> list[SigningKey]:
    """Those signers for whose keys there is a certificate among the replies."""
    issued: dict[bytes, str] = {}
    for reply in replies:
        chain = json.loads(reply)["signedCertificateEmbeddedSct"]["chain"]["certificates"]
        leaf = x509.load_pem_x509_certificate(chain[0].encode())
        key = leaf.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        issued[key] = chain[0].strip() + "\n"
    return [
        SigningKey(signer.key, issued[signer.verifier_pem].encode())
        for signer in signers
        if signer.verifier_pem in issued
    ]


def _timestamp_request(number: int) -> bytes:
    digest = hashlib.sha256(b"%d" % number).digest()
    sha256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), der.NULL_VALUE)
    nonce = int.from_bytes(os.urandom(8))
    return der.sequence(
        der.integer(1),
        der.sequence(sha256, der.octet_string(digest)),
        der.integer(nonce),
        der.boolean(True),
    )


def _timestamps(running: Instance) -> Row:
    windows = [
        [
            post("/api/v1/timestamp", _timestamp_request(n), "application/timestamp-query")
            for n in range(1500)
        ]
        for _ in range(WINDOWS)
    ]
    run_load(running.port, windows[0][:300], clients=CLIENTS)  # warm
    measured = Windows({SIGN: 1})
    measured.send(running, windows, 200, clients=CLIENTS)
    return measured.row(f"timestamp token, {CLIENTS} clients")


def run() -> list[Row]:
    """Every row that one running instance gives."""
    with instance() as running:
        cpu = GroupCPU(running.process.pid)
        rows = [_memory("idle memory of the group, empty log", cpu)]
        certificate_row, certified = _certificates(running)
        rows += _v1_rows(running, new_keys(SIGNERS), "plain key")
        rows += _v1_rows(running, certified, "certificate")
        rows += [certificate_row, _timestamps(running)]
        rows.append(_memory("memory of the group after the load", cpu))
    return rows


def _memory(work: str, cpu: GroupCPU) -> Row:
    return Row(work, cpu.memory_mb(), "MB", limit=250.0, limit_name="budget")

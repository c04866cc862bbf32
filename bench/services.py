# SPDX-License-Identifier: Apache-2.0
"""Server CPU of a log entry, a certificate and a timestamp, beside their public-key floors."""

import hashlib
import json
import os
import statistics
from collections.abc import Sequence
from itertools import islice

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.instance import (
    Instance,
    SigningKey,
    hashedrekord,
    instance,
    new_keys,
    signing_cert_requests,
)
from bench.load import LoadResult, post, run_load
from bench.measure import GroupCPU, Row, cpu_per_call, percentile, spread
from countermark.core.crypto import der

WINDOWS = 7
CLIENTS = 32
WARM, BUSY, ALONE = 300, 800, 80
SIGNERS = WARM + WINDOWS * (BUSY + ALONE)
V1_ENTRIES = "/api/v1/log/entries"


def floors() -> dict[str, float]:
    """CPU seconds of one operation with `cryptography`, by name."""
    message = b"x" * 200
    key = ec.generate_private_key(ec.SECP256R1())
    algorithm = ec.ECDSA(SHA256())
    signature = key.sign(message, algorithm)
    public = key.public_key()
    rsa_key = rsa.generate_private_key(65537, 2048)
    rsa_signature = rsa_key.sign(message, padding.PKCS1v15(), SHA256())
    rsa_public = rsa_key.public_key()
    return {
        "P-256 sign": cpu_per_call(lambda: key.sign(message, algorithm)),
        "P-256 verify": cpu_per_call(lambda: public.verify(signature, message, algorithm)),
        "RS256 verify": cpu_per_call(
            lambda: rsa_public.verify(rsa_signature, message, padding.PKCS1v15(), SHA256())
        ),
    }


def _windows(
    running: Instance, windows: Sequence[Sequence[bytes]], expected: int, *, clients: int
) -> tuple[list[float], list[LoadResult], list[dict[str, float]]]:
    """Server CPU seconds a request in each window, with the floors timed between windows."""
    cpu = GroupCPU(running.process.pid)
    costs, results, sampled = [], [], []
    for requests in windows:
        sampled.append(floors())
        cpu.start()
        result = run_load(running.port, requests, clients=clients, keep=True)
        costs.append(cpu.seconds() / len(requests))
        if set(result.statuses) != {expected}:
            raise SystemExit(f"unexpected answers: {dict(result.statuses)}")
        results.append(result)
    return costs, results, sampled


def _row(
    work: str,
    costs: Sequence[float],
    results: Sequence[LoadResult],
    floor: Sequence[float],
    name: str,
) -> Row:
    latencies = [latency for result in results for latency in result.latencies_s]
    return Row(
        work,
        statistics.median(costs) * 1e6,
        "µs server CPU",
        spread(costs) * 1e6,
        statistics.median(floor) * 1e6,
        name,
        {
            "ratio_of_windows": round(
                statistics.median(c / f for c, f in zip(costs, floor, strict=True)), 2
            ),
            "per_second": round(statistics.median(r.per_second for r in results)),
            "p50_ms": round(percentile(latencies, 0.5) * 1e3, 2),
            "p99_ms": round(percentile(latencies, 0.99) * 1e3, 2),
            "requests": len(latencies),
        },
    )


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
        windows = _entries(part, count)
        costs, results, sampled = _windows(running, windows, 201, clients=clients)
        floor = [s["P-256 verify"] + s["P-256 sign"] for s in sampled]
        noun = "client" if clients == 1 else "clients"
        work = f"v1 POST hashedrekord, {kind}, {clients} {noun}"
        rows.append(_row(work, costs, results, floor, "P-256 verify + sign"))
    return rows


def _certificates(running: Instance) -> tuple[Row, list[SigningKey]]:
    """The certificate row, and keys with the certificates that were issued for them."""
    signers = new_keys(SIGNERS)
    per_window = SIGNERS // WINDOWS
    windows: list[list[bytes]] = []
    results: list[LoadResult] = []
    costs: list[float] = []
    sampled: list[dict[str, float]] = []
    for start in range(0, per_window * WINDOWS, per_window):
        # a token lives ten minutes: each window has its own
        bodies = signing_cert_requests(running.token(), signers[start : start + per_window])
        windows.append([post("/api/v2/signingCert", body, "application/json") for body in bodies])
    run_load(running.port, windows[0][:WARM], clients=CLIENTS)
    for requests in windows:
        cost, window, floor = _windows(running, [requests], 200, clients=CLIENTS)
        costs, results, sampled = costs + cost, results + window, sampled + floor
    floors_ = [s["RS256 verify"] + 2 * s["P-256 verify"] + 3 * s["P-256 sign"] for s in sampled]
    row = _row(
        f"certificate with embedded SCT, {CLIENTS} clients",
        costs,
        results,
        floors_,
        "RS256 verify + 2 P-256 verify + 3 sign",
    )
    alone = run_load(running.port, windows[0][:ALONE], clients=1)
    row.detail["p50_ms_one_client"] = round(percentile(alone.latencies_s, 0.5) * 1e3, 2)
    return row, _with_certificates(signers, [body for r in results for body in r.replies])


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
    costs, results, sampled = _windows(running, windows, 200, clients=CLIENTS)
    floor = [s["P-256 sign"] for s in sampled]
    return _row(f"timestamp token, {CLIENTS} clients", costs, results, floor, "P-256 sign")


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

# SPDX-License-Identifier: Apache-2.0
import pytest

from countermark.core.crypto import der
from countermark.core.errors import AlgorithmRefused, FormatError, RequestRejected
from countermark.core.tsp.request import SIGSTORE_POLICY, TimestampRequest, message_imprint

DIGEST = bytes(range(32))
# Made by `openssl ts -query -digest 000102… -sha256 -cert`.
BY_OPENSSL = bytes.fromhex(
    "30430201013031300d060960864801650304020105000420000102030405060708090a0b0c0d0e0f10111213"
    "1415161718191a1b1c1d1e1f02080c234be6b48726e30101ff"
)


def query(*after_imprint: bytes, version: int = 1) -> bytes:
    return der.sequence(der.integer(version), message_imprint("sha256", DIGEST), *after_imprint)


def test_reads_what_openssl_writes() -> None:
    request = TimestampRequest.parse(BY_OPENSSL)
    assert request == TimestampRequest("sha256", DIGEST, 0x0C234BE6B48726E3, certificates=True)
    assert request.serialize() == BY_OPENSSL


def test_algorithm_parameters_may_be_left_out() -> None:
    algorithm = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"))
    data = der.sequence(der.integer(1), der.sequence(algorithm, der.octet_string(DIGEST)))
    assert TimestampRequest.parse(data) == TimestampRequest("sha256", DIGEST)


def test_reads_every_field() -> None:
    fields = (der.oid(SIGSTORE_POLICY), der.integer(-5), der.boolean(False))
    expected = TimestampRequest("sha256", DIGEST, -5, SIGSTORE_POLICY)
    assert TimestampRequest.parse(query(*fields)) == expected


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends early"),
        (query(version=2), "version is not 1"),
        (query() + b"\x00", "trailing"),
        (query(der.boolean(True), der.integer(1)), "trailing"),
        (query(b"\x01\x01\x01"), "certReq"),
        (query(b"\x01\x02\xff\xff"), "certReq"),
        (query(der.integer(1 << 511)), "nonce is larger"),
        (query(der.encode(der.context(0), b"")), "ends early"),
        (bytes(65_537), "larger than"),
        (query().replace(b"\x04\x02\x01\x05", b"\x04\x02\x04\x05"), "is not supported"),
    ],
)
def test_refuses_malformed_queries(data: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        TimestampRequest.parse(data)


def test_refuses_weak_hashes_before_looking_at_lengths() -> None:
    algorithm = der.sequence(der.oid("1.3.14.3.2.26"), der.NULL_VALUE)
    data = der.sequence(der.integer(1), der.sequence(algorithm, der.octet_string(b"")))
    with pytest.raises(AlgorithmRefused, match="Weak hash"):
        TimestampRequest.parse(data)


def test_refuses_extensions_whatever_they_say() -> None:
    extension = der.sequence(der.oid("1.2.3.4"), der.boolean(True), der.octet_string(b""))
    with pytest.raises(RequestRejected, match=r"unaccepted extension: 1\.2\.3\.4"):
        TimestampRequest.parse(query(der.encode(der.context(0), extension)))


@pytest.mark.parametrize("policy", ["", "1", "1.", "3.1", "1.40", "1.02", "a.b", "1.2.3\n"])
def test_refuses_policies_that_are_no_identifiers(policy: str) -> None:
    with pytest.raises(FormatError, match="policy"):
        TimestampRequest("sha256", DIGEST, policy=policy)


def test_refuses_endless_policies() -> None:
    with pytest.raises(RequestRejected, match="at most 128 components"):
        TimestampRequest("sha256", DIGEST, policy="1.2" + ".3" * 127)
    TimestampRequest("sha256", DIGEST, policy="1.2" + ".3" * 126)


def test_refuses_unknown_hashes() -> None:
    with pytest.raises(FormatError, match="not supported"):
        TimestampRequest("md5", bytes(16))

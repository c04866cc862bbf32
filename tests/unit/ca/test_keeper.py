# SPDX-License-Identifier: Apache-2.0
"""Issuing while the authority is replaced: one certificate never mixes two keys."""

import asyncio
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from countermark.ca.authority import IssuingAuthority
from countermark.ca.keeper import CertificateKeeper
from countermark.ca.messages import CTSubmissionFailed, IssueCertificate, Issued
from countermark.core.crypto.certificate import OID_PRECERT_POISON, OID_SCT_LIST, Certificate
from countermark.core.errors import (
    FormatError,
    OutcomeUnknown,
    Pushback,
    Unavailable,
    UpstreamDown,
)
from countermark.core.identity.profile import subject_key_id
from countermark.ctlog.keeper import CTLog
from countermark.drivers.keys.file import FileSigner
from countermark.rpc.local import LocalKeeper
from tests.support.authority import (
    CertifyingInstance,
    Chain,
    Randomness,
    SettableClock,
    make_chain,
    spki,
)

KEY = spki(ec.generate_private_key(ec.SECP256R1()))
REQUEST = IssueCertificate(KEY, subject_key_id(KEY), "email", "ann@example.com", ((1, "i"),))


def authority(chain: Chain) -> IssuingAuthority:
    return IssuingAuthority.load(chain.certificates, FileSigner(chain.issuing_key))


class RotatingLog:
    """A real CT log that replaces the CA's authority while it has the precertificate."""

    def __init__(self, log: CTLog, replacement: IssuingAuthority) -> None:
        self.log = log
        self.replacement = replacement
        self.keeper: CertificateKeeper | None = None
        self.logged: list[tuple[bytes, bytes]] = []

    async def submit_precertificate(
        self, precertificate: bytes, tbs: bytes, issuer_key_hash: bytes, chain: tuple[bytes, ...]
    ) -> bytes:
        assert self.keeper is not None
        self.keeper.rotate(self.replacement)
        self.logged.append((precertificate, tbs))
        return await self.log.submit_precertificate(precertificate, tbs, issuer_key_hash, chain)


def test_rotation_between_the_two_signatures() -> None:
    old, new = make_chain(), make_chain()
    with CertifyingInstance(old) as instance:
        log = RotatingLog(instance.ct, authority(new))
        keeper = CertificateKeeper(
            authority(old), log, instance.ct_signer.public_key, instance.clock, Randomness()
        )
        log.keeper = keeper
        first = instance.wait(keeper.issue(REQUEST))
        second = instance.wait(keeper.issue(REQUEST))
    for issued, chain, (precertificate, tbs) in zip(
        (first, second), (old, new), log.logged, strict=True
    ):
        leaf, poisoned = Certificate.parse(issued.chain[0]), Certificate.parse(precertificate)
        issuer = Certificate.parse(chain.certificates[0])
        assert issued.chain[1:] == chain.certificates
        for certificate in (leaf, poisoned):
            certificate.verify_signature(issuer.public_key)
            assert certificate.serial == leaf.serial
        assert leaf.tbs_without(OID_SCT_LIST) == poisoned.tbs_without(OID_PRECERT_POISON) == tbs


class FailingLog:
    """A log that answers with one of our errors, or with bytes of its own."""

    def __init__(self, answer: Exception | bytes) -> None:
        self.answer = answer

    async def submit_precertificate(self, *_: object) -> bytes:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def issue(log: FailingLog) -> Issued:
    key = FileSigner(ec.generate_private_key(ec.SECP256R1())).public_key
    keeper = CertificateKeeper(authority(make_chain()), log, key, SettableClock(), Randomness())
    return asyncio.run(keeper.issue(REQUEST))


@pytest.mark.parametrize(
    "answer",
    [
        UpstreamDown("no answer"),
        FormatError("SCT", "is odd"),
        b"",
        b"\x00" + hashlib.sha256(b"another log").digest() + bytes(14),
    ],
)
def test_without_a_good_sct_nothing_is_issued(answer: Exception | bytes) -> None:
    with pytest.raises(CTSubmissionFailed):
        issue(FailingLog(answer))


@pytest.mark.parametrize(
    "answer", [Pushback("busy", 7), Unavailable("stopping"), OutcomeUnknown("half written")]
)
def test_errors_that_mean_more_pass_through(answer: Exception) -> None:
    with pytest.raises(type(answer)):
        issue(FailingLog(answer))


@pytest.mark.parametrize(
    "request_",
    [
        IssueCertificate(b"short", bytes(20), "email", "a@b.c", ()),
        IssueCertificate(bytes(3000), bytes(20), "email", "a@b.c", ()),
        IssueCertificate(KEY, bytes(19), "email", "a@b.c", ()),
        IssueCertificate(KEY, bytes(20), "dns", "a@b.c", ()),  # type: ignore[arg-type]
        IssueCertificate(KEY, bytes(20), "email", "", ()),
        IssueCertificate(KEY, bytes(20), "email", "a@b.c", ((0, "x"),)),
        IssueCertificate(KEY, bytes(20), "email", "a@b.c", ((1, "x"),) * 65),
    ],
)
def test_keeper_takes_no_fields_of_impossible_size(request_: IssueCertificate) -> None:
    with CertifyingInstance() as instance:
        keeper = LocalKeeper(instance.ca.handlers())
        with pytest.raises(FormatError):
            instance.wait(keeper.call(request_))

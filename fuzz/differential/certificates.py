# SPDX-License-Identifier: Apache-2.0
"""Our X.509 and DER reader beside `cryptography.x509`, over changed certificates.

Both refuse, or both accept and say the same of every field, or `RULES` knows the difference. What
only one of them looks at (we read extensions when they are asked for) is compared where both do.
"""

import re
import warnings
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from countermark.core.crypto.certificate import Certificate
from countermark.core.errors import AlgorithmRefused, FormatError
from fuzz.differential.bundles import Base
from fuzz.mutate import mutate

_MAX_BYTES = 16 * 1024


class Rule(NamedTuple):
    """One known difference.

    Attributes:
        name: its id on the page.
        what: the part that the readers differ about.
        we_accept: whether we accept it and `cryptography` refuses, or the other way round.
        why: pattern for a part of the refuser's words.
        later: the part of ours that must be refused in its stead, if any: what `cryptography`
            reads at once and we when it is asked for.
    """

    name: str
    what: str
    we_accept: bool
    why: str
    later: str = ""


_SPKI = r"TbsCertificate::spki|SubjectPublicKeyInfo::"
_NAMES = r"TbsCertificate::(issuer|subject)|AttributeTypeValue::"
_X500 = r"error parsing asn1|attributes|distinguished name|X500"
RULES: tuple[Rule, ...] = (
    Rule("x509-lazy-keys", "certificate", True, _SPKI, "public key"),
    Rule("x509-opaque-names", "certificate", True, _NAMES),
    Rule("x509-opaque-names", "issuer", True, _X500),
    Rule("x509-opaque-names", "subject", True, _X500),
    Rule("x509-lazy-extensions", "extensions", True, r'"BasicConstraints', "basic constraints"),
    Rule("x509-lazy-extensions", "extensions", True, r'"subject_alternative_name', "names"),
    Rule("x509-lazy-extensions", "extensions", True, r"path_length", "basic constraints"),
    Rule("x509-lazy-extensions", "extensions", True, r"."),
    Rule("x509-long-identifiers", "certificate", True, r"OidTooLong"),
    Rule("x509-unused-bits", "certificate", False, r"DER bit string has unused bits"),
    Rule("x509-two-algorithms", "certificate", False, r"names two different signature algorithms"),
    Rule("x509-extensions-v3", "certificate", False, r"has extensions but is not version 3"),
    Rule("x509-extension-twice", "certificate", False, r"holds an extension twice"),
    Rule("x509-key-usage", "key usage", False, r"is not a named bit list"),
    Rule("x509-key-policy", "public key", False, r"."),
)


class Said(NamedTuple):
    """What a reader says of one part of a certificate: a value, or why there is none."""

    value: Any
    refusal: str = ""


@dataclass
class Outcome:
    """What a run found, as that of `judge`."""

    cases: int = 0
    accepted: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    unexplained: list[tuple[bytes, str, Said, Said]] = field(default_factory=list)


def certificates(found: Sequence[Base]) -> list[bytes]:
    """The certificates in bundles and in their trusted roots."""
    texts = [base.data.decode("utf-8", "replace") for base in found]
    texts += [Path(root).read_text() for root in {base.root for base in found}]
    encoded = {text for part in texts for text in re.findall(r'"rawBytes": *"(MII[^"]+)"', part)}
    return [b64decode(text + "=" * (-len(text) % 4)) for text in sorted(encoded)]


def mutants(found: Sequence[bytes], random: Random, count: int) -> Iterator[bytes]:
    """Every certificate as it is, then `count` changed ones."""
    yield from found
    for _ in range(count):
        data = random.choice(found)
        kind = random.randrange(4)
        if kind == 0:  # one bit
            at = random.randrange(len(data))
            yield data[:at] + bytes((data[at] ^ 1 << random.randrange(8),)) + data[at + 1 :]
        elif kind == 1:  # one byte
            at = random.randrange(len(data))
            yield data[:at] + random.randbytes(1) + data[at + 1 :]
        else:
            yield mutate(data, random, _MAX_BYTES)


def judge(certificates: Iterable[bytes]) -> Outcome:
    """Compare what both readers say."""
    outcome = Outcome()
    for data in certificates:
        outcome.cases += 1
        ours, theirs = _ours(data), _theirs(data)
        outcome.accepted += not ours["certificate"].refusal
        for what in ours.keys() & theirs.keys():
            own, other = ours[what], theirs[what]
            if (own.value, bool(own.refusal)) == (other.value, bool(other.refusal)):
                continue
            rule = _rule(what, ours, other)
            if rule is None:
                outcome.unexplained.append((data, what, own, other))
            else:
                outcome.explained[rule.name] += 1
    return outcome


def _rule(what: str, ours: dict[str, Said], other: Said) -> Rule | None:
    own = ours[what]
    if bool(own.refusal) == bool(other.refusal):
        return None  # both have a value, and the values differ
    for rule in RULES:
        fits = rule.what == what and rule.we_accept == bool(other.refusal)
        if fits and re.search(rule.why, other.refusal or own.refusal):
            return rule if not rule.later or ours[rule.later].refusal else None
    return None


def _said(read: Callable[[], Any], *refusals: type[Exception]) -> Said:
    try:
        return Said(read())
    except refusals as error:
        return Said(None, f"{type(error).__name__}: {error}")


def _ours(data: bytes) -> dict[str, Said]:
    read = _said(lambda: Certificate.parse(data), FormatError)
    said = {"certificate": Said(read.refusal == "", read.refusal)}
    if read.refusal:
        return said
    certificate: Certificate = read.value

    def ask(what: str, get: Callable[[], Any]) -> None:
        said[what] = _said(get, FormatError, AlgorithmRefused)

    ask("version", lambda: certificate.version)
    ask("serial", lambda: certificate.serial)
    ask("signature algorithm", lambda: certificate.signature_algorithm)
    ask("issuer", lambda: certificate.issuer)
    ask("subject", lambda: certificate.subject)
    ask("validity", lambda: (certificate.not_before, certificate.not_after))
    ask("tbs", lambda: certificate.tbs)
    ask("signature", lambda: certificate.signature)
    ask("public key", lambda: certificate.public_key.spki)
    ask("extensions", lambda: tuple((item.oid, item.critical) for item in certificate.extensions))
    ask("basic constraints", certificate.basic_constraints)
    ask("key usage", lambda: [certificate.has_key_usage(bit) for bit in (0, 5)])
    ask("extended key usage", certificate.extended_key_usages)
    ask("names", lambda: sorted(certificate.subject_alternative_names()))
    return said


def _theirs(data: bytes) -> dict[str, Said]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = _said(lambda: x509.load_der_x509_certificate(data), ValueError, x509.InvalidVersion)
        said = {"certificate": Said(read.refusal == "", read.refusal)}
        if read.refusal:
            return said
        certificate: x509.Certificate = read.value
        refusals = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, TypeError,
                    x509.UnsupportedGeneralNameType, x509.InvalidVersion)  # fmt: skip

        def ask(what: str, get: Callable[[], Any]) -> None:
            said[what] = _said(get, *refusals)

        ask("version", lambda: certificate.version.value + 1)
        ask("serial", lambda: certificate.serial_number)
        ask("signature algorithm", lambda: certificate.signature_algorithm_oid.dotted_string)
        ask("issuer", lambda: certificate.issuer.public_bytes())
        ask("subject", lambda: certificate.subject.public_bytes())
        ask("validity", lambda: (certificate.not_valid_before_utc, certificate.not_valid_after_utc))
        ask("tbs", lambda: certificate.tbs_certificate_bytes)
        ask("signature", lambda: certificate.signature)
        ask("public key", lambda: _spki(certificate))
        ask("extensions", lambda: _extensions(certificate))
        if not said["extensions"].refusal:
            ask("basic constraints", lambda: _basic_constraints(certificate))
            ask("key usage", lambda: _key_usage(certificate))
            ask("extended key usage", lambda: _extended_key_usages(certificate))
            ask("names", lambda: sorted(_names(certificate)))
        return said


def _spki(certificate: x509.Certificate) -> bytes:
    form = PublicFormat.SubjectPublicKeyInfo
    return certificate.public_key().public_bytes(Encoding.DER, form)


def _extensions(certificate: x509.Certificate) -> tuple[tuple[str, bool], ...]:
    return tuple((item.oid.dotted_string, item.critical) for item in certificate.extensions)


def _find(certificate: x509.Certificate, kind: type[Any]) -> Any:
    for item in certificate.extensions:
        if isinstance(item.value, kind):
            return item.value
    return None


def _basic_constraints(certificate: x509.Certificate) -> tuple[bool, int | None]:
    value = _find(certificate, x509.BasicConstraints)
    return (False, None) if value is None else (value.ca, value.path_length)


def _key_usage(certificate: x509.Certificate) -> list[bool | None]:
    value = _find(certificate, x509.KeyUsage)
    if value is None:
        return [None, None]
    return [value.digital_signature, value.key_cert_sign]


def _extended_key_usages(certificate: x509.Certificate) -> tuple[str, ...] | None:
    value = _find(certificate, x509.ExtendedKeyUsage)
    return None if value is None else tuple(usage.dotted_string for usage in value)


def _names(certificate: x509.Certificate) -> list[tuple[str, str]]:
    value = _find(certificate, x509.SubjectAlternativeName)
    kinds = {x509.RFC822Name: "email", x509.UniformResourceIdentifier: "uri", x509.DNSName: "dns"}
    found = []
    for name in value or ():
        if isinstance(name, x509.OtherName):
            if name.value[:1] != b"\x0c":
                raise ValueError("the other name is not UTF-8 text")
            found.append((name.type_id.dotted_string, name.value[2:].decode()))
        elif type(name) in kinds:
            found.append((kinds[type(name)], name.value))
        else:
            raise ValueError(f"a name of kind {type(name).__name__}")
    return found

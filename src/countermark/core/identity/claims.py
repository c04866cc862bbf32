# SPDX-License-Identifier: Apache-2.0
"""From the claims of a verified token to the names in a certificate.

Two steps, as upstream's: who the token speaks of (`principal_from_token`; failures are the
token's fault), and what a certificate says about them (`certificate_identity`; failures are
names that no certificate can hold). Issuer types: ``email`` and ``github-workflow``.
Numbers are those of the extensions 1.3.6.1.4.1.57264.1.N.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from countermark.core.errors import TokenRejected
from countermark.core.identity.token import Claims, VerifiedToken
from countermark.core.identity.uri import ia5, printed_uri

NameType: TypeAlias = Literal["email", "uri"]
Extensions: TypeAlias = tuple[tuple[int, str], ...]

ISSUER_V1, ISSUER_V2, TOKEN_SUBJECT = 1, 8, 24
CHALLENGE_CLAIMS: Final[Mapping[str, str]] = {"email": "email", "github-workflow": "sub"}
"""Which claim's value is signed as proof of possession, by issuer type."""

_GITHUB = "https://github.com"
_GITHUB_CLAIMS = (
    "job_workflow_ref",
    "sha",
    "event_name",
    "repository",
    "workflow",
    "ref",
    "job_workflow_sha",
    "runner_environment",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "repository_visibility",
    "workflow_ref",
    "workflow_sha",
    "run_id",
    "run_attempt",
)
_MAX_EMAIL_CHARS = 254
_LETTERS = "A-Za-z0-9\u00a0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef"
_ATOM = re.compile(rf"[{_LETTERS}!#$%&'*+/=?^_`{{|}}~-]+")
_LABEL = re.compile(rf"[{_LETTERS}](?:[{_LETTERS}_~-]*[{_LETTERS}])?")


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """What a certificate will say about its subject.

    Attributes:
        san_type: which kind of name the subject alternative name is.
        san_value: the name, ASCII.
        extensions: Fulcio extensions as (N, text), N ascending, no empty text.
    """

    san_type: NameType
    san_value: str
    extensions: Extensions


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a token speaks of.

    Attributes:
        name: what the requester signs as proof of possession.
        issuer: the token's issuer.
        issuer_type: how `claims` are to be understood.
        claims: the text claims that its type needs, none of them empty.
    """

    name: str
    issuer: str
    issuer_type: str
    claims: Mapping[str, str]


def principal_from_token(token: VerifiedToken) -> Principal:
    """Who a verified token speaks of. Raises TokenRejected."""
    reader = _READERS.get(token.issuer_type)
    if reader is None:
        raise TokenRejected(f"issuers of type {token.issuer_type!r} are not supported")
    claims = reader(token.claims)
    issuer = _text({"iss": token.issuer_url}, "iss")
    subject = _optional_text(token.claims, "sub")
    name = claims[CHALLENGE_CLAIMS[token.issuer_type]]
    return Principal(name, issuer, token.issuer_type, {**claims, "sub": subject})


def certificate_identity(principal: Principal) -> CertificateIdentity:
    """What a certificate for `principal` says.

    Raises RequestRejected, in upstream's words, for a name that has no form in a certificate.
    """
    claims = principal.claims
    if principal.issuer_type == "email":
        name_type: NameType = "email"
        name, extra = ia5(claims["email"]), {}
    else:
        name_type = "uri"
        name = printed_uri(_GITHUB, "/" + claims["job_workflow_ref"])
        extra = _github_extensions(claims)
    values = {
        ISSUER_V1: principal.issuer,
        ISSUER_V2: principal.issuer,
        TOKEN_SUBJECT: claims["sub"],
        **extra,
    }
    extensions = tuple((number, values[number]) for number in sorted(values) if values[number])
    return CertificateIdentity(name_type, name, extensions)


def _email_claims(claims: Claims) -> Mapping[str, str]:
    email = _text(claims, "email")
    verified = claims.get("email_verified")
    if verified is not True and verified not in ("true", "True"):
        raise TokenRejected("the token's e-mail address is not verified", "email")
    local, _, domain = email.rpartition("@")
    labels = domain.split(".")
    well_formed = (
        len(email) <= _MAX_EMAIL_CHARS
        and all(map(_ATOM.fullmatch, local.split(".")))
        and len(labels) > 1
        and all(map(_LABEL.fullmatch, labels))
    )
    if not well_formed:
        raise TokenRejected("the token's e-mail address is not well-formed", "email")
    return {"email": email}


def _github_claims(claims: Claims) -> Mapping[str, str]:
    found = {name: _text(claims, name) for name in (*_GITHUB_CLAIMS, "sub")}
    return {**found, "environment": _optional_text(claims, "environment")}


def _github_extensions(claims: Mapping[str, str]) -> dict[int, str]:
    repository = f"{_GITHUB}/{claims['repository']}"
    run = f"{repository}/actions/runs/{claims['run_id']}/attempts/{claims['run_attempt']}"
    return {
        2: claims["event_name"],
        3: claims["sha"],
        4: claims["workflow"],
        5: claims["repository"],
        6: claims["ref"],
        # Not sent through the URI printer, so it can differ from the SAN, as upstream's does.
        9: f"{_GITHUB}/{claims['job_workflow_ref']}",
        10: claims["job_workflow_sha"],
        11: claims["runner_environment"],
        12: repository,
        13: claims["sha"],
        14: claims["ref"],
        15: claims["repository_id"],
        16: f"{_GITHUB}/{claims['repository_owner']}",
        17: claims["repository_owner_id"],
        18: f"{_GITHUB}/{claims['workflow_ref']}",
        19: claims["workflow_sha"],
        20: claims["event_name"],
        21: run,
        22: claims["repository_visibility"],
        23: claims["environment"],
    }


def _text(claims: Claims, name: str) -> str:
    value = _optional_text(claims, name)
    if not value:
        raise TokenRejected(f"the token's {name!r} claim is missing")
    return value


def _optional_text(claims: Claims, name: str) -> str:
    value = claims.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TokenRejected(f"the token's {name!r} claim is not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TokenRejected(f"the token's {name!r} claim holds a lone surrogate") from error
    return value


_READERS: Final[Mapping[str, Callable[[Claims], Mapping[str, str]]]] = {
    "email": _email_claims,
    "github-workflow": _github_claims,
}

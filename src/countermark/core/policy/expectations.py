# SPDX-License-Identifier: Apache-2.0
"""Reading the tables of a policy file that say who may have signed, and noting every fault."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from countermark.core.errors import RequestRejected
from countermark.core.verify.claims import CLAIMS, NAMING, Claim, ClaimPattern, extensions_of
from countermark.core.verify.glob import matches
from countermark.core.verify.pattern import Pattern
from countermark.core.verify.policy import (
    AllOf,
    AnyOf,
    Identity,
    IdentityPattern,
    Issuer,
    Policy,
)

_WHO = ("identity", "identity-regex", "issuer", "issuer-regex")
_MAX_DEPTH = 8
_MAX_MEMBERS = 64
_MAX_TEXT = 2048
_MAX_MEANT = 8  # finding what was meant takes time, and a reader has had enough by then
_ANYTHING = r"(?:.|\n)+"


class Reader:
    """Values of a decoded TOML document, and a list of all that is wrong with them."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def fault(self, where: str, why: str) -> None:
        """Note what is wrong with the value at `where`."""
        self.faults.append(f"{where} {why}")

    def known(self, table: Mapping[str, Any], where: str, names: Sequence[str]) -> None:
        """Note every key that is not one of `names`."""
        for key in table:
            if key not in names:
                place = f"{where}.{key[:80]}" if where else key[:80]
                meant = _meant(key, names) if len(self.faults) < _MAX_MEANT else ""
                self.fault(place, f"is not known here{meant}")

    def table(self, value: object, where: str) -> Mapping[str, Any]:
        """A table; an empty one, and a fault, for anything else."""
        if isinstance(value, dict):
            return value
        self.fault(where, "is not a table")
        return {}

    def tables(
        self, parent: Mapping[str, Any], name: str, where: str, limit: int
    ) -> Iterator[tuple[Mapping[str, Any], str]]:
        """The tables of a list, each with its place in the document."""
        values = parent.get(name, [])
        if not isinstance(values, list) or (name in parent and not values):
            self.fault(where, "is not a list of tables with at least one")
            return
        if len(values) > limit:
            self.fault(where, f"has more than {limit} members")
            return
        for number, value in enumerate(values, 1):
            place = f"{where}[{number}]"
            yield self.table(value, place), place

    def text(self, table: Mapping[str, Any], name: str, where: str) -> str:
        """Text that is not empty, or "" if it is absent."""
        values = self.texts(table, name, where, 1, lists=False)
        return values[0] if values else ""

    def texts(
        self, table: Mapping[str, Any], name: str, where: str, limit: int, *, lists: bool = True
    ) -> tuple[str, ...]:
        """One text, or a list of some; nothing if it is absent."""
        if name not in table:
            return ()
        value = table[name]
        values = value if lists and isinstance(value, list) else [value]
        if not 1 <= len(values) <= limit:
            self.fault(f"{where}.{name}", f"has not 1 to {limit} members")
        elif all(isinstance(item, str) and 0 < len(item) <= _MAX_TEXT for item in values):
            return tuple(values)
        else:
            kind = "text, or a list of texts," if lists else "text"
            self.fault(f"{where}.{name}", f"is not {kind} of 1 to {_MAX_TEXT} characters")
        return ()

    def group(self, table: Mapping[str, Any], where: str, depth: int = 0) -> Policy | None:
        """What `any` and `all` of a table ask for; None if it has neither.

        Both together ask for both. Members are groups again, or say who.
        """
        asked: list[Policy] = []
        for name, kind in (("any", AnyOf), ("all", AllOf)):
            if name not in table:
                continue
            if depth == _MAX_DEPTH:
                self.fault(f"{where}.{name}", "is nested too deeply")
                return None
            members: list[Policy] = []
            for member, place in self.tables(table, name, f"{where}.{name}", _MAX_MEMBERS):
                if "any" in member or "all" in member:
                    self.known(member, place, ("any", "all"))
                    policy = self.group(member, place, depth + 1)
                else:
                    policy = self._who(member, place)
                if policy is not None:
                    members.append(policy)
            asked.append(kind(tuple(members)))
        if not asked:
            return None
        return asked[0] if len(asked) == 1 else AllOf(tuple(asked))

    def _who(self, table: Mapping[str, Any], where: str) -> Policy | None:
        """A table that says who: name and issuer, claims."""
        self.known(table, where, (*_WHO, *CLAIMS, "extensions"))
        claims = [
            claim
            for name in table
            if name in CLAIMS and (claim := self._claim(table, name, name, where)) is not None
        ]
        extensions = self.table(table.get("extensions", {}), f"{where}.extensions")
        for name in extensions:
            try:
                extensions_of(name)
            except RequestRejected as error:
                self.fault(f"{where}.extensions", str(error))
                continue
            claim = self._claim(extensions, name, name, f"{where}.extensions")
            if claim is not None:
                claims.append(claim)
        who = self._name(table, where, named=any(item.name in NAMING for item in claims))
        return None if who is None else AllOf((who, *claims)) if claims else who

    def _name(self, table: Mapping[str, Any], where: str, *, named: bool) -> Policy | None:
        names = self.texts(table, "identity", where, _MAX_MEMBERS)
        pattern = self._pattern(table, "identity-regex", where)
        issuer = self.text(table, "issuer", where)
        issuer_pattern = self._pattern(table, "issuer-regex", where)
        if names and pattern:
            self.fault(where, "has both an identity and an identity-regex")
        if bool(issuer) == bool(issuer_pattern):
            self.fault(where, "needs an issuer or an issuer-regex, and only one of them")
            return None
        if not (names or pattern or named):
            self.fault(
                where, "names nobody: add an identity, or a claim like repository or owner-id"
            )
            return None
        if issuer and names:
            return AnyOf(tuple(Identity(name, issuer) for name in names))
        if issuer and not pattern:
            return Issuer(issuer)
        patterns = (pattern or _ANYTHING,) if not names else tuple(map(re.escape, names))
        by = issuer_pattern or re.escape(issuer)
        return AnyOf(tuple(IdentityPattern(item, by) for item in patterns))

    def _claim(
        self, table: Mapping[str, Any], key: str, name: str, where: str
    ) -> Claim | ClaimPattern | None:
        value = table[key]
        if isinstance(value, dict):
            place = f"{where}.{key}"
            self.known(value, place, ("regex",))
            pattern = self._pattern(value, "regex", place)
            if not pattern:
                self.fault(place, "is a table without regex")
            return ClaimPattern(name, pattern) if pattern else None
        values = self.texts(table, key, where, _MAX_MEMBERS)
        for item in values:
            if name == "ref" and "*" in item:
                try:
                    matches(item, "")
                except RequestRejected as error:
                    self.fault(f"{where}.{key}", str(error))
        return Claim(name, values) if values else None

    def _pattern(self, table: Mapping[str, Any], name: str, where: str) -> str:
        text = self.text(table, name, where)
        if text:
            try:
                Pattern(text)
            except RequestRejected as error:
                self.fault(f"{where}.{name}", str(error))
                return ""
        return text


def _meant(key: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key[:80], names, 1)
    return f" (did you mean {close[0]}?)" if close else ""

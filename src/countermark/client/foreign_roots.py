# SPDX-License-Identifier: Apache-2.0
"""Files with several trusted roots, one a line, as some vendors publish them (JSON Lines).

Each bundle is judged under one of them alone: the roots of several instances do not mix.
"""

from contextlib import suppress
from typing import NamedTuple

from countermark.client.verify import Root, parse_root, read_file, root_of
from countermark.core.bundle.bundle import Bundle
from countermark.core.bundle.trusted_root import MAX_TRUSTED_ROOT_BYTES, TrustedRoot
from countermark.core.crypto.certificate import Certificate
from countermark.core.errors import AlgorithmRefused, ChainInvalid, FormatError, SignatureInvalid

_MAX_ROOTS = 32


class Roots(NamedTuple):
    """Roots to choose among by what a bundle names.

    Attributes:
        name: the file they came from.
        roots: at least one.
    """

    name: str
    roots: tuple[Root, ...]

    @classmethod
    def from_file(cls, path: str) -> "Roots":
        """Read a TrustedRoot, a ClientTrustConfig, or JSON Lines of them; or one that was merged.

        Raises NotFound, FormatError, OSError.
        """
        data = read_file(path, MAX_TRUSTED_ROOT_BYTES)
        found = cls.parse(data, path)
        return found if len(found.roots) > 1 else cls(path, (root_of(path, data),))

    @classmethod
    def parse(cls, data: bytes, name: str) -> "Roots":
        """Read what `from_file` reads. Raises FormatError."""
        lines = [line for line in data.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.lstrip().startswith(b"{") for line in lines):
            return cls(
                name, (Root(name, parse_root(data)),)
            )  # one document, however it is laid out
        if len(lines) > _MAX_ROOTS:
            raise FormatError(name, f"holds more than {_MAX_ROOTS} trusted roots")
        return cls(
            name,
            tuple(
                Root(f"{name}, line {number}", parse_root(line))
                for number, line in enumerate(lines, start=1)
            ),
        )

    def choose(self, bundle: Bundle) -> Root:
        """The root that knows every log that the bundle names, and the certificate's issuer.

        Raises ChainInvalid, with a note that says what to do, if there is none.
        """
        if len(self.roots) == 1:
            return self.roots[0]
        wanted = {entry.log_id for entry in bundle.tlog_entries}
        leaf = Certificate.parse(bundle.certificates[0]) if bundle.certificates else None
        for root in self.roots:
            known = {log.log_id for log in root.trusted_root.tlogs}
            if wanted <= known and (leaf is None or _issues(root.trusted_root, leaf)):
                return root
        error = ChainInvalid(f"no trusted root in {self.name} knows the issuer and the logs")
        error.add_note("get a newer file of trusted roots from whoever signed")
        raise error


def _issues(root: TrustedRoot, leaf: Certificate) -> bool:
    """Whether an authority of this root signed the certificate: names are easily the same."""
    for authority in root.certificate_authorities:
        if authority.certificates[0].subject == leaf.issuer:
            with suppress(SignatureInvalid, AlgorithmRefused):
                leaf.verify_signature(authority.certificates[0].public_key)
                return True
    return False

# SPDX-License-Identifier: Apache-2.0
"""The keeper's half of the timestamp authority: the key, the clock and the serial numbers."""

from collections.abc import Sequence
from datetime import UTC, datetime

from countermark.core.crypto.certificate import Certificate
from countermark.core.errors import InvariantBroken, SettingsError, Unavailable
from countermark.core.tsp.request import SIGSTORE_POLICY, TimestampRequest
from countermark.core.tsp.token import SERIAL_BYTES, TokenTemplate
from countermark.ports.clock import Clock, Entropy
from countermark.ports.signer import Signer
from countermark.rpc.message import Handlers
from countermark.tsa.messages import Chain, FetchChain, Issued, IssueTimestamp


class TimestampKeeper:
    """Issues timestamps. Keeps no record of them: a token proves itself."""

    def __init__(
        self, chain: Sequence[bytes], signer: Signer, clock: Clock, entropy: Entropy
    ) -> None:
        """Take charge of an authority.

        Args:
            chain: DER certificates, the signing one first, the root last.
            signer: the key of the first.
            clock: what the tokens will say.
            entropy: for serial numbers.

        Raises SettingsError if key and certificate are not a pair, ChainInvalid if the
        certificate is not for time stamping.
        """
        self._chain = tuple(chain)
        self._certificate = Certificate.parse(self._chain[0])
        if self._certificate.spki != signer.public_key.spki:
            raise SettingsError("the timestamp authority's key is not that of its certificate")
        self._template = TokenTemplate(self._certificate, policy=SIGSTORE_POLICY)
        self._signer = signer
        self._clock = clock
        self._entropy = entropy

    def handlers(self) -> Handlers:
        """What this half answers."""
        return {IssueTimestamp: self._issue, FetchChain: self._fetch_chain}

    async def _issue(self, message: IssueTimestamp) -> Issued:
        nonce = int.from_bytes(message.nonce, signed=True) if message.nonce else None
        request = TimestampRequest(
            message.hash_name, message.digest, nonce, certificates=message.certificates
        )
        time = datetime.fromtimestamp(self._clock.now_ms() // 1000, UTC)
        if not self._certificate.not_before <= time <= self._certificate.not_after:
            # A token that no verifier accepts is worse than none.
            raise Unavailable("the timestamp authority's certificate is not valid now")
        draft = self._template.draft(request, serial=self._serial(), time=time)
        return Issued(draft.with_signature(self._signer.sign(draft.message_to_sign)))

    async def _fetch_chain(self, _: FetchChain) -> Chain:
        return Chain(self._chain)

    def _serial(self) -> int:
        # One bit less than RFC 3161 allows, so that it never takes 21 octets.
        serial = int.from_bytes(self._entropy.bytes(SERIAL_BYTES)) >> 1
        if not serial:
            raise InvariantBroken("the source of randomness gave nothing but zeros")
        return serial

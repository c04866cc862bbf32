# SPDX-License-Identifier: Apache-2.0
"""Logins under way by device code (RFC 8628): held in memory, bounded, gone when they are over.

A user code is short, so guesses at it are counted for the whole issuer, and after a few nobody may
guess for a while. A device code is long, and works for the one who asked for it: with PKCE, the
one who holds the verifier.
"""

import hmac
from collections import deque
from dataclasses import dataclass

from countermark.core.errors import Pushback, RequestRejected
from countermark.core.identity.token import to_base64url
from countermark.core.wire.device import CODE_LENGTH, CODE_LETTERS
from countermark.core.wire.oauth import code_challenge
from countermark.ports.clock import Clock, Entropy

LIFETIME_S, INTERVAL_S = 600, 5
_SLOWER_MS = 5_000  # RFC 8628 section 3.5
_TOLERANCE_MS = 1_000  # clients wait by their own clocks
_DEVICE_CODE_BYTES = 32
_MAX_PENDING = 1024
_MAX_GUESSES, _GUESSES_WINDOW_MS = 10, 60_000


@dataclass(slots=True)
class _Login:
    user_code: str
    challenge: str
    expires_ms: int
    interval_ms: int = INTERVAL_S * 1000
    next_poll_ms: int = 0
    email: str = ""
    denied: bool = False


class DeviceLogins:
    """What has been asked for, and what people have said to it."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        self._logins: dict[str, _Login] = {}
        self._guesses: deque[int] = deque()

    def start(self, challenge: str) -> tuple[str, str]:
        """A new login: its device code, and the user code as it is stored (no dash).

        Raises Pushback if too many are under way.
        """
        now_ms = self._sweep()
        if len(self._logins) >= _MAX_PENDING:
            raise Pushback("too many logins are under way", 30)
        taken = {login.user_code for login in self._logins.values()}
        while (user_code := self._user_code()) in taken:
            continue
        device_code = to_base64url(self._entropy.bytes(_DEVICE_CODE_BYTES))
        self._logins[device_code] = _Login(user_code, challenge, now_ms + LIFETIME_S * 1000)
        return device_code, user_code

    def decide(self, user_code: str, email: str, *, allow: bool) -> None:
        """Somebody typed a user code and said who they are, or that they did not ask for it.

        Raises RequestRejected for a code that is none, Pushback after too many of those.
        """
        now_ms = self._sweep()
        while self._guesses and self._guesses[0] <= now_ms - _GUESSES_WINDOW_MS:
            self._guesses.popleft()
        if len(self._guesses) >= _MAX_GUESSES:
            raise Pushback("too many codes were wrong; wait a minute", 60)
        for login in self._logins.values():
            same = hmac.compare_digest(login.user_code.encode(), user_code.encode())
            if same and not login.email and not login.denied:
                login.email, login.denied = (email, False) if allow else ("", True)
                return
        self._guesses.append(now_ms)
        raise RequestRejected("that code is unknown, used or expired")

    def poll(self, device_code: str, verifier: str) -> tuple[str, str]:
        """What became of a login: the address, empty while there is none, and OAuth's word for why.

        Whatever ends a login forgets it, so tokens are given once.
        """
        now_ms = self._sweep()
        login = self._logins.get(device_code)
        if login is None:
            return "", "expired_token"
        if login.challenge:
            proof = code_challenge(verifier).encode("ascii")
            if not hmac.compare_digest(proof, login.challenge.encode("ascii")):
                # Whoever has the code but not the verifier stole it: nobody gets anything.
                del self._logins[device_code]
                return "", "invalid_grant"
        if now_ms < login.next_poll_ms:
            login.interval_ms += _SLOWER_MS
            login.next_poll_ms = now_ms + login.interval_ms - _TOLERANCE_MS
            return "", "slow_down"
        if login.denied:
            del self._logins[device_code]
            return "", "access_denied"
        if login.email:
            del self._logins[device_code]
            return login.email, ""
        login.next_poll_ms = now_ms + login.interval_ms - _TOLERANCE_MS
        return "", "authorization_pending"

    def _sweep(self) -> int:
        now_ms = self._clock.now_ms()
        self._logins = {
            code: login for code, login in self._logins.items() if now_ms < login.expires_ms
        }
        return now_ms

    def _user_code(self) -> str:
        letters = ""
        while len(letters) < CODE_LENGTH:
            for byte in self._entropy.bytes(16):
                if byte < 240 and len(letters) < CODE_LENGTH:  # 240 = 12 x 20: all letters alike
                    letters += CODE_LETTERS[byte % len(CODE_LETTERS)]
        return letters

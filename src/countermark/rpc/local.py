# SPDX-License-Identifier: Apache-2.0
"""A keeper in the same process: messages are really encoded and decoded, but cross no socket."""

from typing import cast

from countermark.core.errors import CountermarkError
from countermark.rpc import codec
from countermark.rpc.message import Handlers, R, Request


class LocalKeeper:
    """A `Keeper` over handlers of this process. For tests and for one-process tools."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = dict(handlers)
        self._decoder = codec.RequestDecoder(handlers)

    async def call(self, request: Request[R]) -> R:
        """Carry out `request`. Raises what its handler raises."""
        received = self._decoder.decode(codec.encode(request))
        try:
            reply = await self._handlers[type(received)](received)
        except CountermarkError as error:
            raise codec.decode_error(codec.encode_error(error)) from error
        return cast("R", codec.decode_reply(type(request), codec.encode(reply)))

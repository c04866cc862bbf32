# SPDX-License-Identifier: Apache-2.0
"""Messages, replies and errors as bytes (MessagePack).

Errors travel as their code, their message and their attributes, and are raised on the other
side as the same class.
"""

from typing import Any, Union

import msgspec

from countermark.core.errors import CountermarkError, FormatError
from countermark.rpc.message import Handlers, Request, reply_type

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
"""One request or reply as bytes."""


class RequestDecoder:
    """Reads any of a fixed set of requests."""

    def __init__(self, handlers: Handlers) -> None:
        union: Any = Union[tuple(handlers)]  # noqa: UP007 - the set is only known at run time
        self._decoder: msgspec.msgpack.Decoder[Request[Any]] = msgspec.msgpack.Decoder(union)

    def decode(self, data: bytes | memoryview) -> Request[Any]:
        """Read one request. Raises FormatError."""
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise FormatError("keeper request", str(error)) from error


_reply_decoders: dict[type[Request[Any]], msgspec.msgpack.Decoder[msgspec.Struct]] = {}


def decode_reply(request: type[Request[Any]], data: bytes | memoryview) -> msgspec.Struct:
    """Read the reply to a request of that type. Raises FormatError."""
    decoder = _reply_decoders.get(request)
    if decoder is None:
        decoder = _reply_decoders[request] = msgspec.msgpack.Decoder(reply_type(request))
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise FormatError("keeper reply", str(error)) from error


class _Fault(msgspec.Struct, frozen=True, array_like=True):
    code: str
    message: str
    fields: dict[str, Any]


_fault_decoder = msgspec.msgpack.Decoder(_Fault)


def encode_error(error: CountermarkError) -> bytes:
    """One of our errors as bytes."""
    message = error.args[0] if error.args else ""
    fields = {name: value for name, value in vars(error).items() if _is_plain(value)}
    return encode(_Fault(error.code, str(message), fields))


def decode_error(data: bytes | memoryview) -> CountermarkError:
    """Read an error, for raising. Raises FormatError if it is none."""
    try:
        fault = _fault_decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise FormatError("keeper error", str(error)) from error
    cls = _class_of(fault.code)
    # Constructors compose messages from their arguments; what travels is the finished message.
    revived = cls.__new__(cls, fault.message)
    revived.args = (fault.message,)
    for name, value in fault.fields.items():
        if not name.isidentifier() or name.startswith("_"):
            raise FormatError("keeper error", f"has a field named {name!r}")
        vars(revived)[name] = value
    return revived


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bytes))


def _class_of(code: str) -> type[CountermarkError]:
    pending = [CountermarkError]
    while pending:
        cls = pending.pop()
        if vars(cls).get("code") == code:
            return cls
        pending.extend(cls.__subclasses__())
    return CountermarkError

# SPDX-License-Identifier: Apache-2.0
"""What a message between a worker and the keeper is.

Each service declares its requests in a `messages` module of its own::

    class Added(msgspec.Struct, frozen=True): ...
    class AddEntry(Request[Added], tag="tlog.add", frozen=True): ...

Fields are size-checked bytes, integers and text; never a foreign format that the keeper would
have to parse. Requests travel as arrays, so fields may be added at the end only; both ends are
always of one version.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, get_args

import msgspec

from countermark.core.errors import Unavailable

R = TypeVar("R", bound=msgspec.Struct)
R_co = TypeVar("R_co", covariant=True)


class KeeperRestarting(Unavailable):
    """The keeper ends, to be another one at once. The request was not carried out."""

    code = "keeper-restarting"


class Request(msgspec.Struct, Generic[R_co], frozen=True, array_like=True, tag=True):
    """A message that is answered by an `R_co` or by one of our errors."""


Handler: TypeAlias = Callable[[Any], Awaitable[msgspec.Struct]]
"""What carries out one kind of request, in the keeper. It may raise any of our errors."""

Handlers: TypeAlias = Mapping[type[Request[Any]], Handler]


class Keeper(Protocol):
    """The worker's view of the process that holds keys and database."""

    async def call(self, request: Request[R]) -> R:
        """Have `request` carried out.

        Raises what its handler raises, Pushback if too much is queued, and Unavailable if the
        keeper cannot be reached or went away: the request may then have been carried out.
        """
        ...


def reply_type(request: type[Request[Any]]) -> type[msgspec.Struct]:
    """The `R` of a request class that was declared as a direct subclass of ``Request[R]``."""
    for base in getattr(request, "__orig_bases__", ()):
        for argument in get_args(base):
            if isinstance(argument, type) and issubclass(argument, msgspec.Struct):
                return argument
    raise TypeError(f"{request.__name__} does not say Request[<its reply>]")

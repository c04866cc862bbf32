# SPDX-License-Identifier: Apache-2.0
"""What a message between a worker and the keeper is.

Each service declares its requests in a `messages` module of its own::

    class Added(msgspec.Struct, frozen=True): ...
    class AddEntry(Request[Added], tag="tlog.add"): ...

Fields are sizes-checked bytes, integers and text; never a foreign format that the keeper would
have to parse.
"""

from typing import Generic, TypeVar

import msgspec

R_co = TypeVar("R_co", covariant=True)


class Request(msgspec.Struct, Generic[R_co], frozen=True, tag=True):
    """A message that is answered by an `R_co` or by one of our errors."""

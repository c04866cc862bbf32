# SPDX-License-Identifier: Apache-2.0
"""How workers talk to the keeper: typed messages over a local socket.

`message` what a message is; `codec` messages and errors as bytes; `framing` bytes on the socket;
`stream` one connection; `address` where the socket is; `client` the worker's end; `server` the
keeper's end; `local` both ends in one process.
"""

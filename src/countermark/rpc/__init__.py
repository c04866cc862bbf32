# SPDX-License-Identifier: Apache-2.0
"""How workers talk to the keeper: typed messages over a local socket.

`message` what a message is; `framing` bytes on the socket; `client` used by workers;
`server` used by the keeper.
"""

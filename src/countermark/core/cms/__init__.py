# SPDX-License-Identifier: Apache-2.0
"""CMS signatures (RFC 5652) as Git carries them, and the log entry inside them.

`signed_data` reads, `write` writes, `entry` is the log entry as an attribute, and
`git_signature` turns a signature into a bundle and back, so that one verifier judges both.
"""

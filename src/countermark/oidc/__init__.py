# SPDX-License-Identifier: Apache-2.0
"""Login: the embedded development issuer, and the keys of external issuers."""

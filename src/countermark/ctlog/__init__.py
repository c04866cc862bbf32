# SPDX-License-Identifier: Apache-2.0
"""The certificate-transparency log (RFC 6962)."""

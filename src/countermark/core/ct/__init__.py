# SPDX-License-Identifier: Apache-2.0
"""Certificate transparency: RFC 6962 structures."""

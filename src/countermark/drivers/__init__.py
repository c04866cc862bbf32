# SPDX-License-Identifier: Apache-2.0
"""One technology each, behind a port."""

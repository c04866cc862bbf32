# SPDX-License-Identifier: Apache-2.0
"""Log entry kinds of Rekor and their canonical bodies."""

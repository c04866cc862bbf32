# SPDX-License-Identifier: Apache-2.0
"""Our verdicts beside those of programs that nobody here wrote, over changed bundles and keys.

`peers` runs sigstore-python and sigstore-js, `bundles` has what is changed and how, `rules` the
differences that are known and why, `judge` compares; `certificates` does the same for X.509.
"""

# SPDX-License-Identifier: Apache-2.0
"""Signing and verifying Git commits and tags.

`objects` splits what Git stores into payload and signature, `verify` judges and `sign` makes
signatures, `status` speaks to Git as GnuPG does, `settings` reads and writes Git's configuration.
"""

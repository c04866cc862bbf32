# SPDX-License-Identifier: Apache-2.0
"""The public Sigstore instances' trust: TUF root, trusted root and signing config, as published.

`public_good_*` is the production instance, `staging_*` the one for trying things out. Files are
copied unchanged from the instances' TUF repositories (sigstore/root-signing, Apache-2.0);
`scripts/refresh-trust-data` verifies newer ones from the roots that are here.
"""

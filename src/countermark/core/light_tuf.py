# SPDX-License-Identifier: Apache-2.0
"""python-tuf without the libraries of key services that its own dependency looks for.

Importing securesystemslib imports every vendor's library that is installed: half a second that
neither the keeper nor a client ever uses, since keys are reached by code of ours. So these
libraries are absent to it, for as long as its import takes. Import this module before `tuf`.
"""

import sys
from typing import Any

_VENDORS = ("azure", "boto3", "google.cloud", "hvac", "pkcs11")


def _import_securesystemslib() -> None:
    modules: dict[str, Any] = sys.modules
    hidden = [name for name in _VENDORS if name not in modules]
    modules.update(dict.fromkeys(hidden))  # None there is what Python takes for "not installed"
    try:
        import securesystemslib.signer  # noqa: F401 - its being there is the point
    finally:
        for name in hidden:
            del modules[name]


_import_securesystemslib()

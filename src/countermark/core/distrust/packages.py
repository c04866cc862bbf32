# SPDX-License-Identifier: Apache-2.0
"""Does a statement's subject name a version of a package?

npm's provenance names package URLs; PyPI's names files, which say project and version; whatever
else states a package URL is compared with that.
"""

import re

from countermark.core.distrust.subject import normal_purl
from countermark.core.errors import RequestRejected

_WHEEL = re.compile(r"([A-Za-z0-9_.]+)-([^-]+)(?:-[^-]+){3,4}\.whl", re.ASCII)
_SDIST = re.compile(r"(.+)-([^-]+)\.(?:tar\.gz|zip)", re.ASCII)
_RUN = re.compile(r"[-_.]+", re.ASCII)
_MAX_NAME = 2048


def names_package(name: str, purl: str) -> bool:
    """Whether a subject called `name` is (a file of) the package version `purl`, a normal one."""
    if len(name) > _MAX_NAME:
        return False
    if name.startswith("pkg:"):
        bare = re.split("[?#]", name, maxsplit=1)[0]  # qualifiers name files of the same version
        try:
            return normal_purl(bare) == purl
        except RequestRejected:
            return False
    return purl.startswith("pkg:pypi/") and _python_file(name) == purl


def _python_file(name: str) -> str:
    """The package URL of a distribution file of PyPI; empty for other names."""
    match = _WHEEL.fullmatch(name) or _SDIST.fullmatch(name)
    if match is None:
        return ""
    project, version = match.groups()
    project = _RUN.sub("-", project).lower()
    try:
        return normal_purl(f"pkg:pypi/{project}@{version}")
    except RequestRejected:
        return ""

# SPDX-License-Identifier: Apache-2.0
"""A source of trust in the formats that other clients read."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final

from countermark.client.trust.sources import Source
from countermark.core.bundle.signing_config import SigningConfig, trust_config_to_json
from countermark.core.bundle.trusted_root import (
    CertificateAuthority,
    TransparencyLog,
    TrustedRoot,
)
from countermark.core.crypto.keys import encode_pem
from countermark.core.encoding import to_base64
from countermark.core.errors import NotFound, RequestRejected, SettingsError

TRUSTED_ROOT_FILE: Final = "trusted_root.json"
SIGNING_CONFIG_FILE: Final = "signing_config.v0.2.json"
TRUST_CONFIG_FILE: Final = "trust_config.json"
FORMATS: Final = (
    "trusted-root",
    "signing-config",
    "trust-config",
    "tuf",
    "pem",
    "cosign",
    "python",
    "js",
    "go",
    "gitsign",
    "policy-controller",
)
# What a client reads, in the words of the formats above.
_ALIASES: Final = {
    "python": ("trust-config",),
    "js": ("trusted-root",),
    "go": ("trusted-root", "signing-config"),
    "cosign": ("trusted-root", "signing-config"),
    "gitsign": ("pem",),
}


def exported(source: Source, how: str) -> dict[str, bytes]:
    """The files of a format by name; one for most, some with a folder in their name.

    Raises RequestRejected for an unknown format, SettingsError for what the source does not
    have, NotFound for metadata that is not kept, FormatError.
    """
    if how not in FORMATS:
        raise RequestRejected(f"there is no format {how!r}: {', '.join(FORMATS)}")
    files: dict[str, bytes] = {}
    for part in _ALIASES.get(how, (how,)):
        files |= _exported(source, part)
    return files


def _exported(source: Source, how: str) -> dict[str, bytes]:
    root = source.trusted_root
    if how == "trusted-root":
        return {TRUSTED_ROOT_FILE: source.trusted_root_json}
    if how == "policy-controller":
        return {"trustroot.yaml": policy_controller_yaml(source.name, root)}
    if how == "pem":
        return pem_files(root)
    if how == "tuf":
        return _repository(source)
    if not source.signing_config_json:
        raise SettingsError(f"{source.name} does not say which services to sign with")
    if how == "signing-config":
        return {SIGNING_CONFIG_FILE: source.signing_config_json}
    config = SigningConfig.parse(source.signing_config_json)
    document = trust_config_to_json(root, config)
    return {TRUST_CONFIG_FILE: json.dumps(document, indent=2).encode("ascii") + b"\n"}


def pem_files(root: TrustedRoot) -> dict[str, bytes]:
    """Keys and chains as older clients take them, one file for each kind of service."""

    def chains(authorities: Iterable[CertificateAuthority]) -> bytes:
        certificates = dict.fromkeys(der for item in authorities for der in item.chain)
        return "".join(encode_pem("CERTIFICATE", der) for der in certificates).encode("ascii")

    def keys(logs: Iterable[TransparencyLog]) -> bytes:
        return "".join(log.public_key.to_pem() for log in logs).encode("ascii")

    files = {
        "fulcio.pem": chains(root.certificate_authorities),
        "rekor.pem": keys(root.tlogs),
        "ctlog.pem": keys(root.ctlogs),
        "tsa.pem": chains(root.timestamp_authorities),
    }
    return {name: data for name, data in files.items() if data}


def policy_controller_yaml(name: str, root: TrustedRoot) -> bytes:
    """A TrustRoot resource with keys and chains (policy.sigstore.dev/v1alpha1)."""

    def pem(authority: CertificateAuthority) -> str:
        text = "".join(encode_pem("CERTIFICATE", der) for der in authority.chain)
        return to_base64(text.encode("ascii"))

    def authorities(items: Iterable[CertificateAuthority]) -> list[dict[str, Any]]:
        return [
            {
                "subject": {"organization": item.organization, "commonName": item.common_name},
                "uri": item.uri,
                "certChain": pem(item),
            }
            for item in items
        ]

    def logs(items: Iterable[TransparencyLog]) -> list[dict[str, Any]]:
        return [
            {
                "baseURL": item.base_url,
                "hashAlgorithm": "sha-256",
                "publicKey": to_base64(item.public_key.to_pem().encode("ascii")),
            }
            for item in items
        ]

    keys = {
        "certificateAuthorities": authorities(root.certificate_authorities),
        "tLogs": logs(root.tlogs),
        "ctLogs": logs(root.ctlogs),
        "timestampAuthorities": authorities(root.timestamp_authorities),
    }
    document = {
        "apiVersion": "policy.sigstore.dev/v1alpha1",
        "kind": "TrustRoot",
        "metadata": {"name": _resource_name(name)},
        "spec": {"sigstoreKeys": {kind: items for kind, items in keys.items() if items}},
    }
    return ("\n".join(_yaml(document)) + "\n").encode("utf-8")


def _yaml(value: dict[str, Any], indent: str = "") -> Iterable[str]:
    """Mappings and lists of mappings; every text as JSON, which YAML reads alike."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield f"{indent}{key}:"
            yield from _yaml(item, indent + "  ")
        elif isinstance(item, list):
            yield f"{indent}{key}:"
            for element in item:
                first, *rest = _yaml(element, indent + "    ")
                yield f"{indent}  - {first.strip()}"
                yield from rest
        else:
            yield f"{indent}{key}: {json.dumps(item)}"


def _resource_name(name: str) -> str:
    """A DNS label, as Kubernetes wants it."""
    text = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    text = "-".join(part for part in text.split("-") if part)
    text = text.removeprefix("https-").removeprefix("http-")
    return f"countermark-{text}"[:63].rstrip("-")


def _repository(source: Source) -> dict[str, bytes]:
    """The kept repository as a mirror can serve it, or a file system carry it."""
    # python-tuf takes a while to import, and only this needs it.
    from countermark.client.trust.chain import read_roots
    from countermark.client.trust.kept import read_kept

    kept = read_kept(source.name) if source.versions is not None else None
    if kept is None or source.versions is None:
        error = NotFound(f"no TUF metadata of {source.name} is kept")
        error.add_note("get it with `countermark trust fetch`")
        raise error
    roots = read_roots(source.tuf_root_json, kept.roots)
    versions = source.versions
    files = {
        f"{root.version}.root.json": data
        for root, data in zip(roots, (source.tuf_root_json, *kept.roots), strict=True)
    }
    files |= {
        "timestamp.json": kept.timestamp,
        f"{versions.snapshot}.snapshot.json": kept.snapshot,
        f"{versions.targets}.targets.json": kept.targets,
    }
    for name, data in kept.files.items():
        files[f"targets/{hashlib.sha256(data).hexdigest()}.{name}"] = data
    return files

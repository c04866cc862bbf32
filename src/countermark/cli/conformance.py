# SPDX-License-Identifier: Apache-2.0
"""`countermark-conformance`: the client protocol of sigstore-conformance.

::

    sign-bundle [--staging] [--in-toto] --identity-token T --bundle F
                [--trusted-root F] [--signing-config F] FILE
    verify-bundle [--staging] --bundle F
                  (--certificate-identity I --certificate-oidc-issuer U | --key K)
                  [--trusted-root F] FILE_OR_DIGEST
"""

import os
import sys
from collections.abc import Sequence

from countermark.cli.arguments import Arguments, parse_arguments
from countermark.cli.exits import OK, USAGE, exit_code
from countermark.client.verify import (
    PUBLIC,
    STAGING,
    FileArtifact,
    Root,
    Verifier,
    named_root,
    read_bundle,
    read_file,
    root_from_file,
)
from countermark.core.crypto.keys import PublicKey
from countermark.core.encoding import from_utf8
from countermark.core.errors import CountermarkError, RequestRejected
from countermark.core.verify.artifact import Artifact, DigestArtifact
from countermark.core.verify.policy import Identity, Policy

_OPTIONS = (
    "identity-token",
    "bundle",
    "trusted-root",
    "signing-config",
    "certificate-identity",
    "certificate-oidc-issuer",
    "key",
)
_FLAGS = ("staging", "in-toto")
_MAX_FILE_BYTES = 16 * 1024 * 1024


def main() -> int:
    """Run one command of the protocol; 0 is success."""
    return run(sys.argv[1:])


def run(argv: Sequence[str]) -> int:
    """Run the command line after the program's name; returns the exit code."""
    commands = {"sign-bundle": _sign, "verify-bundle": _verify}
    if not argv or argv[0] not in commands:
        print(f"usage: countermark-conformance {'|'.join(commands)} …", file=sys.stderr)
        return USAGE
    try:
        arguments = parse_arguments(argv[1:], options=_OPTIONS, flags=_FLAGS)
        if len(arguments.operands) != 1:
            raise RequestRejected("exactly one file or digest is needed")
        commands[argv[0]](arguments)
    except CountermarkError as error:
        print(f"countermark-conformance: {error}", file=sys.stderr)
        return exit_code(error)
    except OSError as error:
        print(f"countermark-conformance: {error}", file=sys.stderr)
        return USAGE
    return OK


def _verify(arguments: Arguments) -> None:
    policy: Policy | PublicKey
    if key := arguments.one("key"):
        policy = PublicKey.from_pem(from_utf8(read_file(key, _MAX_FILE_BYTES), key), registry=True)
    else:
        policy = Identity(
            arguments.one("certificate-identity"), arguments.one("certificate-oidc-issuer")
        )
    (name,) = arguments.operands
    artifact: Artifact = FileArtifact(name)
    if name.startswith("sha256:") and not os.path.exists(name):
        artifact = DigestArtifact.parse(name)
    Verifier(_root(arguments)).verify(artifact, read_bundle(arguments.one("bundle")), policy)


def _sign(arguments: Arguments) -> None:
    from pathlib import Path

    from countermark.client.choice import Instance
    from countermark.client.identity import IdentityToken
    from countermark.client.sign import Signer
    from countermark.core.bundle.signing_config import SigningConfig

    root = _root(arguments)
    config = arguments.one("signing-config")
    data = read_file(config, _MAX_FILE_BYTES) if config else _shipped_config(arguments)
    instance = Instance(root.name, "", root.trusted_root, SigningConfig.parse(data))
    token = IdentityToken.parse(arguments.one("identity-token"))
    signer = Signer(instance, token)
    (name,) = arguments.operands
    if arguments.flag("in-toto"):
        signed = signer.sign_statement(read_file(name, _MAX_FILE_BYTES))
    else:
        signed = signer.sign(Path(name))
    with open(arguments.one("bundle"), "wb") as file:
        file.write(signed.bundle.serialize())


def _root(arguments: Arguments) -> Root:
    if path := arguments.one("trusted-root"):
        return root_from_file(path)
    return named_root(STAGING if arguments.flag("staging") else PUBLIC)


def _shipped_config(arguments: Arguments) -> bytes:
    from importlib import resources

    name = "staging" if arguments.flag("staging") else "public_good"
    return (
        resources.files("countermark.trust_data")
        .joinpath(f"{name}_signing_config.json")
        .read_bytes()
    )


if __name__ == "__main__":
    sys.exit(main())

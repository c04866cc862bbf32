# SPDX-License-Identifier: Apache-2.0
"""`countermark endorse FILE`: verify somebody else's signature, vouch for it with one's own."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from countermark.cli.options import (
    choice_from,
    device_option,
    instance_options,
    json_option,
    no_browser_option,
    prompts,
    read_token,
)
from countermark.cli.output import Output
from countermark.cli.signing import PERSON_OPTIONS, compare_logs
from countermark.core.errors import CountermarkError, NotFound, RequestRejected

if TYPE_CHECKING:
    from countermark.client.choice import Instance
    from countermark.client.endorse import Endorsed, Expectation
    from countermark.client.identity import IdentityToken
    from countermark.client.sign import Signer
    from countermark.client.verify import FileArtifact, Root

SUFFIX = ".endorsed.sigstore.json"
_MAX_KEY_BYTES = 64 * 1024


@click.command(
    epilog="Inside, `countermark verify FILE --bundle FILE.endorsed.sigstore.json --identity YOU"
    " --issuer YOURS` needs your instance's root only, and no network."
)
@click.argument("file", metavar="FILE", type=click.Path())
@click.option("--bundle", metavar="PATH", default="", help="Its signature, if not beside it.")
@click.option("--identity", metavar="NAME", default="", help="Who must have signed outside …")
@click.option("--issuer", metavar="URL", default="", help="… and who vouched for that name.")
@click.option(
    "--key", metavar="FILE", default="", help="PEM public key that must have signed, instead."
)
@click.option(
    "--outside-root",
    metavar="FILE",
    default="",
    help="Whom to believe outside: a trusted root, or JSON Lines of several.",
)
@click.option(
    "--outside-instance",
    metavar="NAME",
    default="",
    help="'public', 'staging', or the URL of an instance you trust. Default: by the bundle.",
)
@click.option(
    "--allow-unlogged",
    is_flag=True,
    help="Accept signatures that are timestamped only and in no public log.",
)
@click.option("--resource", metavar="URI", default="", help="What the file is, e.g. pkg:npm/a@1.")
@click.option(
    "--verifier", metavar="URI", default="", help="Who vouches. Default: the signer's own name."
)
@click.option("--output", metavar="PATH", default="", help=f"Default: FILE{SUFFIX}.")
@click.option("--overwrite", is_flag=True, help="Replace an endorsement that exists.")
@PERSON_OPTIONS[0]
@PERSON_OPTIONS[1]
@no_browser_option
@device_option
@instance_options
@json_option
def endorse(
    file: str,
    bundle: str,
    identity: str,
    issuer: str,
    key: str,
    outside_root: str,
    outside_instance: str,
    allow_unlogged: bool,
    resource: str,
    verifier: str,
    output: str,
    overwrite: bool,
    email: str,
    identity_token_file: str,
    no_browser: bool,
    device: bool,
    as_json: bool,
    **instance: str,
) -> int:
    """Verify FILE's signature from outside, then vouch for it with your own instance.

    The signature may be of the public Sigstore, of a vendor's own instance or of another
    company's. If it holds, a SLSA verification summary about FILE is signed and logged with your
    instance; it says who signed the original, when, and by which rules it was verified.

    \b
    countermark endorse tool.tar.gz \\
      --identity https://github.com/them/tool/.github/workflows/release.yml@refs/tags/v1 \\
      --issuer https://token.actions.githubusercontent.com
    """
    from countermark.client.choice import choose_instance
    from countermark.client.endorse import endorse as vouch
    from countermark.client.files import write_whole

    out = Output(as_json=as_json)
    try:
        target = _target(file, output, overwrite=overwrite)
        expectation = _expectation(identity, issuer, key, unlogged=allow_unlogged)
        data, root = _evidence(file, bundle, outside_root, outside_instance, allow_unlogged)
        artifact = _hashed(file, data, root, expectation, out)
        chosen = choose_instance(choice_from(instance))
        signer, name = _signer(
            chosen, email, identity_token_file, no_browser=no_browser, device=device
        )
        done = vouch(
            signer,
            artifact,
            data,
            root,
            expectation,
            name=Path(file).name,
            verifier_id=verifier or name,
            now=datetime.now(tz=UTC),
            resource_uri=resource,
        )
        write_whole(target, done.signed.bundle.serialize() + b"\n")
        compare_logs([done.signed.bundle], chosen, out)
    except CountermarkError as error:
        return out.fail(error)
    except OSError as error:
        return out.fail(RequestRejected(f"{error.filename or file}: {error.strerror}"))
    return _report(file, target, done, out)


def _target(file: str, output: str, *, overwrite: bool) -> Path:
    if not Path(file).is_file():
        raise NotFound(f"there is no file {file}")
    target = Path(output or file + SUFFIX)
    if target.exists() and not overwrite:
        error = RequestRejected(f"{target} exists already")
        error.add_note("use --overwrite to replace it")
        raise error
    return target


def _expectation(identity: str, issuer: str, key: str, *, unlogged: bool) -> "Expectation":
    from countermark.client.endorse import Expectation
    from countermark.client.verify import read_file
    from countermark.core.crypto.keys import PublicKey
    from countermark.core.encoding import from_utf8
    from countermark.core.verify.policy import Identity
    from countermark.core.verify.verifier import Thresholds

    if bool(key) == bool(identity or issuer) or bool(identity) != bool(issuer):
        error = RequestRejected("it must be said, in one way, who is to have signed outside")
        error.add_note("use --identity NAME with --issuer URL, or --key FILE")
        raise error
    thresholds = Thresholds(unlogged=unlogged)
    if key:
        public = PublicKey.from_pem(from_utf8(read_file(key, _MAX_KEY_BYTES), key))
        return Expectation(public, {"key": f"sha256:{public.key_id.hex()}"}, thresholds)
    described = {"identity": identity, "issuer": issuer}
    return Expectation(Identity(identity, issuer), described, thresholds)


def _evidence(
    file: str, bundle: str, outside_root: str, outside_instance: str, unlogged: bool
) -> tuple[bytes, "Root"]:
    from countermark.client.foreign_roots import Roots
    from countermark.client.verify import bundle_path, choose_root, named_root, read_file
    from countermark.core.bundle.bundle import MAX_BUNDLE_BYTES, Bundle

    if outside_root and outside_instance:
        raise RequestRejected("whom to believe outside is said in more than one way")
    data = read_file(bundle or bundle_path(file), MAX_BUNDLE_BYTES)
    parsed = Bundle.parse(data)
    if outside_root:
        return data, Roots.from_file(outside_root).choose(parsed)
    if outside_instance:
        return data, named_root(outside_instance)
    if unlogged and not parsed.tlog_entries:
        error = RequestRejected("a signature that is in no log does not say whom to believe")
        error.add_note("name the trusted root of whoever issued it with --outside-root FILE")
        raise error
    return data, choose_root(parsed)


def _hashed(
    file: str, data: bytes, root: "Root", expectation: "Expectation", out: Output
) -> "FileArtifact":
    """The file, verified before anybody is asked to log in: what fails is not worth that."""
    from countermark.client.verify import FileArtifact
    from countermark.core.bundle.bundle import Bundle

    artifact = FileArtifact(file)
    with out.progress(f"hashing {file}", os.path.getsize(file)) as ticker:
        artifact.progress = ticker.advance
        root.verify(Bundle.parse(data), artifact, expectation.policy, expectation.thresholds)
    artifact.progress = None
    return artifact


def _signer(
    chosen: "Instance", email: str, token_file: str, *, no_browser: bool, device: bool
) -> tuple["Signer", str]:
    """Whoever vouches, and their name as a URI."""
    from countermark.client.identity import find_identity
    from countermark.client.sign import Signer
    from countermark.client.transport import Transport

    if device and (token_file or email):
        raise RequestRejected("who signs is said in more than one way: --device asks a person")
    transport = Transport()
    token = read_token(token_file) if token_file else ""
    asking = prompts(no_browser=no_browser, device=device)
    identity = find_identity(chosen, transport, token=token, email=email, prompts=asking)
    return Signer(chosen, identity, transport=transport), _uri(identity)


def _uri(identity: "IdentityToken") -> str:
    """The signer's name as a URI."""
    name = identity.subject
    if "://" in name:
        return name
    return f"mailto:{name}" if "@" in name else f"urn:subject:{name}"


def _report(file: str, target: Path, done: "Endorsed", out: Output) -> int:
    from countermark.client.endorse import annotations

    signer = done.signed.evidence.signer
    assert signer is not None
    found = annotations(done.outside)
    out.result(
        {
            "file": file,
            "endorsement": str(target),
            "endorser": {"identity": signer.name, "issuer": signer.issuer},
            "outside": done.outside.to_json(),
        }
    )
    who = found.get("signer") or found.get("key", "")
    out.line(f"{file}: signed outside by {who}, endorsed by {signer.name} in {target}")
    out.advice(
        f"now try: countermark verify {file} --bundle {target}"
        f" --identity {signer.name} --issuer {signer.issuer}"
    )
    return 0

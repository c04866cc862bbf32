# SPDX-License-Identifier: Apache-2.0
"""`countermark key`: make, take over, show and list long-lived keys."""

from typing import Any

import click

from countermark.cli.options import json_option
from countermark.cli.output import Output
from countermark.cli.passphrases import asking, new_passphrase, passphrase_option
from countermark.client.keys import files
from countermark.client.keys.key import KINDS
from countermark.client.keys.local import LocalKey
from countermark.client.keys.reference import is_remote, open_key, public_key
from countermark.core.crypto.keys import PublicKey
from countermark.core.errors import CountermarkError, NotFound, RequestRejected

_format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["pkcs8", "cosign"]),
    default="pkcs8",
    show_default=True,
    help="What to write: encrypted PKCS#8, or cosign's own.",
)
_plain_option = click.option(
    "--no-passphrase", is_flag=True, help="Do not encrypt; whoever reads the file can sign."
)


@click.group()
def key() -> None:
    """Make and look after keys of your own, for `sign --key` and `verify --key`."""


@key.command(
    epilog="Example: countermark key generate release; countermark sign --key release.key FILE"
)
@click.argument("name", default="countermark")
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default="p256",
    show_default=True,
    help="Kind of key; p256 works everywhere.",
)
@click.option(
    "--in",
    "token",
    metavar="URI",
    default="",
    help="Make it in a PKCS#11 token, which it never leaves: pkcs11:token=…;object=…;id=%01.",
)
@_format_option
@_plain_option
@passphrase_option
@json_option
def generate(
    name: str,
    kind: str,
    token: str,
    form: str,
    no_passphrase: bool,
    passphrase_file: str,
    as_json: bool,
) -> int:
    """Make a key: NAME.key (mode 0600, encrypted) and NAME.pub.

    A passphrase comes from --passphrase-file, COUNTERMARK_PASSWORD or COSIGN_PASSWORD, or is
    asked. With --in, only NAME.pub is written. Nothing is ever replaced.
    """
    output = Output(as_json=as_json)
    try:
        if token:
            from countermark.client.keys.pkcs11 import generate_token_key

            files.check_free(f"{name}.pub")
            uri, made = generate_token_key(token, KINDS[kind], asking(passphrase_file))
            files.create_file(f"{name}.pub", made.to_pem().encode("ascii"))
            return _made(output, made, uri, f"{name}.pub")
        _check_form(form, no_passphrase=no_passphrase)
        files.check_free(f"{name}.key", f"{name}.pub")
        passphrase = None if no_passphrase else _new(passphrase_file, f"{name}.key", form)
        fresh = LocalKey.generate(KINDS[kind])
        return _write(output, fresh, name, passphrase, form)
    except CountermarkError as error:
        return output.fail(error)


@key.command(
    name="import", epilog="Example: countermark key import cosign.key release --format pkcs8"
)
@click.argument("file")
@click.argument("name")
@click.option(
    "--old-passphrase-file",
    metavar="FILE",
    default="",
    help="Passphrase of FILE, if it is encrypted with another one than NAME is to be.",
)
@_format_option
@_plain_option
@passphrase_option
@json_option
def import_(
    file: str,
    name: str,
    old_passphrase_file: str,
    form: str,
    no_passphrase: bool,
    passphrase_file: str,
    as_json: bool,
) -> int:
    """Take over a key that you have: FILE becomes NAME.key and NAME.pub.

    FILE is PEM: PKCS#8 (encrypted or not), EC, RSA, or a key file of cosign's. FILE stays.
    """
    output = Output(as_json=as_json)
    try:
        _check_form(form, no_passphrase=no_passphrase)
        files.check_free(f"{name}.key", f"{name}.pub")
        taken = files.read_private_key(file, asking(old_passphrase_file or passphrase_file))
        passphrase = None if no_passphrase else _new(passphrase_file, f"{name}.key", form)
        return _write(output, taken, name, passphrase, form)
    except CountermarkError as error:
        return output.fail(error)


@key.command(epilog="Example: countermark key public --key hashivault://release > release.pub")
@click.option("--key", "reference", metavar="REF", required=True, help="Any key `sign` takes.")
@click.option("--output", "path", metavar="FILE", default="", help="Write it here.")
@passphrase_option
@json_option
def public(reference: str, path: str, passphrase_file: str, as_json: bool) -> int:
    """Show the public half of a key, as PEM."""
    output = Output(as_json=as_json)
    try:
        ask = asking(passphrase_file)
        if is_remote(reference):
            found = public_key(reference, ask)
        else:
            found = open_key(reference, ask).public_key
        if path:
            files.create_file(path, found.to_pem().encode("ascii"))
    except CountermarkError as error:
        return output.fail(error)
    output.line(
        f"{found.details} {found.key_id.hex()} → {path}" if path else found.to_pem().strip()
    )
    output.result({**_describe(found), "pem": found.to_pem()})
    return 0


@key.command(
    name="list", epilog="Example: countermark key list 'pkcs11:?module-path=/usr/lib/libykcs11.so'"
)
@click.argument("uri", default="pkcs11:")
@passphrase_option
@json_option
def list_(uri: str, passphrase_file: str, as_json: bool) -> int:
    """List the keys of PKCS#11 tokens, as URIs for --key.

    The library comes from the URI's module-path, COUNTERMARK_PKCS11_MODULE or
    COSIGN_PKCS11_MODULE_PATH. Without a PIN, only what tokens show to everybody.
    """
    output = Output(as_json=as_json)
    try:
        from countermark.client.keys.pkcs11 import list_token_keys

        found = list_token_keys(uri, asking(passphrase_file))
        if not found:
            raise NotFound("the token shows no keys; some show them to those who give a PIN")
    except CountermarkError as error:
        return output.fail(error)
    for name, item in found:
        output.line(f"{name}  {item.details if item else 'of a kind that Sigstore does not use'}")
    rows = [{"uri": name, **(_describe(item) if item else {})} for name, item in found]
    output.result({"keys": rows})
    return 0


def _new(passphrase_file: str, what: str, form: str) -> bytes:
    passphrase = new_passphrase(passphrase_file, what)
    if not passphrase and form == "pkcs8":
        error = RequestRejected("the passphrase is empty")
        error.add_note("--no-passphrase makes a key that is not encrypted")
        raise error
    return passphrase


def _check_form(form: str, *, no_passphrase: bool) -> None:
    if no_passphrase and form == "cosign":
        error = RequestRejected("cosign's key files are always encrypted")
        error.add_note("set COSIGN_PASSWORD to nothing for an empty passphrase, as cosign does")
        raise error


def _write(output: Output, made: LocalKey, name: str, passphrase: bytes | None, form: str) -> int:
    pem = files.encode_private_key(made, passphrase, as_cosign=form == "cosign")
    private, public_path = files.write_key_pair(name, pem, made.public_key.to_pem())
    return _made(output, made.public_key, private, public_path)


def _made(output: Output, made: PublicKey, private: str, public_path: str) -> int:
    output.line(f"{output.good('made')} {private} and {public_path} ({made.details})")
    output.advice(f"now try: countermark sign --key '{private}' FILE")
    output.result({"key": private, "public": public_path, **_describe(made)})
    return 0


def _describe(found: PublicKey) -> dict[str, Any]:
    return {"kind": found.details, "keyId": found.key_id.hex()}

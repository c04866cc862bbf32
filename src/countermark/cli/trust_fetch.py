# SPDX-License-Identifier: Apache-2.0
"""`countermark trust fetch` and `trust forget`: learn whom to trust, keep it up to date, stop."""

import os
from typing import Any

import click

from countermark.cli.exits import OK, exit_code
from countermark.cli.options import json_option
from countermark.cli.output import Output, describe
from countermark.client.instances import load_instances
from countermark.core.encoding import to_rfc3339
from countermark.core.errors import CountermarkError, NotFound, RequestRejected, SettingsError

_MAX_ROOT_BYTES = 256 * 1024


@click.command(
    epilog="Example: countermark trust fetch https://sigstore.example.org --root root.json"
)
@click.argument("url", metavar="[URL]", default="")
@click.option("--root", metavar="FILE", default="", help="TUF root to start from (first time).")
@click.option(
    "--root-checksum",
    metavar="SHA256",
    default="",
    help="Instead: its checksum; --root may then be a URL (default: 1.root.json there).",
)
@click.option("--tuf-url", metavar="URL", default="", help="TUF repository, if not URL/tuf.")
@click.option(
    "--from", "mirror", metavar="DIR", default="", help="Read a copy of the repository instead."
)
@click.option("--replace-root", is_flag=True, help="Start from another root than before.")
@json_option
def fetch(
    url: str,
    root: str,
    root_checksum: str,
    tuf_url: str,
    mirror: str,
    replace_root: bool,
    as_json: bool,
) -> int:
    """Get whom to trust for an instance, and what changed since.

    URL is an instance, or 'public' or 'staging'. The first time, its TUF root must be given: take
    it, or its checksum, from whoever runs the instance by a way that you trust. From then on
    `sign --url URL` and `verify` know the instance, and without URL all of them are refreshed.
    """
    output = Output(as_json=as_json)
    given = any((root, root_checksum, tuf_url, mirror, replace_root))
    try:
        if not url and given:
            raise RequestRejected("these options are for one instance; name its URL")
        urls = [url] if url else _followed()
        pin = _root(url, root, root_checksum, tuf_url) if root or root_checksum else b""
    except CountermarkError as error:
        return output.fail(error)
    results: list[dict[str, Any]] = []
    code = OK
    for each in urls:
        try:
            results.append(_fetch(output, each, pin, tuf_url, mirror, replace=replace_root))
        except CountermarkError as error:
            if url:
                return output.fail(error)
            message, hint = describe(error)
            fault = {"code": error.code, "message": message, "hint": hint}
            results.append({"url": each, "error": fault})
            output.line(f"{each}: NOT refreshed: {message}")
            code = code or exit_code(error)
    output.result({"instances": results})
    return code


def _followed() -> list[str]:
    urls = [record.url for record in load_instances() if record.tuf is not None]
    if not urls:
        error = SettingsError("there is no instance whose trust root is followed yet")
        error.add_note("name one: countermark trust fetch URL --root FILE")
        raise error
    return list(dict.fromkeys(urls))


def _root(url: str, root: str, checksum: str, tuf_url: str) -> bytes:
    remote = root.startswith(("https://", "http://"))
    if checksum and (remote or not root):
        from countermark.client.trust.following import default_tuf_url
        from countermark.client.trust.updating import download_root

        base = tuf_url or default_tuf_url(url.rstrip("/"))
        return download_root(root or f"{base.rstrip('/')}/1.root.json", checksum)
    if remote:
        error = RequestRejected("a root that comes over the network proves nothing by itself")
        error.add_note("give its checksum too, with --root-checksum SHA256")
        raise error
    data = _read(root)
    if checksum:
        import hashlib

        if hashlib.sha256(data).hexdigest() != checksum.removeprefix("sha256:").lower():
            raise RequestRejected(f"{root} does not have that checksum")
    return data


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_ROOT_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_ROOT_BYTES:
        raise RequestRejected(f"{path} is too large for a TUF root")
    return data


def _fetch(
    output: Output, url: str, pin: bytes, tuf_url: str, mirror: str, *, replace: bool
) -> dict[str, Any]:
    from countermark.client.trust.following import fetch as follow

    mirror = os.path.abspath(mirror) if mirror and "://" not in mirror else mirror
    done = follow(url, pin=pin, tuf_url=tuf_url, mirror=mirror, replace_pin=replace)
    versions, expires = done.checked.versions, to_rfc3339(done.checked.expires)
    news = "new trusted root" if done.changed else "nothing new"
    output.line(
        f"{output.good('trusted')} {done.record.url}: {news},"
        f" root {versions.root}, good until {expires}"
    )
    return {
        "url": done.record.url,
        "changed": done.changed,
        "versions": versions._asdict(),
        "expires": {role: to_rfc3339(time) for role, time in done.checked.expiries.items()},
    }


@click.command(epilog="Example: countermark trust forget https://sigstore.example.org")
@click.argument("url", metavar="URL")
@json_option
def forget(url: str, as_json: bool) -> int:
    """Trust an instance no longer: what it signed is verified no more.

    An instance of this machine is recorded again when it comes up.
    """
    output = Output(as_json=as_json)
    from countermark.client.instances import InstanceRecord, update_instances
    from countermark.client.trust.kept import forget_kept

    url = url.rstrip("/")

    def change(records: list[InstanceRecord]) -> list[InstanceRecord]:
        left = [record for record in records if record.url != url]
        if len(left) == len(records):
            raise NotFound(f"{url} is not an instance that you trust")
        return left

    try:
        update_instances(change)
        forget_kept(url)
    except CountermarkError as error:
        return output.fail(error)
    output.line(f"{url} is trusted no longer")
    output.result({"url": url, "forgotten": True})
    return OK

# SPDX-License-Identifier: Apache-2.0
"""Signing against a real instance: streams, statements, several services, a log that is away."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from countermark.cli.exits import (
    MALFORMED,
    NO_SIGNATURE,
    NOT_PROVEN,
    OK,
    SERVICE_UNAVAILABLE,
    TRY_AGAIN,
    USAGE,
)
from tests.support.forwarding import forwarding
from tests.support.instance import free_port
from tests.support.running import Done, Running
from tests.support.scripted_server import scripted

ADA = "ada@example.org"
PREDICATE = b'{ "z": 1.50, "a" : "\xc3\xa9", "builder": {"id": "https://example.org/b"} }'


@pytest.fixture(autouse=True)
def _empty_spool(instance: Running) -> Iterator[None]:
    yield
    shutil.rmtree(instance.registry / "spool", ignore_errors=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.tar.gz"
    path.write_bytes(b"some release")
    return path


def verify(instance: Running, *arguments: str | Path, **more: Any) -> Done:
    policy = ("--identity", ADA, "--issuer", instance.issuer)
    return instance.countermark("verify", *policy, *map(str, arguments), **more)


def attest(instance: Running, *arguments: str | Path) -> Done:
    return instance.countermark("attest", "--email", ADA, *map(str, arguments))


def services(instance: Running, folder: Path, **changes: Any) -> Path:
    """The instance's trust config with other services."""
    document = json.loads(instance.trust_config.read_text())
    document["signingConfig"].update(changes)
    path = folder / "trust_config.json"
    path.write_text(json.dumps(document))
    return path


def service(url: str, operator: str) -> dict[str, Any]:
    return {
        "url": url,
        "majorApiVersion": 1,
        "validFor": {"start": "2020-01-01T00:00:00Z"},
        "operator": operator,
    }


def sign_as_ada(instance: Running, config: Path, *arguments: str | Path) -> Done:
    """Sign with a token in the environment, as `--email` is for known instances only."""
    return instance.countermark(
        *("sign", "--trust-config", str(config), *map(str, arguments)),
        COUNTERMARK_IDENTITY_TOKEN=instance.token(ADA),
    )


# --- statements --------------------------------------------------------------------------------


def test_a_predicate_is_signed_and_printed_byte_for_byte(
    instance: Running, file: Path, tmp_path: Path
) -> None:
    predicate = tmp_path / "predicate.json"
    predicate.write_bytes(PREDICATE)
    done = attest(instance, file, "--predicate", predicate, "--type", "slsaprovenance1")
    assert done.code == OK, done.err
    assert Path(f"{file}.slsaprovenance1.sigstore.json").exists()
    done = verify(instance, file, "--type", "slsaprovenance1", "--print-predicate")
    assert (done.code, done.out.encode()) == (OK, PREDICATE + b"\n"), done.err
    done = verify(instance, file, "--type", "slsaprovenance1", "--print-predicate", "--json")
    (result,) = done.json["results"]
    assert result["predicate"] == json.loads(PREDICATE)
    file.write_bytes(b"another release")
    done = verify(instance, file, "--type", "slsaprovenance1", "--print-predicate")
    assert (done.code, done.out) == (NOT_PROVEN, "")


def test_a_statement_of_another_type_is_not_what_was_asked_for(
    instance: Running, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "p").write_text("{}")
    bundle = tmp_path / "bundle"
    done = attest(
        instance, file, "--predicate", tmp_path / "p", "--type", "openvex", "--bundle", bundle
    )
    assert done.code == OK, done.err
    assert verify(instance, file, "--bundle", bundle, "--type", "openvex").code == OK
    uri = "https://openvex.dev/ns"
    assert verify(instance, file, "--bundle", bundle, "--type", uri).code == OK
    for other in ("vuln", "https://openvex.dev/", f"{uri}/v0.2.0"):
        done = verify(instance, file, "--bundle", bundle, "--type", other, "--print-predicate")
        assert (done.code, done.out) == (NOT_PROVEN, ""), other
        assert f"'{uri}', not {other}" in done.err
    assert verify(instance, file, "--type", "vuln").code == NO_SIGNATURE
    assert verify(instance, file, "--bundle", bundle, "--print-predicate").code == USAGE
    signed = instance.countermark("sign", "--email", ADA, str(file))
    assert signed.code == OK, signed.err
    done = verify(instance, file, "--bundle", f"{file}.sigstore.json", "--type", "openvex")
    assert done.code == NOT_PROVEN
    assert "the file itself was signed" in done.err


def test_one_statement_about_several_subjects(instance: Running, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b")]
    for path in files:
        path.write_text(path.name)
    absent = tmp_path / "absent"
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of "x"
    (tmp_path / "p").write_text('{"by": "hand"}')
    bundle = tmp_path / "all.sigstore.json"
    uri = "https://example.org/kind/v1"
    done = attest(
        instance,
        *("--predicate", str(tmp_path / "p"), "--type", uri, "--bundle", str(bundle)),
        *("--subject", f"absent@sha256:{digest}", *map(str, files)),
    )
    assert done.code == OK, done.err
    absent.write_text("x")
    for path in (*files, absent):
        assert verify(instance, "--bundle", bundle, "--type", uri, path).code == OK
    absent.write_text("y")
    assert verify(instance, "--bundle", bundle, "--type", uri, absent).code == NOT_PROVEN


def test_a_whole_statement_is_signed_as_it_is(
    instance: Running, file: Path, tmp_path: Path
) -> None:
    digest = "7b6d1bde0ef2ef5a6b1d4c0f7a6ea5a2d8e5c7a0b1f2e3d4c5b6a79880706050"
    statement = tmp_path / "statement.json"
    text = (
        '{"predicateType": "https://example.org/x",  "_type": "https://in-toto.io/Statement/v1",'
        f'"subject": [{{"name": "a", "digest": {{"sha256": "{digest}"}}}}], "predicate": {{}}}}\n'
    )
    statement.write_text(text)
    done = attest(instance, "--statement", statement)
    assert done.code == OK, done.err
    bundle = f"{statement}.sigstore.json"
    payload = json.loads(Path(bundle).read_text())["dsseEnvelope"]["payload"]
    assert base64.b64decode(payload).decode() == text
    done = verify(instance, "--bundle", bundle, f"sha256:{digest}")
    assert done.code == OK, done.err


# --- streams and sizes -------------------------------------------------------------------------

# Of this process alone: what `getrusage` tells began with the process that started it.
MEASURED = """
import re, sys
from countermark.cli.entry import main
sys.argv = ["countermark", *sys.argv[1:]]
code = main()
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""
_MOST_KIB = 110 * 1024


def test_a_stream_is_signed(instance: Running, tmp_path: Path) -> None:
    bundle = tmp_path / "stream.sigstore.json"
    done = instance.countermark(
        "sign", "--email", ADA, "--bundle", str(bundle), "-", stdin="streamed"
    )
    assert done.code == OK, done.err
    same = tmp_path / "same"
    same.write_text("streamed")
    assert verify(instance, "--bundle", bundle, same).code == OK
    done = instance.countermark("sign", "--email", ADA, "-", stdin="streamed")
    assert done.code == USAGE
    assert "--bundle PATH" in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(("way", "size"), [("file", 2 * 1024**3), ("stream", 300 * 1024**2)])
def test_gigabytes_take_no_more_memory_than_bytes(
    instance: Running, tmp_path: Path, way: str, size: int
) -> None:
    big = tmp_path / "big"
    with big.open("wb") as made:
        made.truncate(size)  # a hole: no disk is used
    with big.open("rb") as stdin:
        done = subprocess.run(
            [
                *(sys.executable, "-c", MEASURED, "sign", "--email", ADA),
                *("--bundle", str(tmp_path / "b"), str(big) if way == "file" else "-"),
            ],
            stdin=stdin,
            capture_output=True,
            text=True,
            env=instance.environment(),
            timeout=120,
        )
    assert done.returncode == OK, done.stderr
    assert int(done.stderr.split()[-1]) < _MOST_KIB, done.stderr


# --- several services, and those that fail -----------------------------------------------------


def test_any_takes_another_operators_service_if_one_is_away(
    instance: Running, file: Path, tmp_path: Path
) -> None:
    away = f"http://localhost:{free_port()}"
    logs = [service(away, "away"), service(instance.url, "own")]
    stamps = [
        service(f"{away}/api/v1/timestamp", "away"),
        service(f"{instance.url}/api/v1/timestamp", "own"),
    ]
    for selector, code in (("ANY", OK), ("ALL", SERVICE_UNAVAILABLE)):
        chosen = {"selector": selector}
        config = services(
            instance, tmp_path, rekorTlogUrls=logs, rekorTlogConfig=chosen, tsaUrls=stamps
        )
        done = sign_as_ada(instance, config, "--overwrite", file)
        assert done.code == code, done.err
    assert f"the transparency log at {away} does not answer" in done.err
    assert verify(instance, file).code == OK


def test_exact_needs_as_many_as_it_says(instance: Running, file: Path, tmp_path: Path) -> None:
    with scripted((503, {"Retry-After": "99999"}, b"")) as busy:
        logs = [service(busy.url, "busy"), service(instance.url, "own")]
        for count, code in ((1, OK), (2, TRY_AGAIN)):
            exact = {"selector": "EXACT", "count": count}
            config = services(instance, tmp_path, rekorTlogUrls=logs, rekorTlogConfig=exact)
            done = sign_as_ada(instance, config, "--overwrite", file)
            assert done.code == code, done.err
        assert f"the transparency log at {busy.url} is too busy" in done.err


def test_a_service_that_hangs_costs_no_more_than_the_time_given(
    instance: Running, file: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = services(instance, tmp_path, rekorTlogUrls=[service(url, "silent")])
        done = sign_as_ada(instance, config, "--timeout", "2s", file)
    assert done.code == SERVICE_UNAVAILABLE
    assert f"the transparency log at {url} takes too long" in done.err
    assert not Path(f"{file}.sigstore.json").exists()


# --- the spool ---------------------------------------------------------------------------------


def spool(instance: Running, *arguments: str) -> Done:
    return instance.countermark("spool", *arguments, "--json")


def test_a_signature_outlives_an_outage_of_the_log(instance: Running, tmp_path: Path) -> None:
    port = free_port()
    config = services(instance, tmp_path, rekorTlogUrls=[service(f"http://localhost:{port}", "")])
    files = [tmp_path / name for name in ("one", "two", "three")]
    for path in files:
        path.write_text(path.name)
    done = sign_as_ada(instance, config, "--spool", "--json", *files)
    assert done.code == OK, done.err
    assert (done.json["signed"], len(done.json["spooled"])) == ([], 3)
    assert not list(tmp_path.glob("*.sigstore.json"))
    kept = instance.registry / "spool"
    assert {path.stat().st_mode & 0o777 for path in kept.iterdir()} == {0o600}
    assert not any(b"eyJ" in path.read_bytes() for path in kept.iterdir()), "a token"

    done = spool(instance, "flush", "--timeout", "1s")  # still away
    assert done.code == TRY_AGAIN
    assert len(spool(instance, "list").json["waiting"]) == 3

    taken = tmp_path / "three.sigstore.json"
    taken.write_text("somebody else's")
    with forwarding(port, instance.url):
        done = spool(instance, "flush")
        assert done.code == USAGE
        assert [row["file"] for row in done.json["signed"]] == [str(path) for path in files[:2]]
        assert "exists already" in done.json["failed"][0]["error"]["message"]
        assert taken.read_text() == "somebody else's"
        taken.unlink()
        done = spool(instance, "flush")  # logged before: found again
        assert (done.code, done.json["waiting"]) == (OK, 0)
    for path in files:
        assert verify(instance, path).code == OK
    assert spool(instance, "flush").json == {"signed": [], "failed": [], "waiting": 0}


def test_names_of_any_bytes_are_signed_spooled_and_told_safely(
    instance: Running, tmp_path: Path
) -> None:
    port = free_port()
    config = services(instance, tmp_path, rekorTlogUrls=[service(f"http://localhost:{port}", "")])
    name = os.path.join(tmp_path, os.fsdecode(b"caf\xe9\x1b[31m\n"))
    Path(name).write_text("x")
    done = sign_as_ada(instance, config, "--spool", name)
    assert (done.code, "\x1b" in done.out, r"\x1b[31m\n" in done.out) == (OK, False, True), done.err
    listed = instance.countermark("spool", "list")
    assert (listed.code, "\x1b" in listed.out) == (OK, False), listed.err
    with forwarding(port, instance.url):
        done = instance.countermark("spool", "flush")
    assert (done.code, "\x1b" in done.out) == (OK, False), done.err
    assert verify(instance, name).code == OK


def test_two_processes_flush_one_spool(instance: Running, tmp_path: Path) -> None:
    port = free_port()
    config = services(instance, tmp_path, rekorTlogUrls=[service(f"http://localhost:{port}", "")])
    files = [tmp_path / str(number) for number in range(6)]
    for path in files:
        path.write_text(path.name)
    assert sign_as_ada(instance, config, "--spool", *files).code == OK
    done: list[Done] = []
    with forwarding(port, instance.url):
        threads = [
            threading.Thread(target=lambda: done.append(spool(instance, "flush"))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [item.code for item in done] == [OK, OK], [item.out for item in done]
    assert sum(len(item.json["signed"]) for item in done) == 6
    assert verify(instance, *files).code == OK
    assert spool(instance, "list").json == {"waiting": []}


def test_a_spooled_signature_that_would_not_verify_is_not_written(
    instance: Running, file: Path, tmp_path: Path
) -> None:
    port = free_port()
    config = services(instance, tmp_path, rekorTlogUrls=[service(f"http://localhost:{port}", "")])
    done = sign_as_ada(instance, config, "--spool", "--json", file)
    (row,) = done.json["spooled"]
    with scripted((201, {}, b"{}")) as lying:
        config = services(instance, tmp_path, rekorTlogUrls=[service(lying.url, "")])
        done = spool(instance, "flush", "--trust-config", str(config))
    assert done.code == MALFORMED
    assert not Path(f"{file}.sigstore.json").exists()
    kept = instance.registry / "spool" / f"{row['number']}.json"
    kept.write_text(kept.read_text().replace('\\"signature\\":\\"', '\\"signature\\":\\"AAAA'))
    assert spool(instance, "flush").code == MALFORMED
    assert spool(instance, "drop", row["number"]).json == {"dropped": [row["number"]]}
    assert spool(instance, "list").json == {"waiting": []}
    assert spool(instance, "drop", "../../x").code == USAGE


def test_statements_and_managed_keys_wait_too(
    instance: Running, file: Path, tmp_path: Path
) -> None:
    port = free_port()
    config = services(instance, tmp_path, rekorTlogUrls=[service(f"http://localhost:{port}", "")])
    (tmp_path / "p").write_text("{}")
    secret = {"COUNTERMARK_PASSWORD": "correct horse"}
    key = str(tmp_path / "release")
    assert instance.countermark("key", "generate", key, **secret).code == OK
    shared = ("--spool", "--trust-config", str(config), "--key", f"{key}.key", str(file))
    for command in (("sign",), ("attest", "--type", "vuln", "--predicate", str(tmp_path / "p"))):
        done = instance.countermark(*command, *shared, **secret)
        assert (done.code, "spooled" in done.out) == (OK, True), done.err
    with forwarding(port, instance.url):
        assert spool(instance, "flush").code == OK
    by_key = ("verify", "--key", f"{key}.pub", "--trust-config", str(config), str(file))
    assert instance.countermark(*by_key).code == OK
    assert instance.countermark(*by_key, "--type", "vuln").code == OK


def test_without_a_timestamp_nothing_is_spooled(
    instance: Running, file: Path, tmp_path: Path
) -> None:
    away = service(f"http://localhost:{free_port()}", "")
    config = services(instance, tmp_path, rekorTlogUrls=[away], tsaUrls=[])
    done = sign_as_ada(instance, config, "--spool", file)
    assert done.code == NOT_PROVEN
    assert "without a timestamp" in done.err
    assert spool(instance, "list").json == {"waiting": []}
    assert not os.path.exists(f"{file}.sigstore.json")


# --- checksum files ------------------------------------------------------------------------------


def test_a_release_is_signed_as_one_listing(instance: Running, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("app.tar.gz", "with space", "back\\slash")]
    for path in files:
        path.write_text(path.name)
    listing = tmp_path / "SHA256SUMS"
    names = ("--checksums", str(listing), *map(str, files))
    done = instance.countermark("sign", "--email", ADA, *names)
    assert done.code == OK, done.err
    checked = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=tmp_path, capture_output=True
    )
    assert checked.returncode == 0, checked.stdout
    assert verify(instance, "--checksums", listing).code == OK
    assert verify(instance, "--checksums", listing, files[1]).code == OK
    assert instance.countermark("sign", "--email", ADA, *names).code == USAGE  # it is there
    outside = tmp_path / "sub" / "SHA256SUMS"
    outside.parent.mkdir()
    done = instance.countermark("sign", "--email", ADA, "--checksums", str(outside), str(files[0]))
    assert (done.code, outside.exists()) == (USAGE, False)
    files[0].write_text("changed")
    done = verify(instance, "--checksums", listing)
    assert (done.code, "app.tar.gz: NOT verified" in done.err) == (NOT_PROVEN, True)

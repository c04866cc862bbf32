# SPDX-License-Identifier: Apache-2.0
"""/metrics of a real instance: all processes' numbers from any worker, through restarts."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.instance import Instance, free_port
from tests.support.load import Client, Load, local_token
from tests.support.rekor import SigningKey, encode, hashedrekord

pytestmark = pytest.mark.xdist_group("instance")
ROOT = Path(__file__).parents[2]

Numbers = dict[tuple[str, ...], float]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with Instance(tmp_path_factory.mktemp("metrics"), "--workers", "2") as up:
        yield up


def _page(url: str) -> str:
    with urllib.request.urlopen(url + "/metrics", timeout=30) as reply:
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        return str(reply.read().decode("utf-8"))


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def _numbers(instance: Instance) -> Numbers:
    """Values by sample name and label values, without the common prefix."""
    return {
        (sample.name.removeprefix("countermark_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(_page(instance.url))
        for sample in family.samples
    }


def _post_one(instance: Instance, content: bytes) -> int:
    client = Client(instance.port)
    body = encode(hashedrekord(SigningKey.new(), content))
    status = client.post("/api/v1/log/entries", body)[0]
    assert client.post("/api/v1/log/entries", body)[0] == 409
    client.close()
    return status


_ENTRIES = ("log_entries_total", "rekor-v1-1")


def test_every_worker_tells_of_all_of_them(instance: Instance) -> None:
    before = _numbers(instance)
    for number in range(8):  # over both workers: each has a connection of its own
        assert _post_one(instance, b"artifact %d" % number) == 201
    posted = ("http_requests_total", "log", "/api/v1/log/entries", "POST")
    for _ in range(8):
        now = _numbers(instance)
        assert now[*_ENTRIES] == before[*_ENTRIES] + 8
        assert now["log_duplicates_total", "rekor-v1-1"] == 8
        assert now["log_rounds_total", "rekor-v1-1"] >= 2
        assert (now[*posted, "2xx"], now[*posted, "4xx"]) == (8, 8)
    name = "log_commit_duration_seconds"
    assert now[f"{name}_count", "rekor-v1-1"] == 8
    assert 0 < now[f"{name}_sum", "rekor-v1-1"] < 8
    assert now["http_request_duration_seconds_count", "/api/v1/log/entries"] == 16
    assert {key[1] for key in now if key[0] == "process_up"} == {
        *("supervisor", "keeper", "worker-1", "worker-2")
    }
    assert all(value == 1 for key, value in now.items() if key[0] == "process_up")
    assert now["process_resident_memory_bytes", "keeper"] > 10_000_000


def test_what_is_staged_is_published_and_says_so(instance: Instance) -> None:
    _post_one(instance, b"to be published")

    def published() -> bool:
        now = _numbers(instance)
        size = now["log_tree_size_entries", "rekor-v1-1"]
        return (
            now["log_published_size_entries", "rekor-v1-1"] == size > 2
            and now["log_staged_rounds", "rekor-v1-1"] == 0
            and now["log_publication_lag_seconds", "rekor-v1-1"] == 0
        )

    instance.wait("published", published, 10)


def test_counters_outlive_their_processes(instance: Instance) -> None:
    _post_one(instance, b"before the kill")
    before = _numbers(instance)
    pids = {name: instance.kill(name) for name in ("worker-1", "worker-2", "keeper")}

    def back() -> bool:
        found = instance.processes()
        return (
            all(name in found and found[name].pid != pid for name, pid in pids.items())
            and instance.is_ready()
        )

    instance.wait("back", back)
    now = _numbers(instance)
    for key, value in before.items():
        if key[0].endswith(("_total", "_count", "_sum", "_bucket")) and "cpu" not in key[0]:
            assert now[key] >= value, key
    assert now[*_ENTRIES] == before[*_ENTRIES]
    for name in pids:
        assert now["process_restarts_total", name] == before["process_restarts_total", name] + 1
    _post_one(instance, b"after the kill")
    assert _numbers(instance)[*_ENTRIES] == before[*_ENTRIES] + 1


def test_a_refused_token_is_counted_by_its_reason(instance: Instance) -> None:
    client = Client(instance.port)
    key = {"algorithm": "ECDSA", "content": "x"}
    for token in ("no token", "a.b.c"):
        body = json.dumps(
            {
                "credentials": {"oidcIdentityToken": token},
                "publicKeyRequest": {"publicKey": key, "proofOfPossession": "eA=="},
            }
        )
        assert client.post("/api/v2/signingCert", body.encode())[0] == 400
    client.close()
    assert _numbers(instance)["tokens_refused_total", "malformed"] == 2


def test_strangers_make_no_series(instance: Instance) -> None:
    before = set(_numbers(instance))
    client = Client(instance.port)
    for number in range(50):
        client.get(f"/stranger-{number}")
        client.get(f"/api/v1/log/entries/stranger-{number}")
        client.get(f"/tuf/stranger-{number}")
        client.get(f"/ctlog/stranger-{number}/ct/v1/get-sth")
    client.close()
    new = {key[:-1] for key in set(_numbers(instance)) - before}
    assert "stranger" not in _page(instance.url)
    assert len({key[1:3] for key in new if key[0] == "http_requests_total"}) <= 4


def test_the_reference_names_what_is_served(instance: Instance) -> None:
    token = local_token(instance.port, instance.data_dir.read_local_secret())
    with Load(instance.port, instance.trusted_root().tlogs[0], token, posters=1) as load:
        load.wait_for_more()
        deadline = time.monotonic() + 20
        while not load.seen.certificates:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    page = _page(instance.url)
    served = set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    text = (ROOT / "docs/reference/metrics.md").read_text()
    documented = set(re.findall(r"^\| `(countermark_[a-z_]+)", text, re.MULTILINE))
    # Those appear when there is something to count.
    seldom = {
        "countermark_http_refused_total",
        "countermark_http_abandoned_total",
        "countermark_tokens_refused_total",
    }
    assert documented >= served
    assert documented - served <= seldom
    assert "countermark_certificates_issued_total 0" not in page


def test_metrics_have_a_port_of_their_own_if_asked(tmp_path: Path) -> None:
    port = free_port()
    options = ("--workers", "1", "--metrics-listen", f"127.0.0.1:{port}")
    with Instance(tmp_path, *options) as instance:
        assert _status(instance.url + "/metrics") == 404
        assert _status(instance.url + "/readyz") == 200
        private = f"http://127.0.0.1:{port}"
        assert "countermark_build_info" in _page(private)
        assert _status(private + "/readyz") == 200
        assert _status(private + "/api/v1/log") == 404


def test_beyond_this_machine_metrics_are_not_for_everyone(tmp_path: Path) -> None:
    port = free_port()
    base = ("--base-url", "https://sigstore.example.org")
    options = ("--workers", "1", "--behind-proxy", *base)
    with Instance(tmp_path, *options) as instance:
        assert _status(instance.url + "/metrics") == 404
        instance.stop()
        instance._options = (*options, "--metrics-listen", f"localhost:{port}")
        instance.start()
        assert _status(instance.url + "/metrics") == 404
        assert "countermark_build_info" in _page(f"http://localhost:{port}")

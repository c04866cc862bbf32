# SPDX-License-Identifier: Apache-2.0
"""A signature that waited for the log longer than its certificate lived, verified by others.

The instance is stopped while it waits, and comes back with its clock twenty minutes ahead.
"""

import json
import os
from pathlib import Path

import pytest

from tests.interop.test_sigstore_js import Library
from tests.support.instance import Instance, free_port
from tests.support.peers import ADA, TOOLS, Ours, installed
from tests.support.running import Running

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("sigstore-python")]
AHEAD_S = 1200
LATER = f"""
import time
real, real_ns = time.time, time.time_ns
time.time = lambda: real() + {AHEAD_S}
time.time_ns = lambda: real_ns() + {AHEAD_S} * 10**9
"""


def test_a_late_log_entry_is_believed_by_all(
    tmp_path: Path, sigstore: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, file = tmp_path / "person", tmp_path / "file"
    home.mkdir()
    file.write_text("signed while the log was away")
    with Instance(tmp_path) as instance:
        up = Running(instance.url, instance.data_dir.path, home, instance.home)
        config = tmp_path / "away.json"
        document = json.loads(up.trust_config.read_text())
        for service in document["signingConfig"]["rekorTlogUrls"]:
            service["url"] = f"http://localhost:{free_port()}"
        config.write_text(json.dumps(document))
        done = up.countermark(
            *("sign", "--spool", "--trust-config", str(config), str(file)),
            COUNTERMARK_IDENTITY_TOKEN=up.token(ADA),
        )
        assert done.code == 0, done.err
        instance.stop()
        (tmp_path / "sitecustomize.py").write_text(LATER)
        path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
        with monkeypatch.context() as ahead:
            ahead.setenv("PYTHONPATH", path.rstrip(os.pathsep))
            instance.start()
        done = up.countermark("spool", "flush", "--trust-config", str(up.trust_config))
        assert done.code == 0, done.err

        (entry,) = json.loads(Path(f"{file}.sigstore.json").read_text())["verificationMaterial"][
            "tlogEntries"
        ]
        assert {"inclusionPromise", "integratedTime"}.isdisjoint(entry)
        done = up.countermark(
            *("verify", "--json", "--identity", ADA, "--issuer", up.issuer, str(file))
        )
        assert done.code == 0, done.out
        assert {"timestamp", "inclusion", "identity"} <= {
            check["check"] for check in done.json["results"][0]["checks"]
        }
        done = up.run(
            *(sigstore, "--trust-config", str(up.trust_config), "verify", "identity"),
            *("--cert-identity", ADA, "--cert-oidc-issuer", up.issuer, str(file)),
        )
        assert (done.code, f"OK: {file}" in done.err) == (0, True), done.err
        cosign = installed("go", "cosign")
        done = up.run(
            *(cosign, "verify-blob", "--bundle", f"{file}.sigstore.json"),
            *("--trusted-root", str(up.data / "trust" / "trusted_root.json")),
            *("--certificate-identity", ADA, "--certificate-oidc-issuer", up.issuer, str(file)),
        )
        assert done.code == 0, done.err
        installed("sigstore-js", ".complete")
        node = installed("sigstore-js", "node_modules", ".bin", "node")
        javascript = Library(node, TOOLS / "sigstore-js", Ours(up, tmp_path))
        done = javascript.verify(Path(f"{file}.sigstore.json"), file)
        assert done.code == 0, done.out + done.err

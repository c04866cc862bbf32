# SPDX-License-Identifier: Apache-2.0
"""Settings: files and options, all faults at once, and where an instance may listen."""

from pathlib import Path

import pytest

from countermark.app.launch import Child, Issuer, Launch
from countermark.app.settings import Settings, load_settings
from countermark.core.errors import SettingsError


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


def test_options_stand_above_the_file(tmp_path: Path) -> None:
    file = _file(
        tmp_path,
        """
        data = "/srv/countermark"
        port = 8000
        workers = 3
        [[issuers]]
        url = "https://token.actions.githubusercontent.com"
        type = "github-workflow"
        [[issuers]]
        url = "http://127.0.0.1:5556/dex"
        type = "email"
        audience = "ours"
        jwks_file = "/etc/jwks.json"
        """,
    )
    settings = load_settings(file, {"port": 9000, "host": None, "workers": None})
    assert settings == Settings(
        data="/srv/countermark",
        port=9000,
        workers=3,
        issuers=(
            Issuer("https://token.actions.githubusercontent.com", "github-workflow"),
            Issuer("http://127.0.0.1:5556/dex", "email", "ours", "/etc/jwks.json"),
        ),
    )
    assert load_settings(None, {}) == Settings()
    assert Settings().worker_count >= 1
    assert Settings(workers=5).worker_count == 5


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    file = _file(
        tmp_path,
        """
        prot = 1
        port = 70000
        workers = "two"
        behind_proxy = 1
        log_format = "xml"
        tls_cert = "/nowhere/cert.pem"
        [[issuers]]
        url = "ftp://x"
        type = "mail"
        [[issuers]]
        type = "email"
        tpye = "email"
        [[issuers]]
        url = "https://x.example"
        type = 1
        """,
    )
    with pytest.raises(SettingsError) as raised:
        load_settings(file, {})
    told = str(raised.value)
    for fault in (
        "no setting 'prot'",
        "port 70000",
        "workers must be a whole number",
        "behind_proxy must be true or false",
        "log_format",
        "go together",
        "/nowhere/cert.pem cannot be read",
        "type must be one of",
        "neither https nor of this machine",
        "issuer 2 has no url",
        "issuer 2: there is no setting 'tpye'",
        "issuer 3: type must be a text",
    ):
        assert fault in told


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("issuers = 3", "tables"),
        ("issuers = [3]", "issuer 1 has no url"),
        ("port = ", "is not TOML"),
        ("port = " + "[" * 5000, "is not TOML"),
        ("port = " + "9" * 5000, "is not TOML"),
        (
            "[[issuers]]\nurl = 'https://a'\ntype = 'email'\n" * 2,
            "listed twice",
        ),
        ("[[issuers]]\nurl = 'http://[::1'\ntype = 'email'", "neither https"),
    ],
)
def test_single_faults(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        load_settings(_file(tmp_path, text), {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml cannot be read"):
        load_settings(tmp_path / "absent.toml", {})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.3.2.1"])
def test_loopback_needs_nothing_and_is_for_development(host: str) -> None:
    settings = load_settings(None, {"host": host})
    assert settings.development
    assert not load_settings(None, {"host": host, "behind_proxy": True}).development


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "sigstore.example"])
def test_beyond_loopback_wants_tls_or_a_proxy(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="other machines can reach"):
        load_settings(None, {"host": host})
    assert not load_settings(None, {"host": host, "behind_proxy": True}).development
    pem = _file(tmp_path, "pem")
    tls = {"tls_cert": str(pem), "tls_key": str(pem)}
    assert not load_settings(None, {"host": host, **tls}).development


def test_what_processes_are_told_survives_the_journey() -> None:
    launch = Launch(
        data_dir="/srv/with space/ü",
        lock=3,
        listeners=[[4, 5], [6]],
        issuers=[Issuer("https://a", "email"), Issuer("https://b", "email", "x", "/f")],
        development=True,
        metrics_listeners=[[7], [8]],
        greeting="two\nlines",
    )
    child = Child(launch, "worker-2", 9, 10, [6], [8])
    assert Launch.parse(launch.serialize()) == launch
    assert Child.parse(child.serialize()) == child
    assert launch.names == ["supervisor", "keeper", "worker-1", "worker-2"]
    assert launch.sockets == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", None),
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_metrics_have_an_address(text: str, address: tuple[str, int] | None) -> None:
    assert load_settings(None, {"metrics_listen": text}).metrics_address == address


@pytest.mark.parametrize(
    "text",
    ["9464", ":9464", "host", "host:", "host:0", "host:65536", "host:x", "u@host:1/x", "[:1"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="metrics_listen must be HOST:PORT"):
        load_settings(None, {"metrics_listen": text})

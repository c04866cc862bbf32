# SPDX-License-Identifier: Apache-2.0
"""`countermark attest`: what is refused before anybody is asked to log in."""

from pathlib import Path

import pytest

from countermark.cli.exits import MALFORMED, USAGE
from countermark.cli.main import run


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), USAGE, "what is attested"),
        (("--predicate", "p", "--type", "openvex"), USAGE, "about what"),
        (("--predicate", "p", "--type", "nothing", "f"), USAGE, "no type of predicate"),
        (("--predicate", "bad", "--type", "openvex", "f"), MALFORMED, "a key occurs twice"),
        (("--predicate", "nan", "--type", "openvex", "f"), MALFORMED, "NaN is no JSON"),
        (("--predicate", "list", "--type", "openvex", "f"), MALFORMED, "not a JSON object"),
        (("--predicate", "p", "--type", "openvex", "f", "f2"), USAGE, "--bundle PATH"),
        (("--predicate", "p", "--type", "vuln", "--subject", "a@sha256:00"), USAGE, "no subject"),
        (("--statement", "p"), MALFORMED, "in-toto statement"),
        (("--statement", "p", "f"), USAGE, "its own subjects"),
    ],
)
def test_what_can_not_be_attested(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    for name, text in {
        "p": "{}",
        "bad": '{"a": 1, "a": 2}',
        "nan": '{"a": NaN}',
        "list": "[]",
        "f": "f",
        "f2": "f2",
    }.items():
        (tmp_path / name).write_text(text)
    named = [str(tmp_path / word) if (tmp_path / word).exists() else word for word in arguments]
    assert run(["attest", *named]) == code
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("*.sigstore.json"))

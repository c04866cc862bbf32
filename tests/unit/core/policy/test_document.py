# SPDX-License-Identifier: Apache-2.0
"""Policy files: what they mean, and that whatever is wrong with one is named."""

import re
import time
from pathlib import Path

import pytest

from countermark.core.errors import FormatError, IdentityMismatch
from countermark.core.policy.document import MAX_POLICY_BYTES, FileReference, PolicyDocument, Rule
from countermark.core.verify.claims import CLAIMS
from countermark.core.verify.signer import SignerIdentity
from countermark.core.verify.verifier import Thresholds

GITHUB = "https://token.actions.githubusercontent.com"
ADA = SignerIdentity("email", "ada@example.org", "https://accounts.example.org", ())
BUILD = SignerIdentity(
    "uri",
    "https://github.com/octo/app/.github/workflows/release.yml@refs/tags/v1",
    GITHUB,
    (
        (12, "https://github.com/octo/app"),
        (14, "refs/tags/v1"),
        (15, "1001"),
        (18, "https://github.com/octo/app/.github/workflows/release.yml@refs/tags/v1"),
    ),
)
WHOLE = """
version = 1

[root]
file = "root.json"
sha256 = "0101010101010101010101010101010101010101010101010101010101010101"

[thresholds]
times = 2

[witnesses]
file = "witnesses.txt"

[[artifact]]
files = ["app-*.tar.gz", "app-*.whl"]
thresholds = { scts = 2 }

[[artifact.any]]
identity = ["ada@example.org", "bob@example.org"]
issuer = "https://accounts.example.org"

[[artifact.any]]
issuer = "https://token.actions.githubusercontent.com"
repository = "octo/app"
workflow = ".github/workflows/release.yml"
ref = "refs/tags/v*"
extensions = { "1.3.6.1.4.1.57264.1.15" = "1001" }

[[artifact]]
files = "*.txt"
keys = [{ file = "release.pub" }]
"""


def parse(text: str) -> PolicyDocument:
    return PolicyDocument.parse(text.encode())


def rule(who: str) -> Rule:
    (found,) = parse(f'version = 1\n[[artifact]]\nfiles = "*"\n{who}').rules
    return found


def accepts(who: str, signer: SignerIdentity) -> bool:
    policy = rule(who).policy
    assert policy is not None
    try:
        policy.check(signer)
    except IdentityMismatch:
        return False
    return True


def faults(text: str) -> str:
    with pytest.raises(FormatError) as caught:
        parse(text)
    return str(caught.value)


def test_a_whole_policy() -> None:
    document = parse(WHOLE)
    assert document.root is not None
    assert document.root.file == FileReference("root.json", b"\x01" * 32)
    assert document.witnesses == FileReference("witnesses.txt", b"")
    first, second = document.rules
    assert first.thresholds == Thresholds(times=2, logs=1, scts=2)
    assert second.thresholds == Thresholds(times=2)
    assert second.keys == (FileReference("release.pub", b""),)
    assert second.policy is None
    assert document.rule_for("app-1.tar.gz") == document.rule_for("app-2.whl") == first
    assert document.rule_for("notes.txt") == second
    assert first.policy is not None
    for signer in (ADA, BUILD, ADA._replace(name="bob@example.org")):
        assert first.policy.check(signer)
    for signer in (
        ADA._replace(name="eve@example.org"),
        ADA._replace(issuer=GITHUB),
        BUILD._replace(issuer="https://evil.example"),
        BUILD._replace(extensions=BUILD.extensions[:-2]),
    ):
        with pytest.raises(IdentityMismatch):
            first.policy.check(signer)
    assert len(document.references()) == 3


def test_a_file_that_no_rule_is_about_is_refused() -> None:
    with pytest.raises(IdentityMismatch, match="says nothing about a file called 'other'"):
        parse(WHOLE).rule_for("other")


def test_the_first_rule_that_fits_decides() -> None:
    text = "version = 1\n"
    for number, files in enumerate(("a*", "*")):
        text += f'[[artifact]]\nfiles = "{files}"\nkeys = [{{ file = "{number}" }}]\n'
    document = parse(text)
    assert document.rule_for("ab").keys[0].path == "0"
    assert document.rule_for("b").keys[0].path == "1"


@pytest.mark.parametrize(
    ("who", "ada", "build"),
    [
        ('[[artifact.any]]\nidentity-regex=".+@example.org"\nissuer="https://accounts.example.org"',
         True, False),
        ('[[artifact.any]]\nidentity-regex=".+"\nissuer-regex="https://.+"', True, True),
        ('[[artifact.any]]\nidentity="ada@example.org"\nissuer-regex="https://.*"', True, False),
        ('[[artifact.any]]\nissuer-regex="https://.*"\nrepository="octo/app"', False, True),
        (f'[[artifact.any]]\nissuer="{GITHUB}"\nrepository-id="1001"', False, True),
        (f'[[artifact.any]]\nissuer="{GITHUB}"\nrepository={{regex=".*/octo/.*"}}', False, True),
        (f'[[artifact.any]]\nissuer="{GITHUB}"\nrepository=["a/b","octo/app"]', False, True),
        (f'[[artifact.any]]\nissuer="{GITHUB}"\nrepository="octo/app"\nref="refs/heads/*"',
         False, False),
        ("all = [{ any = [{ identity-regex = '.+', issuer-regex = '.+' }] },"
         f" {{ issuer = '{GITHUB}', owner = 'octo' }}]", False, False),
        ("all = [{ any = [{ identity-regex = '.+', issuer-regex = '.+' }] },"
         f" {{ issuer = '{GITHUB}', repository = 'octo/app' }}]", False, True),
        ("any = [{ identity-regex = '.+', issuer-regex = '.+' }]\n"
         "all = [{ identity = 'ada@example.org', issuer-regex = '.+' }]", True, False),
    ],
)  # fmt: skip
def test_who_is_accepted(who: str, ada: bool, build: bool) -> None:
    assert (accepts(who, ADA), accepts(who, BUILD)) == (ada, build)


ANYBODY = '[[artifact.any]]\nidentity = "x"\nissuer = "y"\n'
RULE = f'[[artifact]]\nfiles = "*"\n{ANYBODY}'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("version", "is not TOML"),
        ("\x00", "is not TOML"),
        (RULE, "version is missing"),
        (f"version = 2\n{RULE}", "version is '2', and this program reads version 1"),
        (f"version = true\n{RULE}", "version is 'True'"),
        (f"version = 1.0\n{RULE}", "version is '1.0'"),
        ("version = 1", "artifact is missing"),
        ("version = 1\nartifact = []", "artifact is not a list of tables with at least one"),
        ("version = 1\nartifact = [1]", "artifact[1] is not a table"),
        (f"version = 1\nroots = 1\n{RULE}", "roots is not known here (did you mean root?)"),
        (f"version = 1\n{RULE}isuer = 1", "any[1].isuer is not known here (did you mean issuer?)"),
        (f"version = 1\n[root]\n{RULE}", "root names neither or both"),
        (f'version = 1\n[root]\ninstance="a"\nfile="b"\n{RULE}', "root names neither or both"),
        (f'version = 1\n[root]\nfile="b"\nsha256="XY"\n{RULE}', "root.sha256 is not 64"),
        (f'version = 1\n[root]\nsha256="{"0" * 64}"\n{RULE}', "root.file is missing"),
        (f"version = 1\n[thresholds]\ntimes = 0\n{RULE}", "thresholds.times is not a number"),
        (f"version = 1\n[thresholds]\nlogs = true\n{RULE}", "thresholds.logs is not a number"),
        (f"version = 1\n[thresholds]\nunlogged = 1\n{RULE}", "thresholds.unlogged is not true"),
        (f"version = 1\n[witnesses]\n{RULE}", "witnesses.file is missing"),
        (f"version = 1\n[thresholds]\nlog = 1\n{RULE}", "thresholds.log is not known here"),
        (f'version = 1\n[[artifact]]\nfiles = "a/b"\n{ANYBODY}', "files[1] holds a slash"),
        (f'version = 1\n[[artifact]]\nfiles = "a\\\\"\n{ANYBODY}', "ends with a backslash"),
        (f"version = 1\n[[artifact]]\n{ANYBODY}", "artifact[1].files is missing"),
        (f"version = 1\n[[artifact]]\nfiles = [1]\n{ANYBODY}", "artifact[1].files is not text"),
        (f"version = 1\n[[artifact]]\nfiles = []\n{ANYBODY}", "has not 1 to 64 members"),
        ('version = 1\n[[artifact]]\nfiles = "*"', "artifact[1] accepts nobody"),
        ('version = 1\n[[artifact]]\nfiles = "*"\nany = []', "artifact[1].any is not a list"),
        ('version = 1\n[[artifact]]\nfiles = "*"\nkeys = [{ file = 1 }]', "keys[1].file is not"),
        ('version = 1\n[[artifact]]\nfiles = "*"\nkeys = [{ path = "x" }]', "path is not known"),
    ],
)
def test_faults_of_files(text: str, why: str) -> None:
    assert why in faults(text)


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ('identity = "x"', "needs an issuer or an issuer-regex"),
        ('issuer = "x"', "names nobody"),
        ('issuer = "x"\nissuer-regex = "y"\nidentity = "z"', "only one of them"),
        ('issuer = "x"\nworkflow = "y"\nref = "z"', "names nobody"),
        ('issuer = "x"\nidentity = "y"\nidentity-regex = "z"', "both an identity and"),
        ('issuer = "x"\nidentity = ""', "identity is not text"),
        ('issuer = ["x"]\nidentity = "y"', "issuer is not text of 1"),
        ('issuer = "x"\nidentity-regex = "("', "identity-regex the pattern"),
        ('issuer = "x"\nrepository = { regexp = "x" }', "regexp is not known here"),
        ('issuer = "x"\nrepository = { regex = "(?=x)" }', "the pattern"),
        ('issuer = "x"\nrepository = {}', "repository is a table without regex"),
        ('issuer = "x"\nrepository = 7', "repository is not text"),
        ('issuer = "x"\nidentity = "y"\nref = "*\\\\"', "ends with a backslash"),
        ('issuer = "x"\nidentity = "y"\nextensions = { nonsense = "z" }', "called 'nonsense'"),
        ('issuer = "x"\nidentity = "y"\nextensions = 1', "extensions is not a table"),
        ('issuer = "x"\nidentity = "y"\nany = []', "identity is not known here"),
        (f'issuer = "x"\nidentity = "{"y" * 2049}"', "of 1 to 2048 characters"),
    ],
)
def test_faults_of_expectations(who: str, why: str) -> None:
    assert why in faults(f'version = 1\n[[artifact]]\nfiles = "*"\n[[artifact.any]]\n{who}')


def test_all_faults_are_listed_and_not_too_many() -> None:
    many = "".join(f"k{number} = 1\n" for number in range(100))
    said = faults(f"version = 1\n{many}{RULE}")
    assert said.count("is not known here") == 8
    assert said.endswith("and 92 more")


def nested(depth: int) -> str:
    return "any = [{ " * depth + "identity = 'x', issuer = 'y'" + " }]" * depth


def test_files_that_would_take_long() -> None:
    started = time.process_time()
    bad = (
        "version = 1\na." + "a." * 20_000 + "a = 1",
        "version = 1\na." + "a." * 4_000 + "a = 1",
        "version = 1\na = " + "[" * 30_000,
        "version = 1\n" + "".join(f"artifac{number} = 1\n" for number in range(3_000)),
        "version = " + "9" * 60_000,
        "#" * (MAX_POLICY_BYTES + 1),
        f'version = 1\n[[artifact]]\nfiles = "*"\n{nested(10)}',
        "version = 1\n" + RULE * 300,
    )
    for text in bad:
        assert faults(text)
    assert time.process_time() - started < 5
    assert rule(nested(8)).policy is not None


# --- the page ------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[4] / "docs/reference/policy-file.md"


def test_the_example_of_the_reference_is_a_policy() -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    document = parse(example)
    assert document.root is not None
    assert document.root.file is not None
    assert document.witnesses == FileReference("witnesses.txt", b"")
    app, text = document.rule_for("app-1.0.tar.gz"), document.rule_for("notes.txt")
    assert app.thresholds == text.thresholds == Thresholds()
    assert app.policy is not None
    assert app.policy.check(
        ADA._replace(name="release@example.org", issuer="https://accounts.example.org")
    )
    extensions = (*BUILD.extensions, (11, "github-hosted"), (20, "push"))
    assert app.policy.check(BUILD._replace(extensions=extensions))
    with pytest.raises(IdentityMismatch):
        app.policy.check(BUILD)


def test_the_reference_names_every_claim() -> None:
    page = PAGE.read_text()
    assert not [claim for claim in CLAIMS if f"`{claim}`" not in page]

# SPDX-License-Identifier: Apache-2.0
"""Git itself, with `countermark-git` for its signing program and a real instance."""

import base64
import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
import time
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from countermark.cli.exits import MALFORMED, NO_ARTIFACT, NO_SIGNATURE, NOT_PROVEN, OK, USAGE
from tests.support.git import PROGRAM, Repository
from tests.support.peers import ADA, BOB
from tests.support.running import TIMEOUT_S, Running

pytestmark = pytest.mark.xdist_group("git")

# A rebase of fifty takes half a minute: COUNTERMARK_REBASE=50 shows it.
COMMITS = int(os.environ.get("COUNTERMARK_REBASE", "4"))
SIGNED = "-----BEGIN SIGNED MESSAGE-----"


@pytest.fixture
def repository(instance: Running, tmp_path: Path) -> Repository:
    made = Repository.create(instance, tmp_path / "repository")
    made.set_up()
    return made


@pytest.fixture(scope="module")
def signed(
    instance: Running, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Repository, str, str]:
    """A repository with two signed commits, and a signed tag of each; nothing changes it."""
    made = Repository.create(instance, tmp_path_factory.mktemp("git") / "signed")
    made.set_up()
    commits = []
    for version in ("v1", "v2"):
        commits.append(made.commit(version))
        made.git("tag", "--sign", version, "--message", f"release {version}")
    return made, commits[0], commits[1]


def expect(repository: Repository, identity: str = ADA) -> None:
    """Have Git's configuration name who must have signed."""
    for key, value in (("identity", identity), ("issuer", repository.instance.issuer)):
        repository.git("config", "--replace-all", f"countermark.{key}", value)


def forget(repository: Repository) -> None:
    for key in ("identity", "issuer"):
        repository.try_git("config", "--unset-all", f"countermark.{key}")


def test_git_shows_whether_the_signer_was_expected(
    signed: tuple[Repository, str, str],
) -> None:
    repository, first, _ = signed
    forget(repository)
    assert repository.shown(first) == "U"
    done = repository.try_git("verify-commit", first)
    assert (done.code, "nobody was expected" in done.err) == (0, True)
    expect(repository)
    assert repository.shown(first) == "G"
    for command in (("verify-commit", first), ("verify-tag", "v1")):
        done = repository.try_git(*command)
        assert (done.code, f"signed by {ADA}" in done.err) == (0, True), done.err
    raw = repository.try_git("verify-commit", "--raw", first).err.splitlines()
    assert [line.split()[1] for line in raw if line.startswith("[GNUPG:] ")] == [
        "NEWSIG",
        "GOODSIG",
        "VALIDSIG",
        "TRUST_FULLY",
    ]
    shown = repository.git("log", "-1", "--format=%GS|%GT|%GK|%GF", first).split("|")
    assert shown[:2] == [ADA, "fully"]
    assert re.fullmatch("[0-9a-f]{64}", shown[2])
    assert shown[2] == shown[3]
    assert f"signed by {ADA}" in repository.git("log", "-1", "--show-signature", first)
    expect(repository, BOB)
    assert repository.shown(first) == "B"
    for command in (("verify-commit", first), ("verify-tag", "v1")):
        done = repository.try_git(*command)
        assert (done.code, f"expected '{BOB}'" in done.err) == (1, True), done.err
    forget(repository)


def test_a_misspelt_setting_is_not_passed_over(signed: tuple[Repository, str, str]) -> None:
    repository, first, _ = signed
    repository.git("config", "countermark.identiy", ADA)
    assert repository.shown(first) == "E"
    done = repository.try_git("verify-commit", first)
    assert (done.code, "which nobody knows" in done.err) == (1, True)
    repository.git("config", "--unset", "countermark.identiy")


def test_the_command_verifies_commits_tags_and_ranges(
    signed: tuple[Repository, str, str],
) -> None:
    repository, first, second = signed
    named = repository.expect()
    done = repository.countermark("git", "verify", *named)
    who = re.escape(f"{ADA} ({repository.instance.issuer})")
    line = rf"HEAD \({second[:12]}\): verified, commit signed by {who} at .* UTC, root .*\n"
    assert re.fullmatch(line, done.out), done.out
    assert (done.code, done.err) == (OK, "")
    done = repository.countermark("git", "verify", "--json", *named, first, "v2", "v1..v2")
    assert done.code == OK
    results = done.json["results"]
    assert [(item["ref"], item["type"], item["verified"]) for item in results] == [
        (first, "commit", True),
        ("v2", "tag", True),
        (second, "commit", True),
    ]
    assert results[0]["id"] == first
    names = {check["check"] for check in results[0]["checks"]}
    assert names >= {"promise", "certificate", "sct", "inclusion", "entry", "identity"}


def test_the_command_asks_whom_to_expect(signed: tuple[Repository, str, str]) -> None:
    repository, _, _ = signed
    done = repository.countermark("git", "verify")
    assert (done.code, done.out) == (NOT_PROVEN, "")
    said = f"signed by {ADA} ({repository.instance.issuer}), and nobody said who is expected"
    assert said in done.err
    done = repository.countermark("git", "verify", "--identity", ADA)
    assert (done.code, "provider that vouched" in done.err) == (USAGE, True)
    assert repository.countermark("git", "verify", "--unsafe-any-identity").code == OK
    expect(repository, BOB)
    assert repository.countermark("git", "verify").code == NOT_PROVEN
    assert repository.countermark("git", "verify", *repository.expect()).code == OK
    forget(repository)


@pytest.mark.parametrize("option", ["--policy", "--trusted-root"])
def test_what_cannot_be_read_is_said(
    signed: tuple[Repository, str, str], tmp_path: Path, option: str
) -> None:
    repository, first, _ = signed
    done = repository.countermark("git", "verify", option, str(tmp_path), first)
    assert (done.code, f"{tmp_path} cannot be read" in done.err) == (USAGE, True), done.err


def test_a_policy_says_it_for_commits_and_tags(
    signed: tuple[Repository, str, str], tmp_path: Path
) -> None:
    repository, first, _ = signed
    policy = tmp_path / "policy.toml"
    rules = ["version = 1"]
    for files, who in (("git-tag-v1*", ADA), ("git-*", BOB)):
        issuer = repository.instance.issuer
        rules += ["[[artifact]]", f'files = "{files}"', "[[artifact.any]]"]
        rules += [f'identity = "{who}"', f'issuer = "{issuer}"']
    policy.write_text("\n".join(rules))
    done = repository.countermark("git", "verify", "--json", "--policy", str(policy), "v1", first)
    assert [item["verified"] for item in done.json["results"]] == [True, False]
    repository.git("config", "countermark.policy", str(policy))
    assert repository.shown(first) == "B"
    assert repository.try_git("verify-tag", "v1").code == 0
    assert repository.try_git("verify-tag", "v2").code == 1
    both = repository.countermark("git", "verify", "--policy", str(policy), *repository.expect())
    assert both.code == USAGE
    repository.git("config", "--unset", "countermark.policy")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nothing", NO_ARTIFACT),
        ("--all", USAGE),
        ("-v1", USAGE),
        ("HEAD^{tree}", MALFORMED),
        ("a b", USAGE),
        ("HEAD..nothing", USAGE),
        ("HEAD..HEAD", USAGE),
    ],
)
def test_names_of_nothing(signed: tuple[Repository, str, str], name: str, code: int) -> None:
    repository, _, _ = signed
    done = repository.countermark("git", "verify", *repository.expect(), name)
    assert (done.code, done.out) == (code, ""), done.err


def test_unsigned_and_otherwise_signed_objects(repository: Repository) -> None:
    signed = repository.commit("signed")
    repository.git("config", "commit.gpgSign", "false")
    unsigned = repository.commit("not signed")
    done = repository.countermark("git", "verify", *repository.expect(), unsigned, signed)
    assert (done.code, f"{unsigned} is not signed" in done.err) == (NO_SIGNATURE, True)
    assert f"{signed[:12]}" in done.out
    done = repository.countermark("git", "verify", *repository.expect(), f"{signed}..HEAD")
    assert done.code == NO_SIGNATURE


# --- attacks -----------------------------------------------------------------------------------


def judged(repository: Repository, oid: str) -> tuple[int, str, int]:
    """What the command, Git's log and `git verify-commit` say; Ada is expected."""
    expect(repository)
    code = repository.countermark("git", "verify", oid).code
    shown, verified = repository.shown(oid), repository.try_git("verify-commit", oid).code
    forget(repository)
    return code, shown, verified


def parts(repository: Repository, oid: str) -> tuple[str, str, str]:
    """The headers before the signature, its header, and the rest of a commit."""
    content = repository.try_git("cat-file", "commit", oid).out
    before, _, rest = content.partition("gpgsig ")
    header, _, message = rest.partition("\n\n")
    return before, f"gpgsig {header}\n", f"\n{message}"


def test_the_signature_of_another_commit(signed: tuple[Repository, str, str]) -> None:
    repository, first, second = signed
    before, _, message = parts(repository, first)
    _, others, _ = parts(repository, second)
    made = repository.write("commit", before + others + message)
    assert judged(repository, made) == (NOT_PROVEN, "B", 1)


def test_a_changed_message_tree_or_author(signed: tuple[Repository, str, str]) -> None:
    repository, first, _ = signed
    before, signature, message = parts(repository, first)
    for changed in (
        before + signature + message.replace("v1", "v3"),
        before.replace("author Ada", "author Bob") + signature + message,
        before + "encoding latin-1\n" + signature + message,
    ):
        assert judged(repository, repository.write("commit", changed)) == (NOT_PROVEN, "B", 1)


def test_a_second_signature_header(signed: tuple[Repository, str, str]) -> None:
    """Git puts the lines of both together, and takes neither for signed."""
    repository, first, _ = signed
    before, signature, message = parts(repository, first)
    changed = before + signature + "gpgsig and this as well\n" + message
    assert judged(repository, repository.write("commit", changed)) == (MALFORMED, "E", 1)
    twice = before + signature + signature + message
    assert judged(repository, repository.write("commit", twice)) == (MALFORMED, "E", 1)
    hidden = before + signature + "gpgsig-sha256 this is in no signature\n" + message
    oid = repository.write("commit", hidden)
    assert repository.countermark("git", "verify", *repository.expect(), oid).code == MALFORMED


def test_lines_smuggled_into_the_signature(signed: tuple[Repository, str, str]) -> None:
    repository, first, _ = signed
    before, signature, message = parts(repository, first)
    changed = signature + " approved-by: everybody\n"
    made = repository.write("commit", before + changed + message)
    code, shown, verified = judged(repository, made)
    assert (code, shown, verified) == (MALFORMED, "E", 1)


def test_a_tag_under_another_name(signed: tuple[Repository, str, str]) -> None:
    repository, _, _ = signed
    old = repository.git("rev-parse", "refs/tags/v1")
    repository.git("update-ref", "refs/tags/v3", old)
    done = repository.countermark("git", "verify", "--json", *repository.expect(), "v3", old)
    assert done.code == NOT_PROVEN
    by_name, by_id = done.json["results"]
    repository.git("update-ref", f"refs/tags/{old[:8]}", old)
    done = repository.countermark("git", "verify", *repository.expect(), old[:8])
    assert (done.code, "was signed as 'v1'" in done.err) == (NOT_PROVEN, True)
    assert by_name["error"]["message"] == "the tag was signed as 'v1', not as 'v3'"
    assert by_id["verified"]
    for name in ("v3", old[:8]):
        repository.git("update-ref", "-d", f"refs/tags/{name}")


def test_a_replaced_commit(signed: tuple[Repository, str, str]) -> None:
    repository, first, second = signed
    repository.git("replace", second, first)
    done = repository.countermark("git", "verify", *repository.expect(), second)
    assert (done.code, "Git shows another object" in done.err) == (NOT_PROVEN, True)
    repository.git("replace", "--delete", second)
    assert repository.countermark("git", "verify", *repository.expect(), second).code == OK


def test_a_stripped_log_entry(signed: tuple[Repository, str, str]) -> None:
    repository, first, _ = signed
    before, signature, message = parts(repository, first)
    armoured = signature.removeprefix("gpgsig ").replace("\n ", "\n")
    data = base64.b64decode("".join(armoured.splitlines()[1:-1]))
    stripped = without_unsigned(data)
    assert len(stripped) < len(data) - 300
    body = "\n ".join(base64.encodebytes(stripped).decode().splitlines())
    header = f"gpgsig {SIGNED}\n {body}\n -----END SIGNED MESSAGE-----\n"
    made = repository.write("commit", before + header + message)
    assert judged(repository, made) == (NOT_PROVEN, "E", 1)


def without_unsigned(data: bytes) -> bytes:
    """A CMS signature without its unsigned attributes, by what reads it."""
    from countermark.core.cms.git_signature import GitSignature
    from countermark.core.cms.write import signed_data
    from countermark.core.crypto.keys import encode_pem

    read = GitSignature.parse(encode_pem("SIGNED MESSAGE", data).encode())
    taken = read.signed_data
    return signed_data(taken.signed_bytes, taken.signature, read.certificate, ())


def test_a_sha256_repository(instance: Running, tmp_path: Path) -> None:
    repository = Repository.create(instance, tmp_path / "new", object_format="sha256")
    repository.set_up()
    oid = repository.commit("in the new format")
    repository.git("tag", "--sign", "v1", "--message", "release")
    assert len(oid) == 64
    assert judged(repository, oid) == (OK, "G", 0)
    expect(repository)
    assert repository.try_git("verify-tag", "v1").code == 0
    assert repository.countermark("git", "verify", "v1").code == OK


# --- setting up --------------------------------------------------------------------------------


def test_what_set_up_writes_can_be_undone(instance: Running, tmp_path: Path) -> None:
    repository = Repository.create(instance, tmp_path / "repository")
    repository.git("config", "commit.gpgSign", "false")
    before = (repository.path / ".git/config").read_text()
    done = repository.countermark("git", "setup", "--json", "--url", instance.url, *("--cache",))
    assert (done.code, done.json["scope"]) == (0, "local")
    assert repository.git("config", "gpg.x509.program") == str(PROGRAM)
    assert repository.git("config", "commit.gpgSign") == "true"
    again = repository.countermark("git", "setup", "--identity", ADA, "--identity", BOB)
    assert again.code == 0
    assert repository.try_git("config", "countermark.url").code == 1
    assert repository.git("config", "--get-all", "countermark.identity").split() == [ADA, BOB]
    assert repository.countermark("git", "unset").code == 0
    assert (repository.path / ".git/config").read_text().split() == before.split()
    done = repository.countermark("git", "unset", "--json")
    assert (done.code, done.json["removed"]) == (0, [])


def test_another_program_is_replaced_only_if_asked(instance: Running, tmp_path: Path) -> None:
    repository = Repository.create(instance, tmp_path / "repository")
    repository.git("config", "gpg.format", "openpgp")
    done = repository.countermark("git", "setup")
    assert (done.code, "gpg.format is openpgp" in done.err) == (78, True)
    assert repository.countermark("git", "setup", "--replace").code == 0
    assert repository.git("config", "gpg.format") == "x509"
    assert repository.countermark("git", "unset").code == 0
    assert repository.git("config", "gpg.format") == "openpgp"


def test_the_users_own_configuration(instance: Running, tmp_path: Path) -> None:
    repository = Repository.create(instance, tmp_path / "repository", HOME=str(tmp_path))
    done = repository.countermark("git", "setup", "--global", "--no-sign", *repository.expect())
    assert done.code == 0, done.err
    written = (tmp_path / ".gitconfig").read_text()
    assert str(PROGRAM) in written
    assert "gpgSign" not in written
    outside = repository.instance.run_in(
        tmp_path, sys.executable, "-m", "countermark", "git", "setup", HOME=str(tmp_path)
    )
    assert (outside.code, "git repository" in outside.err) == (USAGE, True)


def test_signing_without_anybody_to_ask(instance: Running, tmp_path: Path) -> None:
    repository = Repository.create(instance, tmp_path / "repository")
    done = repository.countermark("git", "setup", "--trust-config", str(instance.trust_config))
    assert done.code == 0
    failed = repository.run(str(PROGRAM), "--status-fd=2", "-bsau", "Ada", stdin="tree x\n")
    assert (failed.code, failed.out) == (USAGE, "")
    assert failed.err.startswith("[GNUPG:] BEGIN_SIGNING\ncountermark: nobody is logged in")
    assert repository.try_git("commit", "--allow-empty", "--message", "x").code != 0
    done = repository.countermark("git", "sign", COUNTERMARK_IDENTITY_TOKEN="x.y.z")
    assert (done.code, done.out) == (USAGE, "")


def test_the_plumbing_signs_what_it_reads(repository: Repository) -> None:
    payload = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nx\n"
    command = (sys.executable, "-m", "countermark", "git", "sign")
    done = repository.run(*command, stdin=payload)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{SIGNED}\n")
    told = repository.run(*command, "--json", stdin=payload).json
    assert (told["identity"], told["signature"][:30]) == (ADA, SIGNED)


# --- the credential cache ----------------------------------------------------------------------


def certificates(repository: Repository) -> list[str]:
    """The fingerprints of the signers of a history, newest first."""
    return repository.git("log", "--format=%GF").split()


def test_one_login_is_enough_for_a_rebase(instance: Running, tmp_path: Path) -> None:
    repository = Repository.create(instance, tmp_path / "repository")
    for number in range(COMMITS):
        repository.commit(f"change {number}")
    repository.set_up("--cache")
    try:
        repository.git("rebase", "--quiet", "--root", "--force-rebase")
        status = repository.countermark("git", "cache", "status", "--json").json
        repository.git("config", "countermark.email", BOB)
        repository.commit("as Bob")
        repository.git("config", "countermark.cache", "false")
        repository.commit("without the cache")
    finally:
        stopped = repository.countermark("git", "cache", "stop", "--json")
    assert stopped.json == {"running": False}
    (held,) = status["held"]
    assert (held["identity"], held["issuer"]) == (ADA, instance.issuer)
    # One signature more for each certificate: the proof that we have the key.
    assert held["signatures"] == COMMITS + 1
    alone, bobs, *rebased = certificates(repository)
    assert len(rebased) == COMMITS
    assert len(set(rebased)) == 1
    assert len({alone, bobs, rebased[0]}) == 3
    commits = repository.git("rev-list", "--skip=2", "HEAD").split()
    done = repository.countermark("git", "verify", "--json", *repository.expect(), *commits)
    assert (done.code, len(done.json["results"])) == (OK, COMMITS)


# --- a person at a terminal ---------------------------------------------------------------------


def approve(instance: Running, said: str) -> None:
    """Do in a browser what the terminal asks for."""
    address = re.search(rf"{re.escape(instance.issuer)}/device\?user_code=([A-Z-]+)", said)
    assert address is not None, said
    form = urlencode({"user_code": address[1], "email": ADA}).encode()
    with urlopen(Request(f"{instance.issuer}/device", form, {"Origin": instance.url})) as page:
        assert page.status == 200


def read_until(terminal: int, words: str) -> str:
    said, deadline = "", time.monotonic() + TIMEOUT_S
    while words not in said and time.monotonic() < deadline:
        said += os.read(terminal, 4096).decode()
    return said


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_code_is_shown_at_the_terminal(instance: Running, tmp_path: Path) -> None:
    repository = Repository.create(instance, tmp_path / "repository")
    done = repository.countermark("git", "setup", "--trust-config", str(instance.trust_config))
    assert done.code == 0, done.err
    leader, follower = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(follower, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [PROGRAM, "--status-fd=2", "-bsau", "Ada"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=repository.path,
        env=instance.environment(),
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nx\n")
        process.stdin.close()
        process.stdin = None
        approve(instance, read_until(leader, "shows this code"))
        out, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
        os.close(follower)
        os.close(leader)
    assert process.returncode == 0, err
    assert out.startswith(b"-----BEGIN SIGNED MESSAGE-----\n")
    assert [line.split()[1] for line in err.splitlines()] == [b"BEGIN_SIGNING", b"SIG_CREATED"]

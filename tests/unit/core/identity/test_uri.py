# SPDX-License-Identifier: Apache-2.0
"""URIs as Go prints them. The expected values were printed by Go's `net/url`."""

import pytest

from countermark.core.errors import RequestRejected
from countermark.core.identity.uri import ia5, printed_uri

ORIGIN = "https://github.com"


@pytest.mark.parametrize(
    ("rest", "printed"),
    [
        ("/o/r/.github/workflows/x.yml@refs/heads/main", None),
        ("/o/r/x.yml@refs/tags/v1.0+build;a=1,b:c$&~_-!'()*", None),
        ("/o/r/x.yml@refs/heads/[x]", None),
        ("/o/r@refs/heads/a b", "/o/r@refs/heads/a%20b"),
        ("/o/r@refs/heads/ä", "/o/r@refs/heads/%C3%A4"),
        ("/o/r@refs/heads/ä%20b", "/o/r@refs/heads/%C3%A4%20b"),
        ("/o/r@refs/heads/%2Fx", None),
        ("/o/r@refs/heads/%2fx", None),
        ('/o/r@refs/heads/"<>^`{|}\\', "/o/r@refs/heads/%22%3C%3E%5E%60%7B%7C%7D%5C"),
        ("/o/r@refs/heads/issue#12", None),
        ("/o/r@refs/heads/issue#1 2", "/o/r@refs/heads/issue#1%202"),
        ("/o/r@refs/heads/issue#a#b", "/o/r@refs/heads/issue#a%23b"),
        ("/o/r@refs/heads/issue#", "/o/r@refs/heads/issue"),
        ("/o/r@refs/heads/what?", None),
        ("/o/r@refs/heads/what?now=a b", None),
        ("/o/r@refs/heads/what??", None),
        ("", None),
    ],
)
def test_as_go_prints_it(rest: str, printed: str | None) -> None:
    assert printed_uri(ORIGIN, rest) == ORIGIN + (rest if printed is None else printed)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("/a%", 'parse "https://github.com/a%": invalid URL escape "%"'),
        ("/a%zz", 'parse "https://github.com/a%zz": invalid URL escape "%zz"'),
        ("/a%2", 'parse "https://github.com/a%2": invalid URL escape "%2"'),
        (
            "/a\x00",
            'parse "https://github.com/a\\x00": net/url: invalid control character in URL',
        ),
        (
            "/a\n",
            'parse "https://github.com/a\\n": net/url: invalid control character in URL',
        ),
        ("/a#%", 'parse "https://github.com/a#%": invalid URL escape "%"'),
        (
            "/a?b=ä",
            'x509: "https://github.com/a?b=ä" cannot be encoded as an IA5String',
        ),
    ],
)
def test_refused_in_gos_words(rest: str, message: str) -> None:
    with pytest.raises(RequestRejected) as caught:
        printed_uri(ORIGIN, rest)
    assert str(caught.value) == message


def test_ia5() -> None:
    assert ia5("plain") == "plain"
    with pytest.raises(RequestRejected):
        ia5("\u00e4")

# SPDX-License-Identifier: Apache-2.0
"""URIs of RFC 7512, its own examples among them."""

import pytest

from countermark.client.keys.pkcs11_uri import KeyURI
from countermark.core.errors import FormatError, RequestRejected


def test_what_the_rfc_shows_is_read() -> None:
    uri = KeyURI.parse(
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;"
        "model=1.0;object=my-certificate;type=private;id=%69%95%3E%5C%F4%BD%EC%91;serial="
        "?pin-source=file:/etc/token_pin"
    )
    assert uri == KeyURI(
        token="The Software PKCS#11 Softtoken",
        manufacturer="Snake Oil, Inc.",
        model="1.0",
        serial="",
        label="my-certificate",
        key_id=bytes.fromhex("69953e5cf4bdec91"),
        pin_file="/etc/token_pin",
    )
    assert KeyURI.parse("pkcs11:") == KeyURI()
    assert KeyURI.parse(
        "pkcs11:slot-id=327;id=%00?module-path=/lib/p11.so&pin-value=12%203"
    ) == KeyURI(slot_id=327, key_id=b"\x00", module_path="/lib/p11.so", pin="12 3")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pkcs12:",
        "pkcs11:token",
        "pkcs11:token=a;;object=b",
        "pkcs11:token=%zz",
        "pkcs11:token=%ff",
        "pkcs11:token=a%00b",
        "pkcs11:slot-id=01",
        "pkcs11:slot-id=-1",
        "pkcs11:slot-id=99999999999999999999",
        "pkcs11:object=a b",
        "pkcs11:TOKEN=a",
        "pkcs11:id=%01;id=%02",
        "pkcs11:" + "object=" + "a" * 5000,
    ],
)
def test_what_is_no_such_uri_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        KeyURI.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:type=cert",
        "pkcs11:library-manufacturer=a",
        "pkcs11:x-vendor=a",
        "pkcs11:?module-name=p11",
        "pkcs11:?pin-source=|cat%20/etc/pin",
        "pkcs11:pin-value=1",
        "pkcs11:?object=a",
    ],
)
def test_what_we_do_not_compare_or_do_is_refused(text: str) -> None:
    with pytest.raises(RequestRejected):
        KeyURI.parse(text)


def test_neither_pin_nor_library_is_shown() -> None:
    uri = KeyURI.parse("pkcs11:token=a?pin-value=1234&module-path=/lib/p11.so")
    assert (str(uri), repr(uri)) == ("pkcs11:token=a", "KeyURI(pkcs11:token=a)")

# SPDX-License-Identifier: Apache-2.0
"""Finding a PKCS#11 token and logging in to it, through python-pkcs11; its errors as ours."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from countermark.client.keys.asking import Asking
from countermark.client.keys.pkcs11_uri import KeyURI
from countermark.client.transport import printable
from countermark.core.errors import (
    AlgorithmRefused,
    NotFound,
    RequestRejected,
    SettingsError,
    UpstreamDown,
)

if TYPE_CHECKING:
    import pkcs11
    from pkcs11._pkcs11 import lib as Library  # noqa: N812

MODULE_VARIABLES: Final = ("COUNTERMARK_PKCS11_MODULE", "COSIGN_PKCS11_MODULE_PATH")
PIN_VARIABLES: Final = ("COUNTERMARK_PKCS11_PIN", "COSIGN_PKCS11_PIN")
_MAX_PIN_BYTES: Final = 1024


def check_installed() -> None:
    """Raises SettingsError without python-pkcs11."""
    try:
        import pkcs11  # noqa: F401
    except ImportError as error:
        missing = SettingsError("keys in tokens need python-pkcs11, which is not installed")
        missing.add_note("pip install 'countermark[hsm]'")
        raise missing from error


def find_tokens(uri: KeyURI, environ: Mapping[str, str] = os.environ) -> "list[pkcs11.Token]":
    """Every token that fits a URI. Raises NotFound if none does."""
    check_installed()
    library = _load(library_path(uri, environ))
    from pkcs11 import TokenFlag

    found = []
    with token_errors():
        for slot in library.get_slots(token_present=True):
            token = slot.get_token()
            if not token.flags & TokenFlag.TOKEN_INITIALIZED:
                continue  # SoftHSM shows one more, that is still empty
            said = (uri.slot_id, uri.token, uri.manufacturer, uri.model, uri.serial)
            serial = token.serial.decode("utf-8", "replace").rstrip(" \x00")
            have = (slot.slot_id, token.label, token.manufacturer_id, token.model, serial)
            if all(want in (None, has) for want, has in zip(said, have, strict=True)):
                found.append(token)
    if not found:
        error = NotFound(f"no token fits {uri}")
        error.add_note("`countermark key list` shows those that the library sees")
        raise error
    return found


def find_token(uri: KeyURI, environ: Mapping[str, str] = os.environ) -> "pkcs11.Token":
    """The one token that fits a URI. Raises NotFound, RequestRejected if there are several."""
    found = find_tokens(uri, environ)
    if len(found) > 1:
        names = ", ".join(repr(token.label) for token in found)
        error = RequestRejected(f"several tokens fit {uri}: {printable(names)}")
        error.add_note("say which with token=… or serial=…")
        raise error
    return found[0]


def log_in(
    token: "pkcs11.Token",
    uri: KeyURI,
    asking: Asking,
    environ: Mapping[str, str],
    *,
    write: bool = False,
) -> "tuple[pkcs11.Session, str | None]":
    """A session in which the token's user is logged in, and the PIN if there was one.

    Raises SettingsError for a wrong or locked PIN; one that is known to be locked is not tried.
    """
    import pkcs11
    from pkcs11 import TokenFlag

    flags = token.flags
    name = f"the token {printable(token.label, 40)!r}"
    if flags & TokenFlag.USER_PIN_LOCKED:
        raise _locked(name)
    if flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH:
        return _open(token, name, pkcs11.PROTECTED_AUTH, write=write), None
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        asking.notice(f"{name} locks itself if the PIN is wrong once more")
    pin = _pin(uri, lambda: asking.pin(name), environ)
    return _open(token, name, pin, write=write), pin


def _open(token: "pkcs11.Token", name: str, pin: object, *, write: bool) -> "pkcs11.Session":
    import pkcs11
    from pkcs11 import exceptions

    try:
        with token_errors():
            try:
                return token.open(rw=write, user_pin=pin)
            except exceptions.UserAlreadyLoggedIn:  # a login holds for the whole process
                return token.open(rw=write)
            except (exceptions.PinIncorrect, exceptions.PinInvalid, exceptions.PinLenRange) as bad:
                wrong = SettingsError(f"the PIN of {name} is wrong")
                wrong.add_note("a token locks itself after a few wrong PINs")
                raise wrong from bad
            except exceptions.PinLocked as error:
                raise _locked(name) from error
    except pkcs11.exceptions.PKCS11Error as error:  # what `token_errors` let through
        raise UpstreamDown(f"{name} failed: {type(error).__name__}") from error


def _locked(name: str) -> SettingsError:
    error = SettingsError(f"the PIN of {name} is locked")
    error.add_note("the token's security officer can set a new one")
    return error


def _pin(uri: KeyURI, ask: Callable[[], str], environ: Mapping[str, str]) -> str:
    if uri.pin is not None:
        return uri.pin
    if uri.pin_file is not None:
        try:
            with open(uri.pin_file, "rb") as file:
                return file.readline(_MAX_PIN_BYTES).rstrip(b"\r\n").decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError("the file of pin-source cannot be read") from error
    for variable in PIN_VARIABLES:
        if environ.get(variable):
            return environ[variable]
    return ask()


def library_path(uri: KeyURI, environ: Mapping[str, str] = os.environ) -> str:
    """Which library speaks to a token. Raises SettingsError if nothing says."""
    variables = (environ[name] for name in MODULE_VARIABLES if environ.get(name))
    path = uri.module_path or next(variables, "")
    if not path:
        error = SettingsError("nothing says which library speaks to the token")
        error.add_note(f"set {MODULE_VARIABLES[0]}, or add ?module-path=… to the URI")
        raise error
    if not os.path.isabs(path):  # one of that name in the working directory could be anybody's
        raise SettingsError(f"the library {path[:200]} is not given by its whole path")
    return path


@lru_cache(maxsize=8)
def _load(path: str) -> "Library":
    import pkcs11

    try:
        return pkcs11.lib(path)
    except (pkcs11.exceptions.PKCS11Error, OSError) as error:
        raise SettingsError(f"{path} is no PKCS#11 library that can be loaded") from error


@contextmanager
def token_errors() -> Iterator[None]:
    """python-pkcs11's errors as ours."""
    from pkcs11 import exceptions

    refused = (
        exceptions.MechanismInvalid,
        exceptions.MechanismParamInvalid,
        exceptions.FunctionNotSupported,
        exceptions.KeyTypeInconsistent,
        exceptions.DomainParamsInvalid,
        exceptions.KeySizeRange,
    )
    ours = (
        exceptions.UserAlreadyLoggedIn,
        exceptions.PinIncorrect,
        exceptions.PinInvalid,
        exceptions.PinLenRange,
        exceptions.PinLocked,
    )
    try:
        yield
    except ours:
        raise
    except refused as error:
        raise AlgorithmRefused(f"the token cannot do that: {type(error).__name__}") from error
    except exceptions.TokenWriteProtected as error:
        raise RequestRejected("the token is write-protected") from error
    except exceptions.PKCS11Error as error:
        raise UpstreamDown(f"the token failed: {type(error).__name__}") from error

# SPDX-License-Identifier: Apache-2.0
"""`countermark login`: say who you are once, or get a token for a script. Keeps no token."""

import click

from countermark.cli.options import (
    choice_from,
    device_option,
    instance_options,
    json_option,
    no_browser_option,
    prompts,
)
from countermark.cli.output import Output
from countermark.client.choice import Instance, choose_instance
from countermark.client.identity import (
    IdentityToken,
    browser_token,
    has_local_login,
    local_token,
)
from countermark.client.logins import forget_email, save_email
from countermark.client.transport import Transport
from countermark.core.errors import CountermarkError, RequestRejected, TokenRejected


@click.command()
@click.option("--email", metavar="ADDRESS", default="", help="Be ADDRESS; own instance only.")
@click.option("--print-token", is_flag=True, help="Print an identity token; remember nothing.")
@click.option("--forget", is_flag=True, help="Forget who you are.")
@no_browser_option
@device_option
@instance_options
@json_option
def login(
    email: str,
    print_token: bool,
    forget: bool,
    no_browser: bool,
    device: bool,
    as_json: bool,
    **instance: str,
) -> int:
    """Say who you are, for `countermark sign`.

    An instance of your own believes any e-mail address, which is remembered: it is a development
    issuer. Elsewhere you log in with a browser each time you sign, and `countermark sign` opens it;
    --print-token gets a token for a script that way. Identity tokens are never kept.
    """
    output = Output(as_json=as_json)
    try:
        if device and email:
            raise RequestRejected("who you are is said in more than one way: --device asks you")
        chosen = choose_instance(choice_from(instance))
        if forget:
            return _forget(chosen, output)
        if not (print_token or has_local_login(chosen)):
            raise _not_kept()
        token = IdentityToken.parse(_token(chosen, email, no_browser=no_browser, device=device))
        if not print_token:
            save_email(chosen.name, token.subject)
    except CountermarkError as error:
        return output.fail(error)
    _show(output, chosen, token, print_token=print_token)
    return 0


def _not_kept() -> RequestRejected:
    error = RequestRejected(
        "identity tokens are not kept: `countermark sign` opens the browser itself"
    )
    error.add_note("add --print-token to get one for a script")
    return error


def _token(chosen: Instance, email: str, *, no_browser: bool, device: bool) -> str:
    transport = Transport()
    if email:
        return local_token(chosen, transport, email)
    asking = prompts(no_browser=no_browser, device=device)
    if asking is None:
        error = TokenRejected("there is no terminal to log in at")
        if has_local_login(chosen):
            error.add_note("name an address with --email YOU@EXAMPLE.ORG")
        raise error
    return browser_token(chosen, transport, asking)


def _forget(chosen: Instance, output: Output) -> int:
    known = forget_email(chosen.name)
    output.result({"instance": chosen.name, "forgotten": known})
    output.line(f"nobody is logged in at {chosen.name}" + ("" if known else ", nor was before"))
    return 0


def _show(output: Output, chosen: Instance, token: IdentityToken, *, print_token: bool) -> None:
    result = {"instance": chosen.name, "identity": token.subject, "issuer": token.issuer}
    if print_token:
        output.result({**result, "token": token.text})
        output.line(token.text)
        return
    output.result(result)
    output.line(f"you are {output.strong(token.subject)} at {chosen.name}")
    output.advice("now try: countermark sign FILE")

# SPDX-License-Identifier: Apache-2.0
"""`countermark login`: say who you are once, or get a token for a script."""

import click

from countermark.cli.options import (
    choice_from,
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
from countermark.client.logins import Login, forget_login, save_login
from countermark.client.transport import Transport
from countermark.core.errors import CountermarkError, TokenRejected


@click.command()
@click.option("--email", metavar="ADDRESS", default="", help="Be ADDRESS; own instance only.")
@click.option("--print-token", is_flag=True, help="Print an identity token; remember nothing.")
@click.option("--forget", is_flag=True, help="Forget who you are.")
@no_browser_option
@instance_options
@json_option
def login(
    email: str,
    print_token: bool,
    forget: bool,
    no_browser: bool,
    as_json: bool,
    **instance: str,
) -> int:
    """Say who you are, for `countermark sign`.

    An instance of your own believes any e-mail address: it is a development issuer. Of any other
    a short-lived identity token is had with a browser, and kept in a file that only you can read.
    """
    output = Output(as_json=as_json)
    try:
        chosen = choose_instance(choice_from(instance))
        if forget:
            return _forget(chosen, output)
        token = IdentityToken.parse(_token(chosen, email, no_browser=no_browser))
        if not print_token:
            local = has_local_login(chosen)
            save_login(chosen.name, Login(token.subject) if local else Login(token=token.text))
    except CountermarkError as error:
        return output.fail(error)
    _show(output, chosen, token, print_token=print_token)
    return 0


def _token(chosen: Instance, email: str, *, no_browser: bool) -> str:
    transport = Transport()
    if email:
        return local_token(chosen, transport, email)
    asking = prompts(no_browser=no_browser)
    if asking is None:
        error = TokenRejected("there is no terminal to log in at")
        if has_local_login(chosen):
            error.add_note("name an address with --email YOU@EXAMPLE.ORG")
        raise error
    return browser_token(chosen, transport, asking)


def _forget(chosen: Instance, output: Output) -> int:
    known = forget_login(chosen.name)
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

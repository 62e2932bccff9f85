"""``assistant users``: accounts and passwords."""

from __future__ import annotations

from typing import Annotated

import typer

from assistant import show
from assistant.commands.console import err, out, settings

app = typer.Typer(no_args_is_help=True, help="Create accounts and change passwords.")


@app.command("add")
def users_add(
    name: str,
    role: Annotated[str, typer.Option(help="user, reviewer or admin")] = "user",
    password: Annotated[str, typer.Option(prompt=True, confirmation_prompt=True, hide_input=True)] = "",
) -> None:
    """Create an account. The password is asked for."""
    with show.accounts(settings()) as users:
        out.print(f"{users.add(name, password, show.role(role)).name} was created as {role}.")


@app.command("role")
def users_role(name: str, role: Annotated[str, typer.Argument(help="user, reviewer or admin")]) -> None:
    """Give an account another role."""
    with show.accounts(settings()) as users:
        users.set_role(name, show.role(role))
        out.print(f"{name} is {role} now.")


@app.command("remove")
def users_remove(
    name: str, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.", prompt="Delete all their conversations?")]
) -> None:
    """Delete an account with its conversations and tokens, and end its sessions. Decisions stay."""
    if yes:
        with show.accounts(settings()) as users:
            users.remove(name)
            out.print(f"{name} was removed. Open sessions end, and their tokens were deleted.")


@app.command("list")
def users_list() -> None:
    """Show who may sign in."""
    with show.accounts(settings()) as users:
        for user in users.list():
            out.print("  ".join([user.name, user.role, *sorted(user.groups)]))


@app.command("groups")
def users_groups(
    name: str,
    groups: Annotated[list[str] | None, typer.Argument(help="All their groups; none takes them away.")] = None,
) -> None:
    """Say whose documents somebody may read, beside those of everybody."""
    with show.accounts(settings()) as users:
        users.set_groups(name, groups or [])
        out.print(f"{name} reads the documents of {', '.join(sorted(groups or [])) or 'everybody only'}.")


@app.command("password")
def users_password(
    name: str,
    password: Annotated[str, typer.Option(prompt=True, confirmation_prompt=True, hide_input=True)] = "",
) -> None:
    """Set a new password, for yourself or for somebody who forgot theirs. Sessions and tokens end with the old one."""
    with show.accounts(settings()) as users:
        users.set_password(name, password)
        out.print(f"The password of {name} was changed. Open sessions end, and their tokens were deleted.")


@app.command("token")
def users_token(
    name: str, purpose: Annotated[str, typer.Option("--for", help="What will use it, to know it again.")]
) -> None:
    """Give a program a token for the HTTP API: it asks as this user. Shown once, on standard output."""
    with show.api_tokens(settings()) as tokens:
        secret = tokens.create(name, purpose)
    err.print(f"A token of {name} for {purpose}; it is shown this once:")
    out.print(secret, soft_wrap=True)


@app.command("tokens")
def users_tokens() -> None:
    """Show all tokens, whose they are, and when they were last used."""
    with show.api_tokens(settings()) as tokens:
        for one in tokens.list():
            used = f"last used {one.used:%Y-%m-%d %H:%M}" if one.used else "never used"
            out.print(f"{one.id}  {one.user}  {one.purpose}  created {one.created:%Y-%m-%d}, {used}")


@app.command("revoke")
def users_revoke(number: int) -> None:
    """Make a token worthless, at once and in a running server."""
    with show.api_tokens(settings()) as tokens:
        tokens.revoke(number)
        out.print(f"Token {number} was revoked.")

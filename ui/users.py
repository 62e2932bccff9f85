"""The Users tab, for admins, and the Account tab with which everybody changes their own password."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui import panels
from ui.access import admin, caller, toast
from ui.chat import clicked
from ui.signin import COOKIE, Sessions

if TYPE_CHECKING:
    from assistant.app import App

Update = dict[Any, Any]
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


class Users:
    """The admins' tab."""

    def __init__(self, app: App, sessions: Sessions) -> None:
        self.app, self.sessions = app, sessions
        with gr.Row(elem_id="users"):
            with gr.Column(min_width=280):
                gr.HTML("<h2>Users</h2>", apply_default_css=False)
                self.table = gr.HTML(elem_id="user-table", apply_default_css=False)
            with gr.Column(min_width=280):
                gr.HTML("<h2>Add or reset</h2>", apply_default_css=False)
                self.name = gr.Textbox(label="Name", elem_id="user-name", max_length=64)
                self.password = gr.Textbox(label="Password", type="password", elem_id="user-password")
                self.role = gr.Dropdown(["user", "reviewer", "admin"], value="user", label="Role", elem_id="user-role")
                with gr.Row():
                    self.add = gr.Button("Add user", variant="primary", elem_id="user-add", min_width=0)
                    self.reset = gr.Button("Reset password", elem_id="user-reset", min_width=0)
        self.loads: list[Any] = [self.table]
        fields = [self.name, self.password]
        self.add.click(self.on_add, [*fields, self.role], [self.table, *fields], **_QUIET)
        self.reset.click(self.on_reset, fields, [self.table, *fields], **_QUIET)

    def loaded(self, request: gr.Request) -> Update:
        """A page was opened: only an admin's page gets the list."""
        return self._table() if caller(self.app, request).role == "admin" else {}

    def on_add(self, name: str, password: str, role: str, request: gr.Request) -> Update:
        """Add user was clicked."""
        admin(self.app, request)
        try:
            self.app.users.add(name.strip(), password, role)  # type: ignore[arg-type]  # it refuses any other role
        except Exception as error:
            raise toast(error) from error
        return {**self._table(), self.name: "", self.password: ""}

    def on_reset(self, name: str, password: str, request: gr.Request) -> Update:
        """Reset password was clicked: the new one holds, and sessions and tokens of that user end."""
        admin(self.app, request)
        try:
            self.app.users.set_password(name.strip(), password)
        except Exception as error:
            raise toast(error) from error
        self.sessions.end_all(name.strip(), keep=request.cookies.get(COOKIE))
        gr.Info("The password was changed. Open sessions and tokens of that user have ended.")
        return {self.name: "", self.password: ""}

    def _table(self) -> Update:
        return {self.table: panels.users(self.app.users.list())}


class Account:
    """Everybody's own password, and the tokens with which programs ask on their behalf."""

    def __init__(self, app: App, sessions: Sessions) -> None:
        self.app, self.sessions = app, sessions
        with gr.Row(elem_id="account"):
            with gr.Column(min_width=280):
                self._build_password()
            with gr.Column(min_width=280):
                self._build_tokens()
        self.loads: list[Any] = [self.tokens]
        fields = [self.old, self.new, self.again]
        self.change.click(self.on_change, fields, [*fields, self.made, self.tokens], **_QUIET)
        self.make.click(self.on_make, [self.purpose], [self.purpose, self.made, self.tokens], **_QUIET)
        self.tokens.act(self.on_revoke, None, [self.made, self.tokens], **_QUIET)

    def _build_password(self) -> None:
        gr.HTML(
            "<h2>Your password</h2><p>Changing it signs you out everywhere else and revokes your tokens.</p>",
            apply_default_css=False,
        )
        self.old = gr.Textbox(label="Current password", type="password", elem_id="password-old")
        self.new = gr.Textbox(label="New password", type="password", elem_id="password-new")
        self.again = gr.Textbox(label="New password again", type="password", elem_id="password-again")
        self.change = gr.Button("Change password", variant="primary", elem_id="password-change")

    def _build_tokens(self) -> None:
        script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
        about = (
            "<h2>Tokens for programs</h2><p>A program that sends one over the HTTP API asks as you, and may do and see "
            "what you may.</p>"
        )
        gr.HTML(about, apply_default_css=False)
        self.purpose = gr.Textbox(label="What will use it", elem_id="token-purpose", max_length=100)
        self.make = gr.Button("Make a token", elem_id="token-make")
        self.made = gr.HTML(elem_id="token-made", apply_default_css=False)
        self.tokens = gr.HTML(elem_id="tokens", js_on_load=script, apply_default_css=False)

    def loaded(self, request: gr.Request) -> Update:
        """A page was opened."""
        return {self.tokens: panels.tokens(self.app.tokens.list(caller(self.app, request).name))}

    def on_make(self, purpose: str, request: gr.Request) -> Update:
        """Make a token was clicked."""
        user = caller(self.app, request)
        try:
            token = self.app.tokens.create(user.name, purpose)
        except Exception as error:
            raise toast(error) from error
        return {self.purpose: "", self.made: panels.token(token), **self.loaded(request)}

    def on_revoke(self, event: gr.EventData, request: gr.Request) -> Update:
        """Revoke was clicked."""
        user = caller(self.app, request)
        act, number, _ = clicked(event)
        try:
            if act == "revoke" and number.isdigit():
                self.app.tokens.revoke(int(number), user.name)
        except Exception as error:
            raise toast(error) from error
        return {self.made: "", **self.loaded(request)}

    def on_change(self, old: str, new: str, again: str, request: gr.Request) -> Update:
        """Change password was clicked."""
        user = caller(self.app, request)
        if self.app.users.check(user.name, old) is None:
            raise gr.Error("The current password is wrong.", print_exception=False)
        if new != again:
            raise gr.Error("The two new passwords differ.", print_exception=False)
        try:
            self.app.users.set_password(user.name, new)
        except Exception as error:
            raise toast(error) from error
        self.sessions.end_all(user.name, keep=request.cookies.get(COOKIE))
        gr.Info("Your password was changed.")
        return {self.old: "", self.new: "", self.again: "", self.made: "", **self.loaded(request)}

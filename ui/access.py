"""Who is calling, what they may do, and which errors they get to read. Asked on every event; hiding is not enough."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import gradio as gr

from ui.render import esc

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.users import User

log = logging.getLogger(__name__)

_OURS = frozenset({"assistant", "domains", "retrieval", "adapters", "ui"})
GENERIC = "Something went wrong on our side, and it was logged. Please try again."


def caller(app: App, request: gr.Request) -> User:
    """The signed-in user behind an event. The name comes from the session, never from the page."""
    user = app.users.get(request.username or "")
    if user is None:
        raise gr.Error("You are signed out. Reload the page and sign in again.", print_exception=False)
    return user


def reviewer(app: App, request: gr.Request) -> User:
    """The caller, who has to be a reviewer or an admin."""
    return _require(caller(app, request), ("reviewer", "admin"), "Only reviewers can do this.")


def admin(app: App, request: gr.Request) -> User:
    """The caller, who has to be an admin."""
    return _require(caller(app, request), ("admin",), "Only admins can do this.")


def _require(user: User, roles: tuple[str, ...], sentence: str) -> User:
    if user.role not in roles:
        log.warning("user %r with role %r was refused: %s", user.name, user.role, sentence)
        raise gr.Error(sentence, print_exception=False)
    return user


def explain(error: Exception) -> str:
    """The sentence a user reads. Our own errors are written for people; any other may hold internals."""
    if type(error).__module__.partition(".")[0] in _OURS:
        return str(error)
    log.error("unexpected error in the page", exc_info=error)
    return GENERIC


def toast(error: Exception) -> gr.Error:
    """The error as a pop-up. Gradio renders its text as HTML, so it is escaped."""
    return gr.Error(esc(explain(error)), print_exception=False)

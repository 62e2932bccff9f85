"""The Domains tab: what is live, what was refused and why. Everybody sees it; only admins act, checked each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui import panels
from ui.access import admin, caller, toast
from ui.chat import clicked
from ui.render import esc

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.users import User

POLL = 10.0  # seconds
BIGGEST = 50 * 1024 * 1024  # bytes of an uploaded zip
Update = dict[Any, Any]


class Packs:
    """The tab's components and handlers."""

    def __init__(self, app: App) -> None:
        self.app = app
        script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
        with gr.Column(elem_id="domains"):
            gr.HTML("<h2>Domains</h2><p>What this assistant knows about, and who speaks.</p>", apply_default_css=False)
            self.cards = gr.HTML(elem_id="packs", js_on_load=script, apply_default_css=False)
            with gr.Accordion("Add a domain", open=False, visible=False, elem_id="add-domain") as self.form:
                self._build_form()
        self.timer = gr.Timer(POLL)
        self.loads: list[Any] = [self.cards, self.form]
        self._wire()

    def _build_form(self) -> None:
        self.path = gr.Textbox(label="Folder on the server", elem_id="pack-path", placeholder="/srv/packs/travel")
        self.upload = gr.File(label="Or a .zip of at most 50 MB", file_types=[".zip"], elem_id="pack-zip", height=120)
        self.trust = gr.Checkbox(
            label="I have read its code and trust it", elem_id="pack-trust",
            info="Only packs with a hooks.py need this. Packs without one are data.",
        )  # fmt: skip
        self.add = gr.Button("Check and add", variant="primary", elem_id="pack-add")

    def _wire(self) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.cards.act(self.act, None, [self.cards], **quiet)
        busy: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}
        parts = [self.cards, self.path, self.upload, self.trust]
        self.add.click(self.on_add, [self.path, self.upload, self.trust], parts, **busy)
        self.timer.tick(self.poll, None, [self.cards], queue=False, **quiet)

    def loaded(self, request: gr.Request) -> Update:
        """A page was opened."""
        user = caller(self.app, request)
        return {self.cards: self._cards(user), self.form: gr.update(visible=user.role == "admin")}

    def poll(self, request: gr.Request) -> str:
        """Another admin may have changed something; the page redraws only what differs."""
        return self._cards(caller(self.app, request))

    def act(self, event: gr.EventData, request: gr.Request) -> str:
        """A card's button was clicked."""
        user = admin(self.app, request)
        act, name, _ = clicked(event)
        actions: dict[str, Callable[[str], object]] = {
            "reload": self.app.packs.reload,
            "enable": self.app.packs.enable,
            "disable": self.app.packs.disable,
            "remove": self.app.packs.remove,
        }
        if act not in actions:
            return self._cards(user)
        try:
            actions[act](name)
        except Exception as error:
            raise toast(error) from error
        return self._cards(user)

    def on_add(self, path: str, upload: str | None, trust: bool, request: gr.Request) -> Update:
        """Check and add was clicked."""
        user = admin(self.app, request)
        try:
            chosen = _chosen(path.strip(), upload)
            pack = self.app.packs.add(chosen, trust_code=bool(trust))
        except Exception as error:
            raise toast(error) from error
        finally:
            if upload:
                Path(upload).unlink(missing_ok=True)  # Gradio's copy
        gr.Info(f"{esc(pack.domain.manifest.title)} is live.")
        return {self.cards: self._cards(user), self.path: "", self.upload: None, self.trust: False}

    def _cards(self, user: User) -> str:
        live = self.app.packs.live()
        exams = {pack.domain.name: found for pack in live if (found := self.app.exams.result(pack))}
        return panels.packs(live, self.app.packs.problems(), exams, admin=user.role == "admin")


class UploadError(Exception):
    """Nothing to add, or not a zip that is taken."""


def _chosen(path: str, upload: str | None) -> Path:
    if upload:
        file = Path(upload)
        if file.suffix.lower() != ".zip" or file.stat().st_size > BIGGEST:
            raise UploadError("Only a .zip of at most 50 MB is taken.")
        return file
    if not path:
        raise UploadError("Name a folder on the server, or choose a .zip.")
    return Path(path)

"""The Label tab: from raw texts to a pack's examples with few answers. For reviewers and admins, on every event."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant import annotation
from assistant.annotation import Annotation
from ui import proposals
from ui.access import reviewer, toast
from ui.chat import clicked

if TYPE_CHECKING:
    from assistant.app import App

KINDS = [".csv", ".tsv", ".xlsx", ".jsonl", ".json"]
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_BUSY: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}


class Label:
    """The tab's components and handlers."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.state = gr.State(None)  # of this page; nothing of the texts is stored
        with gr.Column(elem_id="label"):
            gr.HTML(
                "<h2>Label</h2><p>Upload raw texts, name a few groups, answer a few questions, and download the "
                "examples of a domain pack. A column <code>text</code> is needed, <code>label</code> is optional.</p>",
                apply_default_css=False,
            )
            self.upload = gr.File(label="Texts", file_types=KINDS, elem_id="label-file", height=120)
            script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
            self.page = gr.HTML(elem_id="label-session", js_on_load=script, apply_default_css=False)
        self.upload.upload(self.on_upload, [self.upload], [self.upload, self.state, self.page], **_BUSY)
        self.page.act(self.act, [self.state], [self.state, self.page], **_QUIET)

    def on_upload(self, path: str, request: gr.Request) -> dict[Any, Any]:
        """A file was chosen: read and group its texts."""
        reviewer(self.app, request)
        try:
            state = annotation.begin(Path(path), self.app.parts().embedder)
        except Exception as error:
            raise toast(error) from error
        finally:
            Path(path).unlink(missing_ok=True)  # Gradio's copy
        return {self.upload: None, **self._shown(state)}

    def act(self, state: Annotation | None, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """A group was named, or a question answered."""
        reviewer(self.app, request)
        act, key, text = clicked(event)
        label = annotation.slug(text)
        if state is None or not label or not key.isdigit():
            return {}
        if act == "name" and int(key) < len(state.groups):
            state = annotation.name(state, int(key), label)
        elif act == "answer" and int(key) < len(state.texts):
            state = annotation.answer(state, int(key), label)
        return self._shown(state)

    def _shown(self, state: Annotation) -> dict[Any, Any]:
        seen = annotation.view(state)
        rows = annotation.examples(state, seen, self.app.parts().reader.mood)
        return {self.state: state, self.page: proposals.session(state, seen, rows)}

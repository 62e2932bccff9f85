"""The Knowledge tab: documents beside the packs' articles. For reviewers and admins, checked on every event."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant.intake import KINDS, About, Draft, IntakeError, Skipped, drafts, fitted, redraft
from ui import documents, graph
from ui.access import explain, reviewer, toast
from ui.chat import clicked
from ui.render import notice

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.users import User
    from retrieval.library import Entry, Receipt

TAKEN = "a document of this name is there already; rename the file"  # and who asks may not see it
Update = dict[Any, Any]
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_BUSY: dict[str, Any] = {"show_progress": "minimal", "api_visibility": "private"}


class Knowledge:
    """The tab's components and handlers."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.drafts = gr.State([])  # of this page: what was read and is not in yet
        self.place = gr.State(0)  # which of them is shown
        with gr.Column(elem_id="knowledge"):
            gr.HTML(
                "<h2>Knowledge</h2><p>Documents that answer beside a pack's own articles.</p>", apply_default_css=False
            )
            self.domain = gr.Dropdown([], label="Domain", elem_id="knowledge-domain")
            self._build_form()
            script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
            self.list = gr.HTML(elem_id="documents", js_on_load=script, apply_default_css=False)
            with gr.Accordion("Facts of the domain, as a picture", open=False, elem_id="facts-panel"):
                self.entity = gr.Textbox(
                    label="Around", elem_id="facts-entity", placeholder="a name or a word of it, then Enter", lines=1
                )
                self.facts = gr.HTML(elem_id="facts", apply_default_css=False)
        self.loads: list[Any] = [self.domain, self.list, self.facts]
        self._wire()

    def _build_form(self) -> None:
        with gr.Column(elem_id="add-document"):
            self.upload = gr.File(
                label="Add documents: PDF, Word, PowerPoint, Excel, CSV, HTML, Markdown, text, e-mail, zip",
                file_types=list(KINDS), file_count="multiple", elem_id="document-files", height=120,
            )  # fmt: skip
            self.skipped = gr.HTML(elem_id="document-skipped", apply_default_css=False)
            with gr.Column(visible=False, elem_id="document-draft") as self.form:
                self.pick = gr.Dropdown([], label="File", elem_id="document-pick", visible=False, type="index")
                with gr.Row():
                    self.title = gr.Textbox(label="Title", elem_id="document-title", min_width=180)
                    self.source = gr.Textbox(
                        label="Source, as citations name it", elem_id="document-source", min_width=180
                    )
                    self.date = gr.Textbox(
                        label="Date", elem_id="document-date", placeholder="YYYY-MM-DD", min_width=110
                    )
                    self.licence = gr.Textbox(label="Licence", elem_id="document-licence", min_width=110)
                    self.group = gr.Textbox(
                        label="Only for the group", elem_id="document-group", placeholder="everybody", min_width=110
                    )
                with gr.Row(equal_height=False):
                    self.text = gr.Textbox(
                        label="Text. Change what is wrong; headings (##) start a passage",
                        lines=18, max_lines=30, elem_id="document-text", min_width=300,
                    )  # fmt: skip
                    self.preview = gr.HTML(elem_id="document-preview", apply_default_css=False, min_height=100)
                with gr.Row(elem_id="document-actions"):
                    self.add = gr.Button("Add to the domain", variant="primary", elem_id="document-add", min_width=0)
                    self.cancel = gr.Button("Discard", elem_id="document-cancel", min_width=0)

    def _wire(self) -> None:
        said = [self.title, self.source, self.date, self.licence, self.group]
        draft = [self.form, self.pick, *said, self.text, self.preview, self.skipped, self.drafts, self.place]
        self.upload.upload(self.on_upload, [self.upload, self.domain], [self.upload, *draft], **_BUSY)
        edits = [self.drafts, self.place, *said, self.text]
        fields = [self.drafts, self.place, *said, self.text, self.preview]
        self.pick.input(self.on_pick, [*edits, self.pick], fields, **_QUIET)
        changes = [field.blur for field in (*said, self.text)]
        gr.on(changes, self.on_edit, edits, [self.preview], trigger_mode="always_last", **_QUIET)
        self.add.click(self.on_add, [self.domain, *edits], [self.list, *draft], **_BUSY)
        self.cancel.click(self.on_cancel, None, draft, **_QUIET)
        self.domain.input(self.on_domain, [self.domain, *edits], [self.list, self.entity, self.facts, *draft], **_QUIET)
        self.entity.submit(self.on_entity, [self.domain, self.entity], [self.facts], **_QUIET)
        self.list.act(self.act, [self.domain], [self.list], **_QUIET)

    def loaded(self, request: gr.Request) -> Update:
        """A page was opened: only a reviewer's page gets the list."""
        user = self.app.users.get(request.username or "")
        if user is None or not user.reviews:
            return {}
        choices = [(title, name) for name, title in self.app.knowledge.domains().items()]
        chosen = choices[0][1] if choices else None
        return {
            self.domain: gr.update(choices=choices, value=chosen),
            self.list: self._list(user, chosen),
            self.facts: self._facts(chosen, ""),
        }

    def on_domain(self, request: gr.Request, domain: str, held: list[Draft], place: int, *fields: str | None) -> Update:
        """Another domain was chosen: what is held is compared with the documents that are there."""
        user = reviewer(self.app, request)
        shown = {self.list: self._list(user, domain), self.entity: "", self.facts: self._facts(domain, "")}
        if not held:
            return shown
        fit, missed = self._fitted(user, domain, _edited(held, place, *fields))
        return {**shown, **self._form(fit), self.skipped: documents.skipped(missed)}

    def on_entity(self, domain: str, entity: str, request: gr.Request) -> str:
        """A name was written: show the facts around it."""
        reviewer(self.app, request)
        return self._facts(domain, entity.strip()[:200])

    def on_upload(self, paths: list[str] | None, domain: str, request: gr.Request) -> Update:
        """Files were chosen: read them, and show what they would become."""
        user = reviewer(self.app, request)
        found: list[Draft | Skipped] = []
        taken: dict[str, str] = {}
        for path in map(Path, paths or ()):
            found += drafts(path, About(), path.name, taken)
            path.unlink(missing_ok=True)  # Gradio's copy
        read, hidden = self._fitted(user, domain, [one for one in found if isinstance(one, Draft)])
        missed = [*(one for one in found if isinstance(one, Skipped)), *hidden]
        return {self.upload: None, self.skipped: documents.skipped(missed), **self._form(read)}

    def on_pick(self, request: gr.Request, held: list[Draft], place: int, *fields: Any) -> Update:
        """Another of the uploaded files was chosen: what was written about the one before is kept."""
        reviewer(self.app, request)
        *written, chosen = fields
        if chosen != place:  # told twice of one choice, the second time with the fields of the file before
            held = _edited(held, place, *written)
        return {self.drafts: held, self.place: chosen, **self._fields(self._warned(held[chosen]))}

    def on_edit(self, request: gr.Request, held: list[Draft], place: int, *fields: str | None) -> str:
        """A field or the text was changed: show how it would be cut now. It is kept when it goes in."""
        reviewer(self.app, request)
        edited = _edited(held, place, *fields)
        return documents.preview(self._warned(edited[place])) if edited else ""

    def on_add(self, request: gr.Request, domain: str, held: list[Draft], place: int, *fields: str | None) -> Update:
        """Add was clicked: what can go in goes in, and what cannot is named."""
        user = reviewer(self.app, request)
        edited = _edited(held, place, *fields)  # the last keystroke may not have been heard of yet
        fit, missed = self._fitted(user, domain, edited)  # others may have changed what is there
        updated = []
        for draft in fit:
            try:
                if self.app.knowledge.put(domain, draft) == "updated":
                    updated.append(draft)
            except Exception as error:  # noqa: BLE001 - one document that fails must not keep the others out
                missed.append(Skipped(draft.file, explain(error)))
        try:
            self.app.knowledge.sync(domain)
        except Exception as error:
            raise toast(error) from error
        gr.Info(f"{len(held) - len(missed)} of {len(held)} documents answer now.")
        said = documents.replaced(updated) + documents.skipped(missed)
        return {self.list: self._list(user, domain), **self._form([]), self.skipped: said}

    def on_cancel(self, request: gr.Request) -> Update:
        """Discard was clicked."""
        reviewer(self.app, request)
        return {**self._form([]), self.skipped: ""}

    def act(self, domain: str, event: gr.EventData, request: gr.Request) -> str:
        """A document's button was clicked."""
        user = reviewer(self.app, request)
        act, document, _ = clicked(event)
        if act != "delete" or document not in {entry.id for entry in self._entries(user, domain)}:
            return self._list(user, domain)
        try:
            return self._list(user, domain, self.app.knowledge.remove(domain, document))
        except Exception as error:
            raise toast(error) from error

    def _facts(self, domain: str | None, entity: str) -> str:
        return graph.drawn(self.app.knowledge.graph(domain or "").around(entity), entity)

    def _list(self, user: User, domain: str | None, receipt: Receipt | None = None) -> str:
        if not domain:
            return notice("No domain is live yet.", "empty")
        receipts = self.app.knowledge.receipts(domain) if user.role == "admin" else ()  # they name what others may not
        return documents.listing(self._entries(user, domain), receipt, receipts)

    def _entries(self, user: User, domain: str) -> list[Entry]:
        return [one for one in self.app.knowledge.entries(domain) if _sees(user, one)]

    def _fitted(self, user: User, domain: str | None, held: list[Draft]) -> tuple[list[Draft], list[Skipped]]:
        """The drafts as they would go in now, without those that would replace what this person may not see."""
        try:
            fit = [self.app.knowledge.fitted(domain, draft) for draft in held] if domain else held
        except Exception as error:
            raise toast(error) from error
        hidden = {one.file for one in fit if one.replaces and not _sees(user, one.replaces)}
        return [one for one in fit if one.file not in hidden], [Skipped(file, TAKEN) for file in sorted(hidden)]

    def _warned(self, draft: Draft) -> Draft:
        """The draft with a warning where nobody is in its group."""
        return fitted(draft, draft.replaces, {group for user in self.app.users.list() for group in user.groups})

    def _form(self, held: list[Draft]) -> Update:
        names = [draft.file for draft in held]
        picked = gr.update(choices=names, value=names[0] if names else None, visible=len(names) > 1)
        fields = self._fields(self._warned(held[0])) if held else {self.text: "", self.preview: ""}
        return {self.form: gr.update(visible=bool(held)), self.pick: picked, self.drafts: held, self.place: 0, **fields}

    def _fields(self, draft: Draft) -> Update:
        known = draft.document
        return {
            self.title: known.title, self.source: known.source, self.date: known.date, self.licence: known.licence,
            self.group: known.access, self.text: draft.editable, self.preview: documents.preview(draft),
        }  # fmt: skip


def _sees(user: User, entry: Entry) -> bool:
    """Whether this person may see a document: a reviewer, those of their groups and of everybody; an admin, all."""
    return user.role == "admin" or entry.access in {"", *user.groups}


def _edited(held: list[Draft], place: int, *fields: str | None) -> list[Draft]:
    """The drafts, one of them with what the person wrote: title, source, date, licence, group, text."""
    if place >= len(held):
        return held
    *said, text = (field or "" for field in fields)
    try:
        edited = redraft(held[place], About(*(one.strip() for one in said)), text)
    except IntakeError as error:
        raise toast(error) from error
    return [*held[:place], edited, *held[place + 1 :]]

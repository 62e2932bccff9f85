"""The Review tab: the queue, one ticket, the record of decisions. For reviewers and admins, checked on each event."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr

from ui import panels
from ui.access import caller, reviewer, toast
from ui.chat import clicked
from ui.render import notice

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.reviews import Ticket
    from assistant.users import User
    from domains.manifest import Manifest

POLL = 3.0  # seconds
Update = dict[Any, Any]
Action = Literal["approve", "edit", "reject"]
_DONE = {"approve": "Approved and sent.", "edit": "Your answer was sent.", "reject": "Withdrawn."}


class Review:
    """The tab's components and handlers."""

    def __init__(self, app: App) -> None:
        self.app = app
        script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
        self.selected = gr.State(None)  # ticket id
        self.seen = gr.State(())  # what the queue last showed, so that a poll stays silent
        with gr.Row(elem_id="review"):
            with gr.Column(elem_id="review-left", min_width=280, scale=2):
                gr.HTML("<h2>To review</h2>", apply_default_css=False)
                self.queue = gr.HTML(elem_id="queue", js_on_load=script, apply_default_css=False)
            with gr.Column(elem_id="review-right", min_width=320, scale=3):
                self.detail = gr.HTML(
                    panels.pick_a_ticket(), elem_id="ticket", js_on_load=script, apply_default_css=False
                )
                with gr.Column(elem_id="decide", visible=False) as self.form:
                    self._build_form()
        with gr.Accordion("Decisions so far", open=False, elem_id="decisions-panel"):
            self.decisions = gr.HTML(elem_id="decisions", js_on_load=script, apply_default_css=False)
        self.timer = gr.Timer(POLL, active=False)
        self.pane: list[Any] = [
            self.selected, self.seen, self.queue, self.detail, self.form, self.text, self.note, self.decisions
        ]  # fmt: skip
        self.loads = [*self.pane, self.timer]
        self._wire()

    def _build_form(self) -> None:
        self.text = gr.Textbox(
            label="Answer to the user", lines=4, max_lines=14, elem_id="review-answer",
            info="Approve sends the draft as it is. Change it here and choose Save edit to send your words.",
        )  # fmt: skip
        self.note = gr.Textbox(label="Note for the record", lines=1, elem_id="review-note", max_length=500)
        with gr.Row(elem_id="review-actions"):
            self.approve = gr.Button("Approve", variant="primary", elem_id="approve", min_width=0)
            self.edit = gr.Button("Save edit", elem_id="save-edit", min_width=0)
            self.reject = gr.Button("Reject", variant="stop", elem_id="reject", min_width=0)

    def _wire(self) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.queue.act(self.open, None, self.pane, **quiet)
        self.approve.click(self.on_approve, [self.selected, self.note], self.pane, **quiet)
        self.edit.click(self.on_edit, [self.selected, self.text, self.note], self.pane, **quiet)
        self.reject.click(self.on_reject, [self.selected, self.note], self.pane, **quiet)
        self.timer.tick(self.poll, [self.selected, self.seen], self.pane, queue=False, **quiet)

    def loaded(self, request: gr.Request) -> Update:
        """A page was opened: only a reviewer's page gets any content."""
        user = caller(self.app, request)
        if not user.reviews:
            return {}
        return {self.timer: gr.Timer(active=True), **self._lists(user, None)}

    def open(self, event: gr.EventData, request: gr.Request) -> Update:
        """A ticket was chosen."""
        user = reviewer(self.app, request)
        _, key, _ = clicked(event)
        ticket = self._ticket(user, int(key)) if key.isdigit() else None
        if ticket is None:
            return {**self._closed("This entry is no longer open."), **self._lists(user, None)}
        return {
            self.selected: ticket.id,
            self.detail: panels.ticket_detail(ticket, self._names()),
            self.form: gr.update(visible=True),
            self.text: ticket.turn.answer,
            self.note: "",
            **self._lists(user, ticket.id),
        }

    def on_approve(self, ticket: int | None, note: str, request: gr.Request) -> Update:
        """Approve was clicked."""
        return self._decide(ticket, "approve", "", note, request)

    def on_edit(self, ticket: int | None, text: str, note: str, request: gr.Request) -> Update:
        """Save edit was clicked."""
        return self._decide(ticket, "edit", text, note, request)

    def on_reject(self, ticket: int | None, note: str, request: gr.Request) -> Update:
        """Reject was clicked."""
        return self._decide(ticket, "reject", "", note, request)

    def _decide(self, ticket: int | None, action: Action, text: str, note: str, request: gr.Request) -> Update:
        user = reviewer(self.app, request)
        if ticket is None:
            raise gr.Error("Choose an entry first.", print_exception=False)
        try:
            self.app.reviews.decide(ticket, user, action, text.strip(), note.strip())
        except Exception as error:
            raise toast(error) from error
        return {**self._closed(_DONE[action]), **self._lists(user, None)}

    def poll(self, selected: int | None, seen: tuple[object, ...], request: gr.Request) -> Any:
        """Has the queue changed? Says nothing when not."""
        user = reviewer(self.app, request)
        if self._fingerprint(user) == tuple(seen):
            return gr.skip()
        gone = selected is not None and self._ticket(user, selected) is None
        closed = self._closed("Somebody else has decided this entry.") if gone else {}
        return {**closed, **self._lists(user, None if gone else selected)}

    def _closed(self, sentence: str) -> Update:
        return {
            self.selected: None,
            self.detail: notice(sentence, "done") + panels.pick_a_ticket(),
            self.form: gr.update(visible=False),
        }

    def _lists(self, user: User, selected: int | None) -> Update:
        return {
            self.seen: self._fingerprint(user),
            self.queue: panels.queue(self.app.reviews.open(user), selected, self._names()),
            self.decisions: panels.decisions(self.app.reviews.decisions(user, limit=50)),
        }

    def _fingerprint(self, user: User) -> tuple[object, ...]:
        return tuple((ticket.id, ticket.priority, len(ticket.reasons)) for ticket in self.app.reviews.open(user))

    def _ticket(self, user: User, number: int) -> Ticket | None:
        return next((ticket for ticket in self.app.reviews.open(user) if ticket.id == number), None)

    def _names(self) -> dict[str, Manifest]:
        return {pack.domain.name: pack.domain.manifest for pack in self.app.packs.live()}

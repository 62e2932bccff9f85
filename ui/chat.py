"""The Chat tab: calls ``app.chats.ask`` and renders what it yields. Its only state is what one tab shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant.record import Done, Reading, Sentence, Step, Understood
from ui import panels, render
from ui.access import caller, explain, toast

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.users import User
    from domains.manifest import Manifest
    from domains.pack import Domain

POLL = 2.0  # seconds
Update = dict[Any, Any]  # component → new value; Gradio leaves the others as they are


@dataclass(frozen=True, slots=True)
class View:
    """What one browser tab shows."""

    conversation: int | None = None
    version: int = -1  # of the conversation, as last rendered
    streams: bool = False  # this tab is watching a turn
    pending: bool = False  # a turn runs that this tab does not watch: it was reloaded, or another tab asked
    domains: tuple[str, ...] = ()  # as last offered in the picker


class Chat:
    """The tab's components and handlers. One instance for the page, shared by all users: it keeps nothing of theirs."""

    def __init__(self, app: App) -> None:
        self.app = app
        script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
        self.view = gr.State(View())
        with gr.Row(elem_id="chat"):
            with gr.Column(elem_id="sidebar", scale=0, min_width=0):
                self.new = gr.Button("New conversation", elem_id="new-chat", variant="secondary")
                self.conversations = gr.HTML(elem_id="conversations", js_on_load=script, apply_default_css=False)
            with gr.Column(elem_id="stage"):
                with gr.Column(elem_id="thread"), gr.Column(elem_id="thread-inner"):
                    self.history = gr.HTML(elem_id="history", js_on_load=script, apply_default_css=False)
                    self.live = gr.HTML(elem_id="live", js_on_load=script, apply_default_css=False)
                with gr.Column(elem_id="composer"):
                    self._build_composer()
        self.timer = gr.Timer(POLL)
        self.loads: list[Any] = [
            self.view, self.history, self.live, self.question, self.domain, self.send, self.stop, self.conversations
        ]  # fmt: skip
        self._wire()

    def _build_composer(self) -> None:
        self.question = gr.Textbox(
            elem_id="question", placeholder="Ask a question", show_label=False, label="Your question",
            container=False, lines=1, max_lines=8, max_length=8000, autofocus=True,
        )  # fmt: skip
        with gr.Row(elem_id="composer-row"):
            self.domain = gr.Dropdown(
                self._choices(), value="", elem_id="domain", label="Domain", show_label=False, container=False,
                interactive=True, filterable=False, min_width=0,
            )  # fmt: skip
            self.stop = gr.Button("Stop", elem_id="stop", visible=False, min_width=0)
            self.send = gr.Button("Send", elem_id="send", variant="primary", min_width=0)

    def _wire(self) -> None:
        parts = self.loads
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        asked = [self.question, self.domain, self.view]
        turns = [
            gr.on([self.question.submit, self.send.click], self.ask, asked, parts, **quiet),
            self.history.act(self.act, [self.domain, self.view], parts, **quiet),
        ]
        self.stop.click(self.halt, [self.view], None, **quiet)
        # leaving a conversation stops the streaming to this tab; the turn itself is finished and stored
        self.new.click(self.open_new, [self.domain, self.view], parts, cancels=turns, **quiet)
        self.conversations.act(self.manage, [self.domain, self.view], parts, cancels=turns, **quiet)
        self.domain.input(self.choose, [self.domain, self.view], [self.history], **quiet)
        self.timer.tick(self.poll, [self.domain, self.view], parts, queue=False, **quiet)

    def loaded(self, request: gr.Request) -> Update:
        """A page was opened: show the newest conversation, or the welcome."""
        user = caller(self.app, request)
        items = self.app.chats.list(user.name)
        view = View(items[0].id if items else None, domains=self._live_names())
        return {self.domain: gr.update(choices=self._choices(), value=""), **self._show(user, view, "")}

    def ask(self, text: str, domain: str, view: View, request: gr.Request) -> Iterator[Update]:
        """Send was clicked or Enter pressed."""
        yield from self._turn(caller(self.app, request), text, domain, view)

    def act(self, domain: str, view: View, event: gr.EventData, request: gr.Request) -> Iterator[Update]:
        """Something inside the conversation was clicked: a suggestion, a candidate domain, or the flag form."""
        user, (act, key, text) = caller(self.app, request), clicked(event)
        yield {self.view: view}  # Gradio blanks every output of a generator that yields nothing
        if act == "suggest":
            yield from self._turn(user, text, key if domain else "", view)
        elif act == "clarify":
            yield from self._turn(user, self._asked(user, view, key), text, view)
        elif act == "flag":
            self._flag(user, key, text)

    def _turn(self, user: User, text: str, domain: str, view: View) -> Iterator[Update]:
        if not text.strip():
            yield {self.view: view}  # Gradio blanks every output of a generator that yields nothing
            return
        if view.conversation is None:
            view = replace(view, conversation=self.app.chats.start(user.name), version=-1)
            yield {self.history: ""}
        view = replace(view, streams=True)
        busy = {self.view: view, self.send: gr.update(visible=False), self.stop: gr.update(visible=True)}
        yield {self.question: "", self.live: render.live(text, "Reading your question", None, (), {}), **busy}
        try:
            for page in self._stream(user, text, domain, view):
                yield {self.live: page}
        except Exception as error:  # noqa: BLE001 - whatever broke, the user gets the text back and a sentence
            idle = replace(view, streams=False, version=-1)  # the next poll shows what there is
            yield {**self._idle(), self.view: idle, self.question: text, self.live: render.notice(explain(error))}
            return
        yield self._show(user, view, domain)

    def _stream(self, user: User, text: str, domain: str, view: View) -> Iterator[str]:
        names, step = self._names(), ""
        reading: Reading | None = None
        sentences: list[Sentence] = []
        for event in self.app.chats.ask(user.name, view.conversation, text, domain or None):
            match event:
                case Step():
                    step = event.text
                case Understood():
                    reading = event.reading
                case Sentence():
                    sentences.append(event)
                case Done():
                    return  # what was stored is shown instead
            yield render.live(text, step, reading, sentences, names)

    def halt(self, view: View, request: gr.Request) -> None:
        """Stop was clicked."""
        user = caller(self.app, request)
        if view.conversation is not None:
            self.app.chats.stop(user.name, view.conversation)

    def open_new(self, domain: str, view: View, request: gr.Request) -> Update:
        """New conversation: nothing is stored before the first question."""
        user = caller(self.app, request)
        return {**self._show(user, replace(view, conversation=None, version=-1), domain), self.question: ""}

    def manage(self, domain: str, view: View, event: gr.EventData, request: gr.Request) -> Update:
        """A conversation was opened, renamed or deleted in the list."""
        user, (act, key, text) = caller(self.app, request), clicked(event)
        try:
            view = self._managed(user, view, act, int(key), text)
            return self._show(user, view, domain)
        except Exception as error:
            raise toast(error) from error

    def _managed(self, user: User, view: View, act: str, conversation: int, text: str) -> View:
        if act == "open":
            return replace(view, conversation=conversation)
        if act == "rename":
            self.app.chats.rename(user.name, conversation, text.strip()[:80])
        elif act == "delete":
            self.app.chats.delete(user.name, conversation)
            return replace(view, conversation=None) if view.conversation == conversation else view
        return view

    def choose(self, domain: str, view: View, request: gr.Request) -> Any:
        """Another domain was picked: an empty conversation shows its suggestions."""
        caller(self.app, request)
        return panels.welcome(self._live_domains(), domain) if view.conversation is None else gr.skip()

    def poll(self, domain: str, view: View, request: gr.Request) -> Any:
        """Has a reviewer decided, or a pack changed? Cheap, and says nothing when not."""
        user = caller(self.app, request)
        update: Update = {}
        names = self._live_names()
        if names != view.domains:
            view = replace(view, domains=names)
            kept = domain if domain in names else ""
            update = {self.view: view, self.domain: gr.update(choices=self._choices(), value=kept)}
            if view.conversation is None:
                update[self.history] = panels.welcome(self._live_domains(), kept)
        if view.conversation is not None:
            version = self._version(user, view.conversation)
            if version >= 0 and (version != view.version or view.pending):
                update |= self._history(user, replace(view, version=version))
        return update or gr.skip()

    def _version(self, user: User, conversation: int) -> int:
        try:
            return self.app.chats.version(user.name, conversation)
        except Exception:  # noqa: BLE001 - deleted in another tab; the next click says so
            return -1

    def _flag(self, user: User, key: str, comment: str) -> None:
        try:
            self.app.chats.flag(user.name, int(key), comment.strip()[:2000])
        except Exception as error:
            raise toast(error) from error
        gr.Info("Thank you. A person will look at this answer.")

    def _asked(self, user: User, view: View, key: str) -> str:
        if view.conversation is None:
            return ""
        turns = self.app.chats.messages(user.name, view.conversation)
        return next((one.turn.question for one in turns if str(one.id) == key), "")

    def _show(self, user: User, view: View, domain: str) -> Update:
        items, view = self.app.chats.list(user.name), replace(view, streams=False)
        shown = {**self._idle(), self.live: "", self.conversations: panels.conversations(items, view.conversation)}
        if view.conversation is None:
            return {**shown, self.view: view, self.history: panels.welcome(self._live_domains(), domain)}
        version = self._version(user, view.conversation)
        return {**shown, **self._history(user, replace(view, version=version))}

    def _history(self, user: User, view: View) -> Update:
        turns = self.app.chats.messages(user.name, view.conversation) if view.conversation is not None else []
        running = any(one.state == "running" for one in turns)
        shown = [one for one in turns if not (view.streams and one.state == "running")]
        names = self._names()
        pages = [render.stored(one, names, last=one is shown[-1]) for one in shown]
        page = "".join(pages) or ("" if view.streams else panels.welcome(self._live_domains(), ""))
        return {self.view: replace(view, pending=running and not view.streams), self.history: page}

    def _idle(self) -> Update:
        return {self.send: gr.update(visible=True), self.stop: gr.update(visible=False)}

    def _live_domains(self) -> list[Domain]:
        return [pack.domain for pack in self.app.packs.live() if pack.enabled]

    def _live_names(self) -> tuple[str, ...]:
        return tuple(domain.name for domain in self._live_domains())

    def _names(self) -> dict[str, Manifest]:
        return {domain.name: domain.manifest for domain in self._live_domains()}

    def _choices(self) -> list[tuple[str, str]]:
        return [("Auto", ""), *((domain.manifest.title, domain.name) for domain in self._live_domains())]


def clicked(event: gr.EventData) -> tuple[str, str, str]:
    """What page.js sent: the act, an identifier and a text. It comes from a browser, so nothing else is believed."""
    data = event._data if isinstance(event._data, dict) else {}
    act, key, text = (data.get(name) for name in ("act", "id", "text"))
    return str(act or ""), str(key or ""), str(text or "")[:8000]

"""The Adapters tab, for admins: what speaks, what could, on what evidence; promote and roll back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui.access import admin, caller, toast
from ui.chat import clicked
from ui.panels import button
from ui.render import chip, esc, notice

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.life import Card

POLL = 3.0  # seconds
SHOWN = {
    "answered_with_source": "answered with source",
    "sentences_supported": "sentences supported",
    "unanswerable_refused": "unanswerable refused",
    "must_refuse_obeyed": "must refuse",
    "must_escalate_obeyed": "must escalate",
    "must_answer_answered": "must answer",
    "total_ms_p50": "ms, median answer",
}


class Adapters:
    """The tab's components and handlers."""

    def __init__(self, app: App) -> None:
        self.app = app
        script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
        intro = (
            "<h2>Adapters</h2><p>An adapter speaks for a domain once it sat the exam of the one before it and was no "
            "worse. Rolling back takes a second and no restart. Who decided is recorded.</p>"
        )
        with gr.Column(elem_id="adapters"):
            gr.HTML(intro, apply_default_css=False)
            self.cards = gr.HTML(elem_id="adapter-cards", js_on_load=script, apply_default_css=False)
        self.timer = gr.Timer(POLL)
        self.loads: list[Any] = [self.cards]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        self.cards.act(self.act, None, [self.cards], **quiet)
        self.timer.tick(self.poll, None, [self.cards], queue=False, **quiet)

    def loaded(self, request: gr.Request) -> dict[Any, Any]:
        """A page was opened: only an admin's page gets the list."""
        return {self.cards: self.poll(request)}

    def poll(self, request: gr.Request) -> str:
        """An exam goes on, or another admin decided something."""
        return shelf(self.app.life.cards()) if caller(self.app, request).role == "admin" else ""

    def act(self, event: gr.EventData, request: gr.Request) -> str:
        """A card's button was clicked."""
        user = admin(self.app, request)
        act, name, digest = clicked(event)
        life = self.app.life
        actions: dict[str, Callable[[], object]] = {
            "examine": lambda: life.examine(name, digest),
            "promote": lambda: life.promote(name, digest, user.name),
            "rollback": lambda: life.rollback(name, user.name),
        }
        try:
            if act in actions:
                actions[act]()
        except Exception as error:
            raise toast(error) from error
        return shelf(life.cards())


def shelf(cards: list[Card]) -> str:
    """All adapters by name, the one that speaks first."""
    if not cards:
        return notice("There are no adapters. Train one with “assistant train adapter”.", "empty")
    return "".join(
        f'<section><h3>{esc(name)}</h3><div class="packs">{"".join(map(_card, group))}</div></section>'
        for name, group in groupby(cards, key=lambda card: card.held.name)
    )


def _card(card: Card) -> str:
    held = card.held
    rows = [("Digest", held.digest[:16]), ("Since", f"{held.since or 'it came with the product'} {held.by or ''}")]
    if card.passport:
        trained = ", ".join(f"{number} {use}" for use, number in card.passport.counts.items())
        rows += [("Trained", card.passport.created), ("Examples", trained), ("Rank", str(card.passport.rank))]
    rows += [(label, _number(card.metrics[key])) for key, label in SHOWN.items() if key in card.metrics]
    facts = "".join(f"<dt>{esc(label)}</dt><dd>{esc(value)}</dd>" for label, value in rows)
    problem = f"<p>{esc(card.problem)}</p>" if card.problem else ""
    doing = f'<p class="hint">{esc(card.doing)}</p>' if card.doing else ""
    state = chip(held.state.capitalize(), kind="on" if held.state == "current" else "off")
    return (
        f'<div class="card pack{" refused" if card.problem else ""}" id="adapter-{esc(held.digest[:16])}">'
        f'<div class="chips">{state}</div>{problem}<dl>{facts}</dl>{doing}{_actions(card)}</div>'
    )


def _actions(card: Card) -> str:
    held = card.held
    if card.problem:
        return ""
    key: dict[str, str] = {"key": held.name, "text": held.digest}
    if held.state == "current":
        back = button("rollback", "Roll back", **key, kind="danger", confirm="Let the one before speak?")
        return f'<div class="actions">{back if held.since else ""}</div>'
    if not card.metrics:
        return f'<div class="actions">{button("examine", "Sit the exam", **key)}</div>'
    return f'<div class="actions">{button("promote", "Promote", **key, confirm="Let it speak?")}</div>'


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value <= 1 else f"{value:.0f}"

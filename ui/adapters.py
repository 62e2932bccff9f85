"""The Adapters tab, for admins: what speaks, what could, on what evidence; try out, promote and roll back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from assistant.traffic import COUNTED, counted
from ui.access import admin, caller, toast
from ui.chat import clicked
from ui.panels import button
from ui.render import chip, esc, notice, scrolled

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.life import Card

POLL = 3.0  # seconds
SHARE = 0.1  # of the conversations that a candidate is tried out in
USES = {"train": "to learn from", "validation": "to check on", "dropped": "left out"}
SHOWN = {
    "answered_with_source": "answered with source",
    "sentences_supported": "sentences supported",
    "unanswerable_refused": "unanswerable refused",
    "must_refuse_obeyed": "must refuse",
    "must_escalate_obeyed": "must escalate",
    "must_answer_answered": "must answer",
    "policy_passed": "policy exam",
    "total_ms_p50": "ms, median answer",
}


class Adapters:
    """The tab's components and handlers."""

    def __init__(self, app: App) -> None:
        self.app = app
        script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
        intro = (
            "<h2>Adapters</h2><p>An adapter speaks for a domain once it sat the exam of the one before it and was no "
            "worse; at first in a tenth of the conversations only, if you like. Rolling back takes a second and no "
            "restart. Who decided is recorded.</p>"
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
        return self._shelf() if caller(self.app, request).role == "admin" else ""

    def act(self, event: gr.EventData, request: gr.Request) -> str:
        """A card's button was clicked."""
        user = admin(self.app, request)
        act, name, digest = clicked(event)
        life = self.app.life
        actions: dict[str, Callable[[], object]] = {
            "examine": lambda: life.examine(name, digest),
            "promote": lambda: life.promote(name, digest, user.name),
            "canary": lambda: life.promote(name, digest, user.name, share=SHARE),
            "stop": lambda: life.stop(name, user.name),
            "rollback": lambda: life.rollback(name, user.name),
        }
        try:
            if act in actions:
                actions[act]()
        except Exception as error:
            raise toast(error) from error
        return self._shelf()

    def _shelf(self) -> str:
        titles = {pack.domain.name: pack.domain.manifest.title for pack in self.app.packs.live()}
        return shelf(self.app.life.cards(), titles)


def shelf(cards: list[Card], titles: Mapping[str, str] | None = None) -> str:
    """All adapters by name, the one that speaks first; ``titles`` of the domains they speak for."""
    if not cards:
        return notice("There are no adapters. Train one with “assistant train adapter”.", "empty")
    groups = {name: list(group) for name, group in groupby(cards, key=lambda card: card.held.name)}
    return "".join(
        f"<section><h3>{esc((titles or {}).get(name, name))}</h3>{_traffic(group)}"
        f'<div class="packs">{"".join(map(_card, group))}</div></section>'
        for name, group in groups.items()
    )


def _traffic(cards: list[Card]) -> str:
    """The last canary's turns beside those of the adapter that was current."""
    both = [(card.traffic, card.canary) for card in cards if card.traffic and card.canary]
    both.sort(key=lambda pair: pair[0].digest != pair[1].digest)  # the canary first
    if not both:
        return ""
    canary = both[0][1]
    names = "".join(
        f"<th>{'Canary' if one.digest == canary.digest else 'Current'} {esc(one.digest[:16])}</th>" for one, _ in both
    )
    rows = "".join(
        f"<tr><td>{esc(label)}</td>{''.join(f'<td>{esc(counted(one, key))}</td>' for one, _ in both)}</tr>"
        for key, label in COUNTED.items()
    )
    until = f"until {esc(_moment(canary.until))}" if canary.until else "until now"
    return (
        f"<p>Canary in {canary.share:.0%} of the conversations, from {esc(_moment(canary.since))} {until}. "
        "Few turns say little.</p>" + scrolled(f"<tr><th>Turns</th>{names}</tr>", rows)
    )


def _card(card: Card) -> str:
    held = card.held
    since = f"{_moment(held.since)} by {held.by}" if held.since and held.by else _moment(held.since)
    rows = [("Digest", held.digest[:16]), ("Since", since or "it came with the product")]
    if card.passport:
        learned = [f"{card.passport.counts[use]} {what}" for use, what in USES.items() if card.passport.counts.get(use)]
        rows += [("Trained", _moment(card.passport.created)), ("Examples", ", ".join(learned))]
        rows += [("Rank", str(card.passport.rank))]
    rows += [(label, _number(card.metrics[key])) for key, label in SHOWN.items() if key in card.metrics]
    facts = "".join(f"<dt>{esc(label)}</dt><dd>{esc(value)}</dd>" for label, value in rows)
    problem = f"<p>{esc(card.problem)}</p>" if card.problem else ""
    doing = f'<p class="hint">{esc(card.doing)}</p>' if card.doing else ""
    state = chip(held.state.capitalize(), kind="on" if held.state in ("current", "canary") else "off")
    return (
        f'<div class="card pack{" refused" if card.problem else ""}" id="adapter-{esc(held.digest[:16])}">'
        f'<div class="chips">{state}</div>{problem}<dl>{facts}</dl>{doing}{_actions(card)}</div>'
    )


def _actions(card: Card) -> str:
    held = card.held
    key: dict[str, str] = {"key": held.name, "text": held.digest}
    promote = "" if card.problem else button("promote", "Promote", **key, confirm="Let it speak?")
    if held.state == "canary":
        stop = button("stop", "Stop", **key, kind="danger", confirm="Let the current one speak everywhere?")
        return f'<div class="actions">{promote}{stop}</div>'
    if held.state == "current":
        back = button("rollback", "Roll back", **key, kind="danger", confirm="Let the one before speak?")
        return f'<div class="actions">{back if card.back else ""}</div>'
    if card.problem:
        return ""
    if not card.metrics:
        return f'<div class="actions">{button("examine", "Sit the exam", **key)}</div>'
    canary = button(
        "canary", f"Try in {SHARE:.0%}", **key, confirm=f"Let it speak in {SHARE:.0%} of the conversations?"
    )
    return f'<div class="actions">{promote}{canary}</div>'


def _moment(said: str | None) -> str:
    """A time stamp as people read it; any other text as it is."""
    try:
        return f"{datetime.fromisoformat(said):%d %b %Y %H:%M}" if said else ""
    except ValueError:
        return said or ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value <= 1 else f"{value:.0f}"

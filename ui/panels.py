"""Everything but turns into HTML: conversation list, welcome, review queue, decisions, domain cards, users. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ui.render import Names, chip, esc, finding_chips, hit_table, notice, question, reading_chips, sources, title_of

if TYPE_CHECKING:
    from assistant.chats import Conversation
    from assistant.exams import Sat
    from assistant.packs import Pack, Problem
    from assistant.reviews import Decision, Ticket
    from assistant.tokens import Token
    from assistant.users import User
    from domains.pack import Domain

_VERDICTS = {"approve": "Approved", "edit": "Edited", "reject": "Rejected"}


def when(moment: datetime) -> str:
    """A time; page.js rewrites it in the reader's own time zone."""
    return f'<time datetime="{esc(moment.isoformat())}">{moment:%d %b %H:%M}</time>'


def button(act: str, label: str, *, key: str = "", text: str = "", kind: str = "", confirm: str = "") -> str:
    """A button that page.js turns into an event; ``confirm`` is what it asks before it acts."""
    ask = f' data-confirm="{esc(confirm)}"' if confirm else ""
    return (
        f'<button type="button" class="{esc(kind)}" data-act="{esc(act)}" data-id="{esc(key)}" '
        f'data-text="{esc(text)}"{ask}>{esc(label)}</button>'
    )


def header(user: User) -> str:
    """The bar at the top: product, theme, who is signed in, sign out."""
    return (
        '<header class="bar"><span class="brand"><i></i>Domain Assistant</span><span class="grow"></span>'
        '<button type="button" id="theme" data-local="theme" aria-label="Light or dark" title="Light or dark"></button>'
        f'<span class="who" id="who">{esc(user.name)}{chip(user.role) if user.role != "user" else ""}</span>'
        '<form method="post" action="logout"><button type="submit" id="sign-out">Sign out</button></form></header>'
    )


def conversations(items: Sequence[Conversation], current: int | None) -> str:
    """The user's conversations, newest first."""
    rows = "".join(_conversation(item, item.id == current) for item in items)
    empty = '<p class="hint">Your conversations will be listed here. Only you can see them.</p>'
    return f'<nav class="list" aria-label="Conversations">{rows or empty}</nav>'


def _conversation(item: Conversation, current: bool) -> str:
    key, title = str(item.id), item.title or "New conversation"
    return (
        f'<div class="item{" current" if current else ""}" id="conversation-{key}">'
        f"{button('open', title, key=key, kind='title')}"
        f'<details class="menu" id="menu-{key}"><summary aria-label="More">⋯</summary><div class="sheet">'
        f'<input type="text" maxlength="80" aria-label="New title" value="{esc(title)}">'
        f"{button('rename', 'Rename', key=key)}"
        f"{button('delete', 'Delete', key=key, kind='danger', confirm='Delete for good?')}</div></details></div>"
    )


def welcome(domains: Sequence[Domain], chosen: str) -> str:
    """What an empty conversation shows: what can be asked, by example."""
    shown = [domain for domain in domains if not chosen or domain.name == chosen]
    if not shown:
        return notice("No domain is live yet. An admin can add one under Domains.", "empty")
    if len(shown) == 1:
        manifest = shown[0].manifest
        head, cards = manifest.title, _suggestions(manifest.suggestions, manifest.name)
        lead = manifest.greeting
    else:
        head = "What would you like to know?"
        lead = "Every answer quotes its sources. What they do not cover is not answered."
        cards = "".join(
            f"<section><h3>{esc(one.manifest.title)}</h3>"
            f"{_suggestions(one.manifest.suggestions[:2], one.name)}</section>"
            for one in shown
        )
    return f'<div class="welcome"><h2>{esc(head)}</h2><p>{esc(lead)}</p><div class="cards">{cards}</div></div>'


def _suggestions(texts: Iterable[str], domain: str) -> str:
    return "".join(button("suggest", text, key=domain, text=text, kind="suggestion") for text in texts)


def queue(tickets: Sequence[Ticket], selected: int | None, names: Names) -> str:
    """The review queue, in the order in which it came: most urgent first."""
    rows = "".join(_ticket(ticket, ticket.id == selected, names) for ticket in tickets)
    empty = notice("Nothing to review. Flagged and held answers appear here by themselves.", "empty")
    return f'<div class="list queue" role="list">{rows or empty}</div>'


def _ticket(ticket: Ticket, current: bool, names: Names) -> str:
    waits = chip("User is waiting", kind="block") if ticket.held else ""
    reasons = "".join(chip(reason) for reason in ticket.reasons)
    return (
        f'<div class="item{" current" if current else ""}" role="listitem" id="ticket-{ticket.id}">'
        f"{button('open', ticket.turn.question[:140], key=str(ticket.id), kind='title')}"
        f'<div class="chips">{waits}{chip(title_of(ticket.domain, names), kind="domain")}{reasons}'
        f'<span class="age">priority {ticket.priority}, {when(ticket.created)}</span></div></div>'
    )


def ticket_detail(ticket: Ticket, names: Names) -> str:
    """What a reviewer needs to decide: question, draft, and all that led to it."""
    turn, key = ticket.turn, f"ticket-{ticket.id}"
    draft = "".join(f"<li>{esc(sentence)}</li>" for sentence in turn.dropped)
    parts = [
        f'<p class="caption">Question, masked</p>{question(turn.question)}',
        reading_chips(turn.reading, names),
        f'<p class="caption">Draft answer</p><div class="answer" dir="auto">{esc(turn.answer)}</div>',
        f'<p class="caption">Dropped by the grounding gate</p><ul class="dropped">{draft}</ul>' if draft else "",
        finding_chips(turn.findings),
        sources(turn.citations, key),
        f'<details class="why" id="hits-{ticket.id}"><summary>Passages found</summary>{hit_table(turn.hits)}</details>'
        if turn.hits
        else "",
    ]
    return f'<div class="ticket" data-ticket="{ticket.id}">{"".join(parts)}</div>'


def pick_a_ticket() -> str:
    """The detail pane before a ticket is chosen."""
    return notice("Choose an entry to see the question, the draft and its sources.", "empty")


def decisions(items: Sequence[Decision]) -> str:
    """The append-only record of what reviewers decided."""
    rows = "".join(
        f"<tr><td>{when(one.created)}</td><td>#{one.ticket_id}</td><td>{esc(one.reviewer)}</td>"
        f"<td>{esc(_VERDICTS.get(one.action, one.action))}</td><td>{esc(one.note or one.text)}</td>"
        f"<td><code>{esc(one.digest[:12])}</code></td><td><code>{esc(one.previous[:12])}</code></td></tr>"
        for one in items
    )
    if not rows:
        return notice("No decision yet. Each one is recorded here for good, chained by its digest.", "empty")
    columns = ("When", "Ticket", "Reviewer", "Decision", "Note or text", "Digest", "Previous")
    head = f"<tr>{''.join(f'<th>{column}</th>' for column in columns)}</tr>"
    return f'<div class="scroll"><table>{head}{rows}</table></div>'


def packs(live: Sequence[Pack], problems: Sequence[Problem], exams: Mapping[str, Sat], *, admin: bool) -> str:
    """Every pack as a card, refused ones first; ``exams`` by the packs' names, of those that have sat."""
    refused = "".join(
        f'<div class="card refused"><b>Refused: {esc(str(one.path))}</b><p>{esc(one.reason)}</p></div>'
        for one in problems
    )
    cards = "".join(_pack(pack, exams.get(pack.domain.name), admin=admin) for pack in live)
    empty = notice("No domain is live. A domain is one folder; add it below.", "empty")
    return f'<div class="packs">{refused}{cards or empty}</div>'


def _pack(pack: Pack, sat: Sat | None, *, admin: bool) -> str:
    manifest = pack.domain.manifest
    adapter = f"{pack.adapter.name} {pack.adapter.digest[:12]}" if pack.adapter else "base model"
    rows = [
        ("Passages", f"{pack.passages}"),
        ("Adapter", adapter),
        ("Index", pack.index.generation.name),
        ("Pack", pack.domain.digest[:12]),
    ]
    facts = "".join(f"<dt>{label}</dt><dd>{esc(value)}</dd>" for label, value in rows)
    state = chip("Live", kind="on") if pack.enabled else chip("Disabled", kind="off")
    origin = chip("Shipped") if pack.shipped else chip("Yours")
    return (
        f'<div class="card pack" id="pack-{esc(manifest.name)}"><h3>{esc(manifest.title)}</h3>'
        f'<div class="chips">{state}{origin}{chip(f"v{manifest.version}")}</div><p>{esc(manifest.description)}</p>'
        f"<dl>{facts}</dl>{_exam(sat) if sat else ''}{_pack_actions(pack) if admin else ''}</div>"
    )


def _exam(sat: Sat) -> str:
    """What a pack must refuse, escalate, disclaim and answer, and whether it does."""
    done = sat.cases - len(sat.failures)
    said = f"Policy exam: {done} of {sat.cases} as they must be"
    if sat.passed:
        shown = chip(said, kind="on", title="What it must refuse, escalate, disclaim and answer")
        return f'<div class="chips">{shown}</div>'
    rows = "".join(f"<li>{esc(question)}: {esc(why)}</li>" for question, why in sat.failures)
    return f'<details class="why"><summary>{esc(said)}</summary><ul class="dropped">{rows}</ul></details>'


def _pack_actions(pack: Pack) -> str:
    name = pack.domain.name
    switch = button("disable", "Disable", key=name) if pack.enabled else button("enable", "Enable", key=name)
    remove = "" if pack.shipped else button("remove", "Remove", key=name, kind="danger", confirm="Remove it?")
    return f'<div class="actions">{button("reload", "Reload", key=name)}{switch}{remove}</div>'


def users(items: Sequence[User]) -> str:
    """All users and their roles."""
    rows = "".join(f"<tr><td>{esc(one.name)}</td><td>{esc(one.role)}</td></tr>" for one in items)
    return f'<div class="scroll"><table><tr><th>Name</th><th>Role</th></tr>{rows}</table></div>'


def tokens(items: Sequence[Token]) -> str:
    """Somebody's tokens, each with a button that ends it."""
    if not items:
        return notice("You have no tokens.", "empty")
    rows = "".join(
        f"<tr><td>{esc(one.purpose)}</td><td>{when(one.created)}</td><td>{when(one.used) if one.used else 'never'}</td>"
        f"<td>{button('revoke', 'Revoke', key=str(one.id), kind='danger', confirm='Revoke it?')}</td></tr>"
        for one in items
    )
    head = "<tr><th>What uses it</th><th>Made</th><th>Last used</th><th></th></tr>"
    return f'<div class="scroll documents"><table>{head}{rows}</table></div>'


def token(secret: str) -> str:
    """A token that was just made."""
    return notice("Copy it now; it is not shown again.", "done") + f'<p class="secret"><code>{esc(secret)}</code></p>'

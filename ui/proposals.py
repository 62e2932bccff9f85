"""A labelling session into HTML: groups to name, the next question, doubtful labels, proposals, the file. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ui.panels import button
from ui.render import chip, esc, notice, percent

if TYPE_CHECKING:
    from assistant.annotation import Annotation, View

SHOWN = 3  # texts that stand for a group
GROUPS, DOUBTS, ROWS, CHOICES = 12, 5, 100, 8  # shown at most
FILE = "examples.jsonl"


def session(state: Annotation, seen: View, rows: Sequence[Mapping[str, Any]]) -> str:
    """Everything there is to do, in the order in which it helps most."""
    told = f"{len(state.texts)} texts, {len(state.known)} labelled by you or the file, {len(rows)} ready to download."
    return (
        f'<p class="caption" id="label-counts">{told}</p>'
        f"{_question(state, seen)}{_doubts(state, seen)}{_groups(state)}{_table(state, seen)}{_download(rows)}"
    )


def _question(state: Annotation, seen: View) -> str:
    if seen.asked is None:
        return "" if seen.proposals else notice("Name two groups, and labels spread from there.", "empty")
    likely, sure = seen.proposals[seen.asked]
    choices = [likely, *(label for label in seen.labels if label != likely)][:CHOICES]
    buttons = "".join(button("answer", label, key=str(seen.asked), text=label) for label in choices)
    return (
        '<div class="card" id="label-question"><b>This one would teach most</b>'
        f'<p dir="auto">{esc(state.texts[seen.asked])}</p><p class="hint">Proposed: {esc(likely)}, {percent(sure)}</p>'
        f'<div class="actions">{buttons}{_other("answer", str(seen.asked), "Another label")}</div></div>'
    )


def _doubts(state: Annotation, seen: View) -> str:
    cards = "".join(
        f'<div class="card doubt"><b>Wrong?</b><p dir="auto">{esc(state.texts[one.place])}</p><div class="actions">'
        f"{button('answer', f'Keep {one.given}', key=str(one.place), text=one.given)}"
        f"{button('answer', f'{one.likelier} {percent(one.probability)}', key=str(one.place), text=one.likelier)}"
        "</div></div>"
        for one in seen.doubts[:DOUBTS]
    )
    return f'<div id="label-doubts">{cards}</div>' if cards else ""


def _groups(state: Annotation) -> str:
    cards = "".join(
        f'<div class="card group"><b>{len(group.members)} texts like</b>'
        f"{''.join(f'<p dir=auto>{esc(state.texts[place])}</p>' for place in group.members[:SHOWN])}"
        f'<div class="actions">{button("name", group.name, key=str(number), text=group.name)}'
        f"{_other('name', str(number), 'Another name')}</div></div>"
        for number, group in enumerate(state.groups[:GROUPS])
    )
    return f'<div id="label-groups"><h3>Groups without a name</h3>{cards}</div>' if cards else ""


def _table(state: Annotation, seen: View) -> str:
    if not seen.proposals:
        return ""
    unsure = sorted(range(len(state.texts)), key=lambda place: seen.proposals[place][1])[:ROWS]
    rows = "".join(
        f'<tr><td dir="auto">{esc(state.texts[place])}</td><td>{esc(seen.proposals[place][0])}</td>'
        f"<td>{chip('yours') if place in state.known else percent(seen.proposals[place][1])}</td></tr>"
        for place in unsure
    )
    head = "<tr><th>Text, least sure first</th><th>Label</th><th>Sure</th></tr>"
    return f'<div class="scroll"><table id="label-proposals">{head}{rows}</table></div>'


def _download(rows: Sequence[Mapping[str, Any]]) -> str:
    """The file inside the link: nothing of it is left on the server."""
    if not rows:
        return ""
    lines = "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)
    content = base64.b64encode(lines.encode()).decode()
    return (
        f'<p><a id="label-download" download="{FILE}" href="data:application/jsonl;base64,{content}">'
        f"Download {FILE}</a></p>"
    )


def _other(act: str, key: str, label: str) -> str:
    return (
        f'<details class="menu" id="label-{act}-{key}"><summary>{esc(label)}</summary><div class="sheet">'
        f'<input type="text" maxlength="40" aria-label="{esc(label)}">{button(act, "Take it", key=key)}</div></details>'
    )

"""Turns into HTML. Pure functions; every text passes ``esc``, whoever wrote it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from assistant.record import Author, Citation, Explanation, Influence, Reading, Related, Sentence, Turn

if TYPE_CHECKING:
    from assistant.chats import StoredTurn
    from domains.api import Finding
    from domains.manifest import Manifest
    from retrieval.passage import Hit

Names = Mapping[str, "Manifest"]  # the live packs by name, for titles

_TEMPLATE = str.maketrans({"{": "&#123;", "$": "&#36;", "`": "&#96;"})  # gr.HTML is a JavaScript template: stay inert
_LINK = re.compile(r"https?://[^\s<>\"'&]+(?:&amp;[^\s<>\"'&]+)*")
_AUTHORS: dict[Author, str] = {
    "model": "From the model, checked",
    "quote": "Quoted from the sources",
    "policy": "Policy",
    "human": "Answered by a person",
}
_FAMILIES = {
    "pii": "Personal data",
    "injection": "Instruction in the text",
    "crisis": "Crisis",
    "emergency": "Emergency",
    "toxicity": "Abusive language",
    "rule": "Rule",
    "check": "Check",
    "fact": "Fact",
}
SURE = 0.65  # probability from which a sentiment is shown; below it the chip would mislead
_STATES = {
    "released": "Checked and released by a person",
    "edited": "Corrected by a person",
}
_STALE = {
    "changed": ("changed since", "This passage was changed after it was quoted. Below it stands as it was then."),
    "gone": ("no longer there", "This passage is no longer among the documents. Below it stands as it was quoted."),
}
WITHDRAWN = (
    "A person looked at this answer and decided not to send it. You can ask in other words, or ask to talk to a person."
)
WAITING = "Being checked by a person. The answer will appear here by itself; you can close this page and come back."


def esc(text: str) -> str:
    """Text that is safe between tags and inside quoted attributes, and inert in Gradio's templates."""
    return html.escape(text, quote=True).translate(_TEMPLATE)


def percent(probability: float) -> str:
    """A probability as people read it."""
    return f"{probability:.0%}"


def chip(label: str, *, kind: str = "", title: str = "") -> str:
    """A small rounded label."""
    hint = f' title="{esc(title)}"' if title else ""
    return f'<span class="chip {esc(kind)}"{hint}>{esc(label)}</span>'


def notice(text: str, kind: str = "warn") -> str:
    """A sentence set apart, for errors and empty states."""
    return f'<div class="notice {esc(kind)}" role="status">{esc(text)}</div>'


def linked(source: str) -> str:
    """A source with its http(s) addresses made clickable; no other scheme ever becomes a link."""
    return _LINK.sub(lambda match: _anchor(match[0]), esc(source))


def _anchor(address: str) -> str:
    kept = address.rstrip(".,;:)")
    return f'<a href="{kept}" target="_blank" rel="noopener noreferrer nofollow">{kept}</a>{address[len(kept) :]}'


def reading_chips(reading: Reading, names: Names) -> str:
    """How the question was understood: domain, intent, sentiment, each with its probability."""
    manifest = names.get(reading.domain or "")
    parts = [_domain_chip(reading, names)]
    if reading.intent:
        intent = manifest.intent(reading.intent) if manifest else None
        label = intent.title if intent else reading.intent.replace("_", " ")
        parts.append(chip(f"{label} {percent(reading.intent_probability)}", kind="intent", title="Intent"))
    if reading.sentiment != "neutral" and reading.sentiment_probability >= SURE:
        label = f"{reading.sentiment} {percent(reading.sentiment_probability)}"
        parts.append(chip(label.capitalize(), kind=f"sentiment {reading.sentiment}", title="Sentiment"))
    return f'<div class="chips reading">{"".join(parts)}</div>'


def title_of(domain: str, names: Names) -> str:
    """A pack's title, or its name where it is no longer live."""
    return names[domain].title if domain in names else domain.replace("_", " ")


def _domain_chip(reading: Reading, names: Names) -> str:
    if reading.domain is None:
        return chip("Domain unclear", kind="domain", title="No domain is likely enough")
    how = "chosen" if reading.chosen else percent(reading.domain_probability)
    return chip(f"{title_of(reading.domain, names)} {how}", kind="domain", title="Domain")


def finding_chips(findings: Iterable[Finding]) -> str:
    """What the filters found."""
    chips = "".join(_finding(finding) for finding in findings)
    return f'<div class="chips findings">{chips}</div>' if chips else ""


def _finding(finding: Finding) -> str:
    family, _, rest = finding.code.partition(".")
    label = ": ".join(filter(None, (_FAMILIES.get(family, family), rest.replace(".", ", ").replace("_", " "))))
    return chip(label, kind=finding.severity, title=f"{finding.severity}, in the {finding.where}: {finding.quote}")


def _group(citations: Iterable[Citation]) -> dict[tuple[int, str], list[Citation]]:
    groups: dict[tuple[int, str], list[Citation]] = {}
    for citation in citations:
        groups.setdefault((citation.number, citation.passage_id), []).append(citation)
    return groups


def marked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """A passage with its quoted spans marked. Spans may overlap and lie in any order."""
    pieces, done = [], 0
    for start, end in sorted(spans):
        start, end = max(start, done), min(end, len(text))
        if start < end:
            pieces += [esc(text[done:start]), f"<mark>{esc(text[start:end])}</mark>"]
            done = end
    return "".join([*pieces, esc(text[done:])])


def sources(citations: Iterable[Citation], key: str) -> str:
    """The quoted passages, one disclosure a number; ``key`` makes their ids unique on the page."""
    items = [_source(number, group, key) for (number, _), group in sorted(_group(citations).items())]
    return f'<div class="sources">{"".join(items)}</div>' if items else ""


def _source(number: int, group: Sequence[Citation], key: str) -> str:
    first = group[0]
    passage = marked(first.text, ((citation.start, citation.end) for citation in group))
    return (
        f'<details class="source" id="cite-{esc(key)}-{number}">'
        f'<summary><span class="number">{number}</span>{esc(first.heading)}{_stale_chip(first)}</summary>'
        f"{_stale(first)}"
        f'<blockquote dir="auto">{passage}</blockquote>'
        f'<div class="meta">{linked(first.source)} · <code title="SHA-256 of the passage when it was quoted">'
        f"sha256 {esc(first.sha256[:12])}</code></div></details>"
    )


def _stale_chip(citation: Citation) -> str:
    return chip(_STALE[citation.stale][0], kind="review") if citation.stale else ""


def _stale(citation: Citation) -> str:
    return notice(_STALE[citation.stale][1]) if citation.stale else ""


def _markers(citations: Iterable[Citation], key: str) -> str:
    numbers = sorted({citation.number for citation in citations})
    return "".join(
        f'<button type="button" class="cite" data-cite="cite-{esc(key)}-{number}" '
        f'aria-label="Show source {number}">{number}</button>'
        for number in numbers
    )


def answer(text: str, sentences: Sequence[str], citations: Sequence[Citation], key: str) -> str:
    """The whole answer, with citation numbers behind the sentences they support."""
    pieces, done, placed = [], 0, 0
    for index, sentence in enumerate(sentences):
        at = text.find(sentence, done)
        cited = [citation for citation in citations if citation.sentence == index]
        if at < 0 or not cited:
            continue
        end = at + len(sentence)
        pieces += [esc(text[done:end]), _markers(cited, key)]
        done, placed = end, placed + len(cited)
    rest = "" if placed else _markers(citations, key)
    return f'<div class="answer" dir="auto">{"".join(pieces)}{esc(text[done:])}{rest}</div>'


def question(text: str) -> str:
    """What the user asked."""
    return f'<div class="question" dir="auto">{esc(text)}</div>'


def live(text: str, step: str, reading: Reading | None, sentences: Sequence[Sentence], names: Names) -> str:
    """A turn while it happens. ``step`` is "" once there is nothing to wait for."""
    parts = [reading_chips(reading, names) if reading else ""]
    spoken = " ".join(esc(one.text) + _markers(one.citations, "live") for one in sentences)
    parts.append(f'<div class="answer" dir="auto">{spoken}</div>' if sentences else "")
    parts.append(sources([citation for one in sentences for citation in one.citations], "live"))
    parts.append(f'<div class="status" role="status"><i></i>{esc(step)}</div>' if step else "")
    return f'<article class="turn live">{question(text)}<div class="reply">{"".join(parts)}</div></article>'


def stored(one: StoredTurn, names: Names, *, last: bool = False) -> str:
    """A turn as it was stored. A held or withdrawn answer never reaches the page."""
    turn, key = one.turn, str(one.id)
    if one.state == "running":
        return live(turn.question, "Being answered", None, (), names)
    if one.state == "held":
        body = _held()
    elif one.state == "rejected" and turn.author != "human":
        body = notice(WITHDRAWN, "withdrawn")
    else:
        body = _body(turn, key, one.state, names, last=last)
    return (
        f'<article class="turn" id="turn-{key}" data-outcome="{esc(turn.outcome)}" data-state="{esc(one.state)}">'
        f'{question(turn.question)}<div class="reply">{reading_chips(turn.reading, names)}{body}</div></article>'
    )


def _held() -> str:
    return f'<div class="held" role="status"><i></i><div><b>One moment</b><p>{esc(WAITING)}</p></div></div>'


def _body(turn: Turn, key: str, state: str, names: Names, *, last: bool) -> str:
    text = answer(turn.answer, turn.sentences, turn.citations, key)
    if turn.outcome == "escalated":
        text = f'<div class="crisis" role="alert"><b>Please get help now</b>{text}</div>'
    asks = last and turn.outcome == "clarify" and turn.reading.domain is None
    parts = [
        text,
        candidates(turn.reading, key, names) if asks else "",
        sources(turn.citations, key),
        nearest(turn.hits, key) if turn.outcome == "unknown" else "",
        finding_chips(turn.findings),
        f'<div class="foot">{badge(turn)}{chip(_STATES[state], kind="human") if state in _STATES else ""}',
        f"{why(turn, key)}{flag(key)}</div>",
    ]
    return "".join(parts)


def badge(turn: Turn) -> str:
    """Who speaks."""
    label = f"Tool: {turn.tool}" if turn.author == "tool" else _AUTHORS[turn.author]
    return chip(label, kind=f"author {turn.author}")


def flag(key: str) -> str:
    """The form with which a user says that an answer is wrong."""
    return (
        f'<details class="flag" id="flag-{esc(key)}"><summary>Report a problem</summary><div class="sheet">'
        '<textarea rows="2" maxlength="2000" aria-label="What is wrong?" placeholder="What is wrong with this answer?">'
        f'</textarea><button type="button" data-act="flag" data-id="{esc(key)}">Send to a person</button>'
        "</div></details>"
    )


def candidates(reading: Reading, key: str, names: Names) -> str:
    """Which domain was meant? One button each."""
    buttons = "".join(
        f'<button type="button" class="pick" data-act="clarify" data-id="{esc(key)}" data-text="{esc(name)}">'
        f"{esc(title_of(name, names))}</button>"
        for name in reading.candidates
    )
    return f'<div class="picks">{buttons}</div>' if buttons else ""


def nearest(hits: Sequence[Hit], key: str) -> str:
    """The closest articles, where the sources hold no answer."""
    items = "".join(
        f'<details class="source" id="near-{esc(key)}-{number}"><summary>{esc(hit.passage.heading)}</summary>'
        f'<blockquote dir="auto">{esc(hit.passage.text)}</blockquote>'
        f'<div class="meta">{linked(hit.passage.source)}</div></details>'
        for number, hit in enumerate(hits[:3], start=1)
    )
    return f'<div class="sources"><p class="caption">Nearest articles</p>{items}</div>' if items else ""


def why(turn: Turn, key: str) -> str:
    """Everything behind an answer, folded."""
    rows = [
        ("Outcome", turn.outcome),
        ("Evidence", "" if turn.evidence is None else f"{percent(turn.evidence)} that the passages answer this"),
        ("Adapter", turn.adapter[:12] if turn.adapter else "none: the base model or no model at all"),
        ("Index generation", turn.index or ""),
        ("Timings", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in turn.timings.items())),
        ("For review", "; ".join(turn.reasons)),
    ]
    facts = "".join(f"<dt>{label}</dt><dd>{esc(value)}</dd>" for label, value in rows if value)
    return (
        f'<details class="why" id="why-{esc(key)}"><summary>Why this answer?</summary>'
        f"<dl>{facts}</dl>{explained(turn.explanations)}{related(turn.facts)}"
        f"{hit_table(turn.hits)}{dropped(turn.dropped)}</details>"
    )


def scrolled(head: str, rows: str, attributes: str = "") -> str:
    """A table that scrolls by itself where it is too wide; nothing where it has no rows."""
    return f'<div class="scroll"><table{attributes}>{head}{rows}</table></div>' if rows else ""


def explained(explanations: Sequence[Explanation]) -> str:
    """The words that drove each prediction, those against it marked, and the nearest examples."""
    rows = "".join(
        f"<tr><td>{esc(one.of.capitalize())}: {esc(one.label.replace('_', ' '))}</td>"
        f"<td>{' '.join(_influence(word) for word in one.words)}</td></tr>"
        for one in explanations
        if one.words
    )
    near = "".join(f"<li>{esc(text)}</li>" for one in explanations for text in one.nearest)
    head = "<tr><th>Read as</th><th>because of these words</th></tr>"
    return scrolled(head, rows) + (f'<p class="caption">Nearest known examples</p><ul>{near}</ul>' if near else "")


def _influence(word: Influence) -> str:
    sign = "for" if word.weight > 0 else "against"
    return chip(f"{word.word} {word.weight:+.1f}", kind=sign, title=f"speaks {sign} it, in logits")


def related(facts: Sequence[Related]) -> str:
    """The pack's facts near the question, each with the article that says so."""
    rows = "".join(
        f"<tr><td>{esc(one.subject)}</td><td>{esc(one.predicate)}</td><td>{esc(one.object)}</td>"
        f'<td>{esc(one.title)}<div class="hint">{linked(one.source)}</div></td></tr>'
        for one in facts
    )
    head = "<tr><th>Related fact</th><th></th><th></th><th>from the article</th></tr>"
    return scrolled(head, rows, ' class="facts"')


def hit_table(hits: Sequence[Hit]) -> str:
    """What the search found, with its scores."""
    rows = "".join(
        f"<tr><td>{esc(hit.passage.heading)}</td><td>{hit.score:.3f}</td><td>{hit.cosine:.2f}</td>"
        f"<td>{hit.bm25:.1f}</td><td>{hit.sentence:.2f}</td></tr>"
        for hit in hits
    )
    head = "<tr><th>Passage found</th><th>fused</th><th>cosine</th><th>BM25</th><th>sentence</th></tr>"
    return scrolled(head, rows)


def dropped(sentences: Sequence[str]) -> str:
    """What the model wrote and no source supports; never part of an answer."""
    items = "".join(f"<li>{esc(sentence)}</li>" for sentence in sentences)
    caption = '<p class="caption">Not said, because no source supports it</p>'
    return f'{caption}<ul class="dropped">{items}</ul>' if items else ""

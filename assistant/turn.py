"""One chat turn, from a question to a checked answer. Does no I/O of its own.

Read ``take_turn`` top to bottom: screen, read, respond, and check each sentence before it is shown.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from adapters.canary import Canary
from adapters.chat import ChatModel, Sampling
from adapters.store import Adapter
from assistant import answer, facts, safety, tone
from assistant.answer import Draft, Found
from assistant.clock import Clock
from assistant.detectors import Detectors, shipped
from assistant.explain import explain
from assistant.hearing import Heard, hear
from assistant.packs import Pack
from assistant.reader import ANYWHERE, NOWHERE, Reader
from assistant.record import Done, Event, Outcome, Reading, Sentence, Turn, Understood
from assistant.tone import Tone
from assistant.words import normalise
from domains.api import Exchange, Finding, Reply, Request
from domains.manifest import Intent, Responder, Rule
from domains.pack import Domain
from retrieval.embedder import Embedder, Vectors
from retrieval.passage import sentences

OUT_OF_SCOPE = (
    "I don't know: that is outside what I have sources for, and I won't guess. I can help with {titles}. "
    "Ask me about one of those."
)
WHICH = "I am not sure what this is about. Is it about {titles}?"
NO_PACKS = "I don't know: no domain pack is loaded. An administrator sees the reason in the Domains tab."
ESCALATE_AT = 0.88  # probability, summed over the intents that escalate, from which they do
LONG = 14  # words from which the question inside a longer message is searched for by itself, too
ROUTE_BY_EVIDENCE_AT = 0.8  # evidence that overrules a router that is not sure
OFFER_BY_EVIDENCE_AT = 0.2  # … below which a domain is not offered to choose from: it would not know either
CANDIDATE_AT = 0.15  # probability from which a domain is offered to choose from
CLOSE = 0.2  # … by which the likeliest domain must lead the next one
STAY_AT = 0.2  # … from which the conversation stays in its domain
_OUTCOME: dict[Responder, Outcome] = {
    "small_talk": "answered",
    "handover": "handover",
    "refuse": "refused",
    "escalate": "escalated",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What a turn works with; chosen once, in ``assistant.app``."""

    model: ChatModel
    embedder: Embedder
    reader: Reader
    packs: Mapping[str, Pack]  # live and enabled
    sampling: Sampling = field(default_factory=Sampling)
    detectors: Detectors = field(default_factory=shipped)
    tone: Tone | None = None  # how financial texts sound
    canaries: Mapping[str, tuple[Canary, Adapter]] = field(default_factory=dict)  # those that run, by adapter's name


@dataclass(frozen=True, slots=True)
class Question:
    """What the user asked, and where in a conversation."""

    text: str
    domain: str | None = None  # the user's choice; None routes
    history: tuple[Exchange, ...] = ()  # oldest first
    previous: str | None = None  # domain of the last turn
    awaited: bool = False  # the last turn was a tool asking for something
    groups: frozenset[str] = frozenset()  # whose passages the asker may read, beside those of everybody
    conversation: int | None = None  # decides whether a canary speaks; None: it does not


def take_turn(parts: Parts, question: Question) -> Iterator[Event]:
    """Answer a question; the last event is ``Done`` with the whole turn."""
    clock = Clock()
    heard = hear(question.text, question.history, parts.embedder, parts.detectors)
    reading = read(parts, question, heard)
    clock.mark("read")
    yield Understood(reading)
    pack = _voiced(parts, parts.packs.get(reading.domain or ""), question.conversation)
    screened = safety.screen(heard, concerned(parts, reading, heard.alone), pack.domain if pack else None)
    clock.mark("screened")
    if screened.emergency:
        draft = answer.said("escalated", "policy", screened.emergency.reply)
    elif safety.blocked(screened.findings):
        draft = _refused(screened.findings, pack, heard.text)
    elif pack is None:
        draft = _unrouted(parts, reading, heard.vector)
    else:
        draft = yield from respond(parts, pack, replace(question, text=heard.text), heard, reading, clock)
    clock.mark("total")
    turn = _turn(question, reading, pack, screened.findings, draft, clock)
    why = explain(parts.embedder, parts.reader, reading, heard.context, heard.vector)
    near = pack.graph.near(heard.context, draft.hits) if pack and draft.hits else ()
    yield Done(replace(turn, explanations=why, facts=near))


def read(parts: Parts, question: Question, heard: Heard) -> Reading:
    """Which domain, intent and mood; no domain where the assistant is not sure enough."""
    vector = heard.vector
    domain, probability, candidates = _route(parts, question, heard.context, vector)
    intent, sure = parts.reader.intent(domain, vector) if domain else ("", 0.0)
    mood, mood_probability = parts.reader.mood(vector)
    chosen = question.domain in parts.packs
    return Reading(domain, probability, chosen, candidates, intent, sure, mood, mood_probability)


def respond(
    parts: Parts, pack: Pack, question: Question, heard: Heard, reading: Reading, clock: Clock
) -> Generator[Event, None, Draft]:
    """The first that answers: the pack's rules, its tool, its fixed replies, its sources; then what all are due."""
    domain = pack.domain
    intent = _sure_intent(domain, reading)
    reasons = _for_a_person(domain, intent, heard)
    draft = _unsearched(parts, pack, question, heard, intent)
    if draft is None:
        context, found = _find(parts, pack, heard.context, heard.vector, question.groups)
        clock.mark("searched")
        if found.evidence < domain.manifest.thresholds.evidence:
            draft = Draft("unknown", "policy", hits=found.hits, evidence=found.evidence, findings=found.findings)
        else:
            mode = "hold" if reasons or _weak(domain, found.evidence) else domain.manifest.release
            steps = answer.from_sources(parts.model, parts.sampling, pack, found, context, clock)
            draft = yield from _release(steps, mode)
    return _due(domain, draft, intent, heard, reasons)


def _unsearched(parts: Parts, pack: Pack, question: Question, heard: Heard, intent: Intent | None) -> Draft | None:
    """What is said without looking into the sources; None where they are to answer."""
    domain, text = pack.domain, question.text
    if _escalates(parts.reader, domain, heard.vector):
        return _fixed(domain, "escalate", intent)
    if rule := _first(domain.rules.must_refuse, heard):
        return answer.said("refused", "policy", rule.reply or domain.manifest.refusals.policy, _finding(rule, "block"))
    reply = domain.hooks.respond(_request(pack, question, intent)) if domain.hooks.respond else None
    if reply:
        return _by_tool(domain, reply)
    if parts.tone and (quoted := _for_its_tone(parts, domain, question, intent)) is not None:
        return tone.reply(parts.tone, quoted)
    refused = domain.manifest.intent(parts.reader.refused(domain.name, text, heard.vector) or "")
    if refused and refused.responder == "refuse":
        return _fixed(domain, "refuse", refused)
    return _fixed(domain, intent.responder, intent) if intent and intent.responder in _OUTCOME else None


def _due(domain: Domain, draft: Draft, intent: Intent | None, heard: Heard, reasons: tuple[str, ...]) -> Draft:
    """The draft with its disclaimer, held where a person must see it first; of a fixed text a person is only told."""
    if draft.outcome not in ("answered", "unknown", "handover"):
        return draft
    if draft.author == "policy":
        reasons = tuple(f"unanswered: {reason}" for reason in reasons)
    else:
        reasons = tuple(f"held: {reason}" for reason in (*reasons, *_weak(domain, draft.evidence)))
    due = _disclaimer(domain, intent, heard) if draft.outcome == "answered" else ()
    return replace(draft, reasons=reasons + draft.reasons, sentences=draft.sentences + due)


def _by_tool(domain: Domain, reply: Reply) -> Draft:
    """What the pack's tool says, where no rule forbids a sentence of it. The tool itself is the source of its data."""
    found = tuple(
        finding
        for start, end in sentences(reply.text)
        for finding in safety.screen_output(reply.text[start:end], [reply.text], domain)
    )
    if safety.blocked(found):
        draft = answer.said("refused", "policy", domain.manifest.refusals.policy, *found)
        return replace(draft, dropped=(reply.text,), reasons=(f"the tool {reply.tool!r} said what may not be said",))
    return answer.said("answered" if reply.complete else "clarify", "tool", reply.text, *found, tool=reply.tool)


def _voiced(parts: Parts, pack: Pack | None, conversation: int | None) -> Pack | None:
    """The pack, with the canary's adapter in the conversations that it gets."""
    found = parts.canaries.get(pack.domain.manifest.adapter or "") if pack and conversation is not None else None
    if found is None or pack is None or conversation is None or pack.adapter is None:
        return pack
    canary, adapter = found
    return replace(pack, adapter=adapter) if canary.takes(conversation) else pack


def _find(parts: Parts, pack: Pack, text: str, vector: Vectors, groups: frozenset[str]) -> tuple[str, Found]:
    """Search for the whole message; where that finds too little, for the question inside a long one."""
    found = answer.search(pack, text, vector, groups)
    spans = sentences(text)
    enough = found.evidence >= pack.domain.manifest.thresholds.evidence
    if enough or len(spans) < 2 or len(text.split()) < LONG:
        return text, found
    asked = [text[start:end] for start, end in spans if text[end - 1] == "?"] or [text[slice(*spans[-1])]]
    alone = answer.search(pack, asked[-1], parts.embedder.embed([asked[-1]])[0], groups)
    return (asked[-1], alone) if alone.evidence > found.evidence else (text, found)


def concerned(parts: Parts, reading: Reading, vector: Vectors) -> list[Domain]:
    """The packs whose crisis rules hold: the one that answers and the one it sounds like, or all when neither is."""
    likeliest = next((name for name, _ in parts.reader.domains(vector) if name in parts.packs), None)
    names = dict.fromkeys(filter(None, (reading.domain, likeliest))) if reading.domain else parts.packs
    return [parts.packs[name].domain for name in names]


def _route(
    parts: Parts, question: Question, context: str, vector: Vectors
) -> tuple[str | None, float, tuple[str, ...]]:
    if question.domain in parts.packs:
        return question.domain, 1.0, (question.domain,) if question.domain else ()
    ranked = parts.reader.domains(vector)
    odds = dict(ranked)
    candidates = tuple(name for name, p in ranked if name in parts.packs and p >= CANDIDATE_AT)[:3]
    previous = question.previous if question.previous in parts.packs else None
    label, probability = ranked[0]
    if previous and (question.awaited or context != normalise(question.text) or label == ANYWHERE):
        return previous, odds.get(previous, 0.0), candidates
    if label == ANYWHERE:
        return next(iter(parts.packs)), probability, candidates
    next_best = max((p for name, p in ranked[1:] if name in parts.packs), default=0.0)
    leads = probability - next_best >= CLOSE
    if leads and label in parts.packs and probability >= parts.packs[label].domain.manifest.thresholds.route:
        return label, probability, candidates
    if previous and odds.get(previous, 0.0) >= STAY_AT:
        return previous, odds[previous], candidates
    weighed = {
        name: answer.search(pack, context, vector, question.groups).evidence for name, pack in parts.packs.items()
    }
    strong = [name for name, weight in weighed.items() if weight >= ROUTE_BY_EVIDENCE_AT]
    if strong:
        best = max(strong, key=lambda name: odds.get(name, 0.0))
        return best, odds.get(best, 0.0), candidates
    likely = tuple(name for name in candidates if weighed[name] >= OFFER_BY_EVIDENCE_AT)
    return None, probability, () if label == NOWHERE else likely


def _refused(findings: Sequence[Finding], pack: Pack | None, text: str) -> Draft:
    reply = safety.refusal(findings, pack.domain if pack else None, text)
    crashed = any(finding.code == safety.CRASHED for finding in findings)
    reasons = ("a filter gave no answer",) if crashed else ()
    return replace(answer.said("refused", "policy", reply), reasons=reasons)


def _topic(parts: Parts, name: str, vector: Vectors) -> str:
    """What the question would be about in a pack: its likeliest intent there, where that is likely at all."""
    manifest = parts.packs[name].domain.manifest
    label, probability = parts.reader.intent(name, vector)
    intent = manifest.intent(label) if probability >= manifest.thresholds.intent else None
    asks = intent is not None and intent.responder in ("retrieval", "tool")
    return f"{intent.title} ({manifest.title})" if asks and intent else manifest.title


def _unrouted(parts: Parts, reading: Reading, vector: Vectors) -> Draft:
    titles = {name: pack.domain.manifest.title for name, pack in parts.packs.items()}
    if not titles:
        return answer.said("unknown", "policy", NO_PACKS)
    if reading.candidates:
        about = [_topic(parts, name, vector) for name in reading.candidates]
        return answer.said("clarify", "policy", WHICH.format(titles=_listed(about, "or")))
    return answer.said("unknown", "policy", OUT_OF_SCOPE.format(titles=_listed(list(titles.values()), "and")))


def _listed(titles: Sequence[str], word: str) -> str:
    return f" {word} ".join(filter(None, [", ".join(titles[:-1]), titles[-1]]))


def _sure_intent(domain: Domain, reading: Reading) -> Intent | None:
    """The intent that was read, where it is sure enough to act on; refusing is decided by ``Reader.refused``."""
    intent = domain.manifest.intent(reading.intent)
    if intent is None or intent.responder == "refuse":
        return None
    needed = ESCALATE_AT if intent.responder == "escalate" else domain.manifest.thresholds.intent
    return intent if reading.intent_probability >= needed else None


def _escalates(reader: Reader, domain: Domain, vector: Vectors) -> bool:
    names = {intent.name for intent in domain.manifest.intents if intent.responder == "escalate"}
    head = reader.intents.get(domain.name)
    return head is not None and sum(p for name, p in head.probabilities(vector) if name in names) >= ESCALATE_AT


def _for_its_tone(parts: Parts, domain: Domain, question: Question, intent: Intent | None) -> str | None:
    """The text whose tone is asked for, "" where it is still missing; None where something else is asked."""
    if question.history and question.history[-1].answer == tone.ASK:
        return question.text
    names = {one.name for one in domain.manifest.intents if one.responder == "tone"}
    frame, quoted = tone.split(question.text)
    if names and quoted and frame:  # the quotation must not decide what is asked about it
        return quoted if parts.reader.intent(domain.name, parts.embedder.embed([frame])[0])[0] in names else None
    return "" if intent and intent.name in names else None


def _fixed(domain: Domain, responder: Responder, intent: Intent | None) -> Draft:
    manifest = domain.manifest
    fallback = manifest.crisis_text if responder == "escalate" else manifest.refusals.policy
    own = intent.reply if intent and intent.responder == responder else None
    name = intent.name if intent else responder
    findings = (Finding(f"intent.{name}", "block", "input", name),) if responder in ("refuse", "escalate") else ()
    return answer.said(_OUTCOME[responder], "policy", own or fallback, *findings)


def _request(pack: Pack, question: Question, intent: Intent | None) -> Request:
    return Request(question.text, intent.name if intent else "", question.history, pack.domain.root, pack.data)


def _finding(rule: Rule, severity: str) -> Finding:
    return Finding(f"rule.{rule.code}", "block" if severity == "block" else "review", "input", rule.reason)


def _first(rules: Sequence[Rule], heard: Heard) -> Rule | None:
    """The first rule that applies to what was written or, undisguised and in its context, meant."""
    return next(filter(None, (safety.first(rules, text) for text in (heard.text, *heard.readings))), None)


def _for_a_person(domain: Domain, intent: Intent | None, heard: Heard) -> tuple[str, ...]:
    """Why a person must see to the question, whatever answers it."""
    asked = (f"the pack asks for a person on “{intent.title}”",) if intent and intent.hold else ()
    rule = _first(domain.rules.must_hold, heard)
    return (*asked, rule.reason) if rule else asked


def _weak(domain: Domain, evidence: float | None) -> tuple[str, ...]:
    weak = evidence is not None and evidence < domain.manifest.review.hold_below_evidence
    return (f"the evidence is weak ({evidence:.2f})",) if weak else ()


def _disclaimer(domain: Domain, intent: Intent | None, heard: Heard) -> tuple[str, ...]:
    wanted = (intent and intent.disclaim) or _first(domain.rules.must_disclaim, heard)
    return (domain.manifest.disclaimer,) if wanted and domain.manifest.disclaimer else ()


def _release(steps: Generator[Event, None, Draft], mode: str) -> Generator[Event, None, Draft]:
    """Pass events on; sentences leave at once, all at the end ("whole"), or not before a person says so ("hold")."""
    waiting: list[Event] = []
    while True:
        try:
            event = next(steps)
        except StopIteration as end:
            draft: Draft = end.value
            break
        if mode == "sentence" or not isinstance(event, Sentence):
            yield event
        else:
            waiting.append(event)
    if mode == "whole":
        yield from waiting
    return draft


def _turn(
    question: Question, reading: Reading, pack: Pack | None, findings: tuple[Finding, ...], draft: Draft, clock: Clock
) -> Turn:
    unknown = draft.outcome == "unknown" and pack is not None and not draft.sentences
    sentences = (pack.domain.manifest.refusals.unknown,) if unknown and pack else draft.sentences
    return Turn(
        question=question.text,
        answer=" ".join(sentences),
        outcome=draft.outcome,
        author=draft.author,
        reading=reading,
        hits=draft.hits,
        evidence=draft.evidence,
        sentences=sentences,
        citations=draft.citations,
        dropped=draft.dropped,
        findings=findings + draft.findings,
        tool=draft.tool,
        adapter=pack.adapter.digest if pack and pack.adapter and draft.author == "model" else None,
        voice=pack.adapter.digest if pack and pack.adapter else None,
        index=pack.index.generation.name if pack else None,
        timings=dict(clock.marks),
        reasons=_reasons(reading, pack, findings, draft),
        held=any(reason.startswith("held:") for reason in draft.reasons),
    )


def _reasons(reading: Reading, pack: Pack | None, findings: Sequence[Finding], draft: Draft) -> tuple[str, ...]:
    reasons = list(draft.reasons)
    if draft.outcome in ("escalated", "handover"):
        reasons.append("a person may be in danger" if draft.outcome == "escalated" else "the user asked for a person")
    reasons += [
        f"{finding.code}: {finding.quote}"
        for finding in (*findings, *draft.findings)
        if finding.severity == "review" or finding.code == facts.CONTRADICTED  # a source needs to be put right
    ]
    if (
        pack
        and pack.domain.manifest.review.flag_negative
        and reading.sentiment == "negative"
        and reading.sentiment_probability >= 0.8
    ):
        reasons.append("the user seems unhappy")
    return tuple(reasons)

"""The HTTP API: the same turns for programs, by token. One endpoint of our own, and those that OpenAI's clients know.

A held answer never leaves before a person decides; ``GET /api/conversations/N`` brings it then.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from assistant.chats import BusyError, ChatError
from assistant.record import LONGEST, Citation, Done, Sentence, Turn
from assistant.users import User
from domains.api import Exchange
from ui.access import GENERIC, log
from ui.render import WAITING, WITHDRAWN

if TYPE_CHECKING:
    from assistant.app import App
    from assistant.chats import StoredTurn

PATHS = ("/api/", "/v1/")
AUTO = "auto"  # the model's name that lets the router choose
BIGGEST = 1_000_000  # bytes of a request
LARGEST = 2**31 - 1  # id of a conversation that a database holds
_HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair, alone: no text, and no database takes it
Number = Annotated[int, Field(ge=1, le=LARGEST)]


class Body(BaseModel):
    """What a caller sends; what is not known is passed over, as OpenAI's clients send much."""

    model_config = ConfigDict(extra="ignore")

    @field_validator("*")
    @classmethod
    def _is_text(cls, value: object) -> object:
        if isinstance(value, str) and (half := _HALF.search(value)):
            raise ValueError(f"expected text, found {half[0]!r}, which is half of a surrogate pair")
        return value


class Ask(Body):
    """A question."""

    question: str
    domain: str | None = None
    conversation: Number | None = None


class Part(Body):
    """A piece of a message."""

    type: str
    text: str = ""


class ChatMessage(Body):
    """A message in OpenAI's format."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    @property
    def text(self) -> str:
        """What it says."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class Completion(Body):
    """A request in OpenAI's format; the system's messages are not followed, as instructions are the packs' alone."""

    model: str = AUTO
    messages: list[ChatMessage] = Field(min_length=1, max_length=200)
    stream: bool = False
    conversation: Number | None = None  # of ours: go on there, and not from ``messages``


def caller(request: Request) -> User:
    """Whose token came with a request."""
    app: App = request.app.state.product
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    user = app.tokens.check(token.strip()) if kind.lower() == "bearer" else None
    if user is None:
        found = "a token that is not known" if token else "no token"
        raise HTTPException(
            401, f"expected 'Authorization: Bearer da_…', found {found}; 'assistant users token NAME' makes one"
        )
    return user


Caller = Annotated[User, Depends(caller)]


def add_api(web: FastAPI, app: App) -> None:
    """Add the endpoints and their errors to ``web``. ``Gate`` lets them through; each asks for a token itself."""

    api = APIRouter()
    web.state.product = app

    @api.post("/api/ask")
    def ask(body: Ask, user: Caller) -> dict[str, Any]:
        _check_domain(app, body.domain)
        conversation, events = _ask(app, user, body.conversation, body.question, body.domain)
        turn, number = _finished(events)
        return {"conversation": conversation, **_public(turn, number, "held" if turn.held else "final")}

    @api.get("/api/conversations/{conversation}")
    def turns(conversation: Annotated[int, Path(ge=1, le=LARGEST)], user: Caller) -> dict[str, Any]:
        stored = app.chats.messages(user.name, conversation)
        return {"conversation": conversation, "turns": [_stored(one) for one in stored]}

    @api.get("/v1/models")
    def models(user: Caller) -> dict[str, Any]:  # noqa: ARG001 - who asks has to be known
        names = [AUTO, *app.packs.enabled()]
        return {"object": "list", "data": [{"id": one, "object": "model", "owned_by": "pack"} for one in names]}

    @api.post("/v1/chat/completions", response_model=None)
    def complete(body: Completion, user: Caller) -> dict[str, Any] | StreamingResponse:
        domain = None if body.model == AUTO else body.model
        _check_domain(app, domain)
        question, history = _asked(body.messages)
        going_on = body.conversation is not None
        conversation, events = _ask(app, user, body.conversation, question, domain, None if going_on else history)
        head = {"id": f"chatcmpl-{conversation}-{time.time_ns()}", "created": int(time.time()), "model": body.model}
        if body.stream:
            return StreamingResponse(_chunks(events, head, conversation), media_type="text/event-stream")
        turn, number = _finished(events)
        message = {"role": "assistant", "content": _said(turn)}
        return head | {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": _usage(question, message["content"]),
            "assistant": {"conversation": conversation, **_public(turn, number, "held" if turn.held else "final")},
        }

    web.include_router(api)
    _add_errors(web)


def _add_errors(web: FastAPI) -> None:
    """Errors of the API in OpenAI's format; other pages' stay as they are."""

    @web.exception_handler(ChatError)
    def refused(_: Request, error: ChatError) -> JSONResponse:
        return _error(429 if isinstance(error, BusyError) else 400, str(error))

    @web.exception_handler(HTTPException)
    def failed(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail))

    @web.exception_handler(Exception)
    def broken(_: Request, __: Exception) -> JSONResponse:  # the server logs it
        return _error(500, GENERIC)

    @web.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _error(422, f"{where}: {first['msg']}")


def _error(status: int, message: str) -> JSONResponse:
    kind = {429: "rate_limit_error", 500: "server_error"}.get(status, "invalid_request_error")
    return JSONResponse({"error": {"message": message, "type": kind, "code": status}}, status)


def _check_domain(app: App, domain: str | None) -> None:
    enabled = app.packs.enabled()
    if domain is not None and domain not in enabled:
        raise HTTPException(404, f"there is no domain {domain!r}; there are: {', '.join([AUTO, *enabled])}")


def _asked(messages: Sequence[ChatMessage]) -> tuple[str, list[Exchange]]:
    """The last question, and what was said before it."""
    if messages[-1].role != "user":
        raise HTTPException(400, f"expected the last message to be the user's, found {messages[-1].role!r}")
    if any(len(one.text) > LONGEST for one in messages[:-1]):
        raise HTTPException(400, f"a message of the history has more than {LONGEST:,} characters")
    history: list[Exchange] = []
    question = ""
    for one in messages[:-1]:
        if one.role == "user":
            question = one.text
        elif one.role == "assistant" and question:
            history.append(Exchange(question, one.text))
            question = ""
    return messages[-1].text, history


def _ask(
    app: App,
    user: User,
    conversation: int | None,
    question: str,
    domain: str | None,
    history: Sequence[Exchange] | None = None,
) -> tuple[int, Iterator[Any]]:
    """The conversation and what happens in it. One that was started for a question that is not taken is not left."""
    number = app.chats.start(user.name) if conversation is None else conversation
    try:
        return number, app.chats.ask(user.name, number, question, domain, history)
    except ChatError:
        if conversation is None:
            app.chats.delete(user.name, number)
        raise


def _finished(events: Iterator[Any]) -> tuple[Turn, int | None]:
    for event in events:
        if isinstance(event, Done):
            return event.turn, event.turn_id
    raise ChatError(GENERIC)


def _chunks(events: Iterator[Any], head: dict[str, Any], conversation: int) -> Iterator[str]:
    """Server-sent events: checked sentences as they come, the rest of the answer with its sources, the whole turn."""

    def chunk(text: str | None, **more: Any) -> str:
        delta = {} if text is None else {"role": "assistant", "content": text}
        choice = {"index": 0, "delta": delta, "finish_reason": more.pop("finish", None)}
        return f"data: {json.dumps(head | {'object': 'chat.completion.chunk', 'choices': [choice]} | more)}\n\n"

    spoken = ""
    try:
        for event in events:
            if isinstance(event, Sentence):
                text = _marked(event.text, event.citations)
                yield chunk(f" {text}" if spoken else text)
                spoken += f" {text}" if spoken else text
            elif isinstance(event, Done):
                whole = _said(event.turn)
                yield chunk(whole[len(spoken) :] if whole.startswith(spoken) else f"\n\n{whole}")
                about = _public(event.turn, event.turn_id, "held" if event.turn.held else "final")
                yield chunk(None, finish="stop", assistant={"conversation": conversation, **about})
    except ChatError as error:
        yield f"data: {json.dumps({'error': {'message': str(error), 'type': 'server_error'}})}\n\n"
    except Exception as error:  # noqa: BLE001 - the headers are sent: all that is left is to say so
        log.error("unexpected error in a stream", exc_info=error)
        yield f"data: {json.dumps({'error': {'message': GENERIC, 'type': 'server_error'}})}\n\n"
    yield "data: [DONE]\n\n"


def _said(turn: Turn) -> str:
    """The answer with its citations as a reader sees them; what waits for a person is not in it."""
    if turn.held:
        return WAITING
    if not turn.citations:
        return turn.answer
    sentences = [
        _marked(text, [one for one in turn.citations if one.sentence == place])
        for place, text in enumerate(turn.sentences)
    ]
    named = {one.number: f"[{one.number}] {one.heading} ({one.source})" for one in turn.citations}
    return " ".join(sentences) + "\n\n" + "\n".join(named[number] for number in sorted(named))


def _marked(text: str, citations: Sequence[Citation]) -> str:
    numbers = dict.fromkeys(one.number for one in citations)
    return " ".join([text, *(f"[{number}]" for number in numbers)])


def _public(turn: Turn, number: int | None, state: str) -> dict[str, Any]:
    """A turn for its caller: whole, or without all that a reviewer has not let through."""
    if state in ("held", "rejected"):
        turn = replace(
            turn, citations=(), hits=(), dropped=(), findings=(), facts=(), tool=None, evidence=None, reasons=(),
            explanations=(), rests_on=(),
        )  # fmt: skip
        if turn.author != "human":
            text = WAITING if state == "held" else WITHDRAWN
            turn = replace(turn, answer=text, sentences=(text,), author="policy")
    return {"turn_id": number, "state": state, "turn": asdict(turn)}


def _stored(one: StoredTurn) -> dict[str, Any]:
    return {"created": one.created.isoformat()} | _public(one.turn, one.id, one.state)


def _usage(question: str, said: str) -> dict[str, int]:
    """Words, where OpenAI counts tokens: what is quoted costs none."""
    asked, answered = len(question.split()), len(said.split())
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}

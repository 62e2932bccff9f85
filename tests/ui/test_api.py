"""The HTTP API over a fake App: who may ask, what comes back, and what does not before a person decides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from assistant.users import User
from domains.api import Exchange
from tests.ui.browser import serving
from tests.ui.fake_app import FakeApp
from tests.ui.fake_script import QUOTES, REJECTED
from ui.access import GENERIC
from ui.render import WAITING
from ui.web import build

ANA = {"authorization": "Bearer da_ana"}
RETURN = "How long can I return it?"
HELD = "hold: I want compensation"


@pytest.fixture(scope="module")
def app() -> FakeApp:
    return FakeApp()


@pytest.fixture(scope="module")
def client(app: FakeApp) -> Iterator[httpx.Client]:
    with serving(lambda: build(app)) as site, httpx.Client(base_url=site, timeout=30) as client:  # type: ignore[arg-type]
        yield client


def completed(client: httpx.Client, *texts: str, **more: Any) -> httpx.Response:
    roles = ["user" if place % 2 == 0 else "assistant" for place in range(len(texts))]
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    return client.post("/v1/chat/completions", json={"messages": messages, "temperature": 0.2, **more}, headers=ANA)


@pytest.mark.parametrize(
    ("headers", "found"),
    [({}, "found no token"), ({"authorization": "Bearer da_nobody"}, "a token that is not known")],
)
@pytest.mark.parametrize("path", ["/api/ask", "/v1/chat/completions"])
def test_without_a_token_nothing_is_answered(
    client: httpx.Client, path: str, headers: dict[str, str], found: str
) -> None:
    said = client.post(path, json={"question": RETURN, "messages": [{"role": "user", "content": "x"}]}, headers=headers)
    assert said.status_code == 401 and found in said.json()["error"]["message"]


def test_a_session_of_the_page_is_no_token(client: httpx.Client) -> None:
    client.post("/login", data={"username": "ana", "password": "ana-password"})
    assert client.get("/").status_code == 200
    assert client.get("/v1/models").status_code == 401
    client.cookies.clear()


def test_a_question_is_answered_with_the_whole_turn_and_the_conversation_goes_on(client: httpx.Client) -> None:
    first = client.post("/api/ask", json={"question": RETURN}, headers=ANA).json()
    assert first["state"] == "final" and first["turn"]["outcome"] == "answered"
    assert first["turn"]["citations"][0]["quote"] == QUOTES[0]
    again = {"question": "and a refund?", "conversation": first["conversation"], "domain": "customer_service"}
    assert client.post("/api/ask", json=again, headers=ANA).json()["conversation"] == first["conversation"]
    turns = client.get(f"/api/conversations/{first['conversation']}", headers=ANA).json()["turns"]
    assert [one["turn"]["question"] for one in turns] == [RETURN, "and a refund?"]
    other = client.get(f"/api/conversations/{first['conversation']}", headers={"authorization": "Bearer da_ben"})
    assert other.status_code == 400 and "no such conversation" in other.json()["error"]["message"]


def test_openai_clients_get_the_answer_with_its_sources(client: httpx.Client, app: FakeApp) -> None:
    said = completed(client, "Hello?", "Hello.", RETURN, model="customer_service").json()
    text = said["choices"][0]["message"]["content"]
    assert text.startswith(f"{QUOTES[0]} [1]") and "\n\n[1] " in text
    assert said["object"] == "chat.completion" and said["choices"][0]["finish_reason"] == "stop"
    assert said["assistant"]["turn"]["outcome"] == "answered"
    assert app.chats.histories[-1] == [Exchange("Hello?", "Hello.")]
    going_on = completed(client, RETURN, conversation=said["assistant"]["conversation"]).json()
    assert going_on["assistant"]["conversation"] == said["assistant"]["conversation"]
    assert app.chats.histories[-1] is None  # what is stored


def test_a_stream_brings_the_same_text_sentence_by_sentence(client: httpx.Client) -> None:
    whole = completed(client, RETURN).json()["choices"][0]["message"]["content"]
    lines = [line.removeprefix("data: ") for line in completed(client, RETURN, stream=True).text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    pieces = [one["choices"][0]["delta"].get("content", "") for one in chunks]
    assert "".join(pieces) == whole and pieces[0] == f"{QUOTES[0]} [1]"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["assistant"]["turn"]["citations"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_held_answer_does_not_leave(client: httpx.Client, app: FakeApp, stream: bool) -> None:
    draft = held_draft(client, app)
    said = completed(client, HELD, stream=stream)
    assert WAITING in json.loads(json.dumps(said.text)) and draft not in said.text
    asked = client.post("/api/ask", json={"question": HELD}, headers=ANA)
    assert asked.json()["state"] == "held" and draft not in asked.text
    stored = client.get(f"/api/conversations/{asked.json()['conversation']}", headers=ANA)
    assert stored.json()["turns"][0]["state"] == "held" and draft not in stored.text
    for text in (said.text, asked.text, stored.text):
        assert "the pack asks for a person" not in text


def test_a_rejected_answer_does_not_leave_either(client: httpx.Client, app: FakeApp) -> None:
    draft = held_draft(client, app)
    ticket = list(app.reviews.tickets)[-1]
    number = list(app.chats.chats)[-1]
    app.reviews.decide(ticket, User("rea", "reviewer"), "reject")
    said = client.get(f"/api/conversations/{number}", headers=ANA)
    (one,) = said.json()["turns"]
    assert one["state"] == "rejected" and one["turn"]["answer"] == REJECTED
    assert draft not in said.text and "the pack asks for a person" not in said.text


def held_draft(client: httpx.Client, app: FakeApp) -> str:
    number = client.post("/api/ask", json={"question": HELD}, headers=ANA).json()["conversation"]
    (turn,) = app.chats.messages("ana", number)
    assert turn.state == "held" and turn.turn.answer
    return turn.turn.answer


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"messages": []}, 422, "at least 1"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 422, "role"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "the user's, found 'assistant'"),
        ({"model": "gpt-9", "messages": [{"role": "user", "content": "x"}]}, 404, "there are: auto, customer_service"),
        ({"messages": [{"role": "user", "content": "x" * 9000}]}, 400, "8,000"),
        ({"messages": [{"role": "user", "content": "everybody asks"}]}, 429, "try again in a minute"),
        (
            {"messages": [{"role": "user", "content": "x" * 9000}, {"role": "user", "content": "x"}]},
            400,
            "of the history",
        ),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_reason(
    client: httpx.Client, body: dict[str, Any], status: int, reason: str
) -> None:
    said = client.post("/v1/chat/completions", json=body, headers=ANA)
    assert said.status_code == status and reason in said.json()["error"]["message"]


def test_a_huge_body_is_not_read(client: httpx.Client) -> None:
    said = client.post("/api/ask", content=b"x" * 1_000_001, headers=ANA)
    assert said.status_code == 413 and "1,000,000" in said.json()["error"]["message"]
    said = client.post("/api/ask", content=iter([b"x" * 1_000_000, b"x"]), headers=ANA)
    assert said.status_code == 413


@pytest.mark.parametrize("question", ["", "x" * 8_001, "everybody asks"])
@pytest.mark.parametrize("path", ["/api/ask", "/v1/chat/completions"])
def test_a_question_that_is_not_taken_leaves_no_conversation(
    client: httpx.Client, app: FakeApp, path: str, question: str
) -> None:
    before = list(app.chats.chats)
    body = {"question": question, "messages": [{"role": "user", "content": question}]}
    assert client.post(path, json=body, headers=ANA).status_code in (400, 429)
    assert list(app.chats.chats) == before


@pytest.mark.parametrize("number", [10**30, 2**31, 0, -1])
def test_a_number_that_no_conversation_has_is_refused(client: httpx.Client, number: int) -> None:
    message = {"role": "user", "content": RETURN}
    for said in (
        client.get(f"/api/conversations/{number}", headers=ANA),
        client.post("/api/ask", json={"question": RETURN, "conversation": number}, headers=ANA),
        client.post("/v1/chat/completions", json={"messages": [message], "conversation": number}, headers=ANA),
    ):
        assert said.status_code == 422 and "conversation: Input should be" in said.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/api/ask", r'{"question": "a\ud800b"}', "half of a surrogate pair"),
        ("/api/ask", r'{"question": "a", "domain": "\udc00"}', "half of a surrogate pair"),
        (
            "/v1/chat/completions",
            r'{"messages": [{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}]}',
            "content",
        ),
        ("/v1/chat/completions", r'{"messages": [{"role": "user", "content": "\ud800"}]}', "half of a surrogate pair"),
    ],
)
def test_half_a_character_is_refused(client: httpx.Client, path: str, body: str, reason: str) -> None:
    said = client.post(path, content=body, headers=ANA | {"content-type": "application/json"})
    assert said.status_code == 422 and reason in said.json()["error"]["message"]


def test_an_error_of_ours_says_nothing_of_what_broke(client: httpx.Client) -> None:
    said = httpx.post(f"{client.base_url}api/ask", json={"question": "break: my secret"}, headers=ANA)  # it hangs up
    error = {"message": GENERIC, "type": "server_error", "code": 500}
    assert (said.status_code, said.json()) == (500, {"error": error})


def test_models_are_the_domains(client: httpx.Client) -> None:
    listed = client.get("/v1/models", headers=ANA).json()["data"]
    assert [one["id"] for one in listed] == ["auto", "customer_service", "medical", "travel"]


def test_parts_of_a_message_are_read_together(client: httpx.Client) -> None:
    parts = [{"type": "text", "text": "How long can I"}, {"type": "text", "text": "return it?"}]
    body = {"messages": [{"role": "user", "content": parts}]}
    said = client.post("/v1/chat/completions", json=body, headers=ANA).json()
    assert QUOTES[0] in said["choices"][0]["message"]["content"]

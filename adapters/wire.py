"""Talks to an OpenAI-compatible server: answers as a stream, odds of the next words, adapters. Believes nothing."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from adapters.chat import Message, Sampling
from adapters.request import EngineBusy, EngineError

BUSY = (429, 503)
AGAIN = (*BUSY, 500, 502, 504)
ALTERNATIVES = 20  # words whose odds are asked for at each place; the most that the API has
Odds = Mapping[str, float]  # log-probability by word


class _AgainError(Exception):
    """A request that may go well later: ``end`` is raised if it never does."""

    def __init__(self, end: EngineError, wished: float = 0.0) -> None:
        super().__init__(str(end))
        self.end, self.wished = end, wished  # seconds that the server asked to be left alone


class UnknownModel(EngineError):  # noqa: N818 - a state: whoever pushed the adapter pushes it again
    """The server does not know the model that was asked for: it was started anew."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for. Seconds, and tries."""

    connect: float = 5.0
    silence: float = 60.0  # between two pieces of an answer
    longest: float = 300.0  # a whole answer
    tries: int = 4  # of a request whose answer has not begun
    pause: float = 0.5  # after the first try; doubled after each further one


@dataclass(frozen=True, slots=True)
class Said:
    """What was answered to a probe, word by word, and what else was likely at each place."""

    words: tuple[str, ...]
    odds: tuple[Odds, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A model that a server lists."""

    id: str
    parent: str | None  # None: no adapter


class Server:
    """One server; safe to call from many threads at once."""

    def __init__(self, url: str, key: str | None = None, patience: Patience = Patience()) -> None:
        """``url`` ends in ``/v1``; ``key`` is sent as a bearer token."""
        self.url, self._patience = url.rstrip("/") + "/", patience
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(patience.silence, connect=patience.connect),
            limits=httpx.Limits(max_connections=None),  # how many ask at once is bounded by whoever asks
        )

    def models(self) -> list[Listed]:
        """What the server lists.

        Raises:
            EngineError: it cannot be reached, or answers something else.
        """
        try:
            return [Listed(str(one["id"]), one.get("parent")) for one in self._json("GET", "models")["data"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise EngineError(
                f"{self.url}models lists no models: {error!r}; expected an OpenAI-compatible API"
            ) from error

    def stream(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        """Yield pieces of an answer; closing the iterator closes the connection, which ends the request there.

        A request that was not taken is made again; one that was taken and then fails ends with its error.

        Raises:
            EngineBusy: the server has too much to do, after all tries.
            UnknownModel: it has no such model.
            EngineError: it cannot be reached, refuses, hangs, takes too long, or broke off.
        """
        body = _body(model, messages, sampling.max_tokens) | {"temperature": sampling.temperature, "stream": True}
        if sampling.temperature > 0:
            body |= {"seed": sampling.seed, "top_p": 1}
        with self._opened("POST", "chat/completions", body) as response:
            until = time.monotonic() + self._patience.longest
            try:
                with closing(_pieces(response, self.url, until)) as pieces:
                    yield from pieces
            except httpx.TransportError as error:
                raise EngineError(f"{self.url} broke off in the middle of an answer: {error!r}") from error

    def odds(self, model: str, messages: Sequence[Message], words: int) -> Said:
        """The likeliest answer's first ``words``, each with the odds of its alternatives.

        Raises:
            EngineError: as in ``stream``, or the server gives no log-probabilities.
        """
        body = _body(model, messages, words) | {"temperature": 0, "logprobs": True, "top_logprobs": ALTERNATIVES}
        answer = self._json("POST", "chat/completions", body)
        try:
            places = answer["choices"][0]["logprobs"]["content"]
            said = Said(tuple(str(place["token"]) for place in places), tuple(_odds(place) for place in places))
        except (LookupError, TypeError, ValueError) as error:
            raise EngineError(
                f"{self.url} answers {model!r} without log-probabilities ({error!r}), and without them nobody can "
                "prove who speaks; use a server that gives logprobs and top_logprobs"
            ) from error
        if not said.odds or not all(said.odds):
            raise EngineError(f"{self.url} answers {model!r} with no words at all; expected {words} with their odds")
        return said

    def push(self, name: str, folder: Path) -> None:
        """Let the server load an adapter as a model called ``name``, from a folder that it can read.

        Raises:
            EngineError: it does not.
        """
        try:
            self._text("POST", "load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        except EngineError as error:
            raise EngineError(
                f"{error}; expected that it loads adapters on request (vLLM: --enable-lora, and "
                f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=1), or was started with one named {name} from {folder}"
            ) from error

    def drop(self, name: str) -> None:
        """Let the server forget an adapter.

        Raises:
            EngineError: it does not.
        """
        self._text("POST", "unload_lora_adapter", {"lora_name": name})

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        text = self._text(method, path, body)
        try:
            return json.loads(text)
        except ValueError as error:
            raise EngineError(f"{self.url}{path} answers {text[:200]!r}; expected JSON") from error

    def _text(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        with self._opened(method, path, body) as response:
            try:
                return response.read().decode("utf-8", errors="replace")
            except httpx.TransportError as error:
                raise EngineError(f"{self.url}{path} broke off in the middle of its answer: {error!r}") from error

    @contextmanager
    def _opened(self, method: str, path: str, body: Mapping[str, Any] | None) -> Iterator[httpx.Response]:
        """A response that has begun well; tried again, ever later, where that may help."""
        response = self._begun(method, path, body)
        try:
            yield response
        finally:
            response.close()

    def _begun(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        pause = self._patience.pause
        for left in reversed(range(self._patience.tries)):
            try:
                return self._once(method, path, body)
            except _AgainError as error:
                if not left or error.wished > self._patience.silence:
                    raise error.end from error
                time.sleep(max(error.wished, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - spreads, guards nothing
                pause *= 2
        raise ValueError(f"a request is tried at least once, found {self._patience}")

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        where = self.url + path
        try:
            response = self._client.send(self._client.build_request(method, path, json=body), stream=True)
        except RuntimeError as error:  # closed: a proof in the background outlived the engine
            raise EngineError(f"{where} is not asked any more: {error}") from error
        except httpx.ReadTimeout as error:  # it has the question: asking again would only add to its load
            raise EngineError(f"{where} said nothing for {self._patience.silence:g} s") from error
        except httpx.TransportError as error:
            raise _AgainError(EngineError(f"{where} cannot be reached: {error!r}; is the server running?")) from error
        if response.is_success:
            return response
        with closing(response):
            refusal = _refusal(response, where)
        if response.status_code in AGAIN:
            raise _AgainError(refusal, _seconds(response.headers.get("retry-after", "")))
        raise refusal


def _body(model: str, messages: Sequence[Message], words: int) -> dict[str, Any]:
    return {"model": model, "max_tokens": words, "messages": [{"role": m.role, "content": m.content} for m in messages]}


def _odds(place: Mapping[str, Any]) -> Odds:
    """By word; of several tokens that read alike, the likeliest."""
    rising = sorted((float(one["logprob"]), str(one["token"])) for one in place["top_logprobs"])
    return {word: logprob for logprob, word in rising}


def _pieces(response: httpx.Response, where: str, until: float) -> Generator[str, None, None]:
    """The text of a stream of server-sent events, which has to say itself that it is whole."""
    for line in response.iter_lines():
        if time.monotonic() > until:
            raise EngineError(f"{where} took too long for an answer and was stopped")
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        text, end = _choice(data, where)
        if text:
            yield text
        if end is not None:
            if end not in ("stop", "length"):
                raise EngineError(f"{where} ended an answer for the reason {end!r}; expected 'stop' or 'length'")
            return
    raise EngineError(f"{where} broke off in the middle of an answer; what was said until then is not whole")


def _choice(data: str, where: str) -> tuple[str, str | None]:
    """The next piece, and why it is the last."""
    try:
        event = json.loads(data)
        if "error" in event:
            raise EngineError(f"{where} failed in the middle of an answer: {str(event['error'])[:300]}")
        if not event["choices"]:  # some report their use of tokens so
            return "", None
        choice = event["choices"][0]
        return str(choice["delta"].get("content") or ""), choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise EngineError(f"{where} sent {data[:200]!r} in the middle of an answer; expected a piece of it") from error


def _refusal(response: httpx.Response, where: str) -> EngineError:
    try:
        said = response.read().decode("utf-8", errors="replace")[:300]
    except httpx.TransportError as error:
        said = repr(error)
    status = response.status_code
    if status in BUSY:
        return EngineBusy(f"{where} has too much to do ({status}): {said}; try again shortly")
    if status in (401, 403):
        return EngineError(f"{where} refuses the key ({status}): {said}; set ASSISTANT_ENGINE_KEY to one it knows")
    kind = UnknownModel if status == 404 and where.endswith("chat/completions") else EngineError
    return kind(f"{where} answers {status}: {said}")


def _seconds(text: str) -> float:
    """A Retry-After header in seconds; 0 where there is none, or a date."""
    return float(text) if text.isdecimal() else 0.0

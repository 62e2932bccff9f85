"""A real HTTP server over the tiny base, in this process: what an OpenAI-compatible one does, and what goes wrong."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from adapters.base import Base
from adapters.chat import Message

PLAIN = "served-base"


@dataclass
class Faults:
    """What the server does wrong; nothing at first."""

    statuses: list[int] = field(default_factory=list)  # of the next answers, before it answers well again
    retry_after: str | None = None  # header of those
    cut_after: int | None = None  # pieces after which the connection is closed
    error_after: int | None = None  # pieces after which the stream says that it failed
    hang: threading.Event | None = None  # nothing is answered before it is set
    pace: float = 0.0  # seconds before each piece
    hold_after: int | None = None  # pieces after which it waits …
    held: threading.Event = field(default_factory=threading.Event)  # … for this
    no_logprobs: bool = False
    no_loading: bool = False  # adapters are not loaded on request
    no_effect: bool = False  # adapters are accepted and ignored
    instead: Path | None = None  # another adapter is loaded than the one that was asked for
    ignored: bool = False  # with several requests at once, all get the base model …
    leaking: bool = False  # … or what was loaded last, those too that asked for no adapter, as vLLM 0.32 does on CPUs
    reason: str = "stop"  # for which answers end


class Fake:
    """The server's state; ``url`` is where it listens."""

    def __init__(self, base: Base, key: str | None = None) -> None:
        self.base, self.key, self.faults, self.url = base, key, Faults(), ""
        self.models: dict[str, Any] = {PLAIN: copy.deepcopy(base.model)}
        self.aliases: list[str] = []  # further models without parents
        self.asked: list[tuple[str, dict[str, Any]]] = []  # path and body
        self.left = threading.Event()  # somebody went away before the end
        self.at_once = 0
        self.lock = threading.Lock()

    def restart(self) -> None:
        """It forgets what it was told to load."""
        self.aliases = []
        self.models = {PLAIN: self.models[PLAIN]}

    def load(self, name: str, folder: Path) -> None:
        chosen = self.faults.instead or folder
        plain = copy.deepcopy(self.models[PLAIN])
        merged = PeftModel.from_pretrained(plain, str(chosen)).merge_and_unload()
        self.models[name] = self.models[PLAIN] if self.faults.no_effect else merged

    @torch.inference_mode()
    def say(self, model: str, body: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, float]]]]:
        """Each word with the twenty likeliest ones."""
        messages = [Message(one["role"], one["content"]) for one in body["messages"]]
        text = self.base.tokenizer.apply_chat_template(
            [{"role": one.role, "content": one.content} for one in messages], tokenize=False, add_generation_prompt=True
        )
        ids = self.base.encode(str(text))
        speaking = self.models[self._who(model)]  # goes on when it is dropped meanwhile
        for _ in range(body["max_tokens"]):
            logits = speaking(input_ids=torch.tensor([ids])).logits[0, -1]
            found = logits.float().log_softmax(-1).topk(20)
            token = int(found.indices[0])
            if token in self.base.eos:
                return
            words = [str(self.base.tokenizer.decode([int(one)])) for one in found.indices]
            yield words[0], list(zip(words, found.values.tolist(), strict=True))
            ids = [*ids, token]

    def _who(self, model: str) -> str:
        if self.at_once > 1 and self.faults.ignored:
            return PLAIN
        return list(self.models)[-1] if self.at_once > 1 and self.faults.leaking and model == PLAIN else model


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: Fake

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        listed = [{"id": name, "parent": None if name == PLAIN else PLAIN} for name in self.fake.models]
        self._send(200, {"data": listed + [{"id": name} for name in self.fake.aliases]})

    def do_POST(self) -> None:
        fake = self.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.removeprefix("/v1/")
        fake.asked.append((path, body))
        if fake.key and self.headers.get("Authorization") != f"Bearer {fake.key}":
            self._send(401, {"error": "Unauthorized"})
        elif path == "load_lora_adapter" and not fake.faults.no_loading:
            fake.load(body["lora_name"], Path(body["lora_path"]))
            self._send(200, "Success")
        elif path == "unload_lora_adapter":
            self._send(200 if fake.models.pop(body["lora_name"], None) else 404, "")
        elif path == "chat/completions":
            self._chat(body)
        else:
            self._send(404, {"detail": "Not Found"})

    def _chat(self, body: dict[str, Any]) -> None:
        fake = self.fake
        if fake.faults.hang:
            fake.faults.hang.wait(20)
        if fake.faults.statuses:
            self._send(fake.faults.statuses.pop(0), {"error": "as it was told"})
        elif body["model"] not in fake.models:
            self._send(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        else:
            with fake.lock:
                fake.at_once += 1
            if fake.faults.ignored or fake.faults.leaking:
                time.sleep(0.3)  # so that they meet
            try:
                (self._stream if body.get("stream") else self._whole)(body)
            except (BrokenPipeError, ConnectionResetError):
                fake.left.set()
                self.close_connection = True
            finally:
                with fake.lock:
                    fake.at_once -= 1

    def _whole(self, body: dict[str, Any]) -> None:
        places = [
            {"token": word, "top_logprobs": [{"token": one, "logprob": value} for one, value in likely]}
            for word, likely in self.fake.say(body["model"], body)
        ]
        self._send(200, {"choices": [{"logprobs": None if self.fake.faults.no_logprobs else {"content": places}}]})

    def _stream(self, body: dict[str, Any]) -> None:
        faults = self.fake.faults
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, (word, _) in enumerate(self.fake.say(body["model"], body)):
            if number == faults.cut_after:
                self.close_connection = True
                return
            if number == faults.error_after:
                self._event({"error": {"message": "the engine died"}})
            if number == faults.hold_after:
                faults.held.wait(20)
            time.sleep(faults.pace)
            self._event({"choices": [{"delta": {"content": word}, "finish_reason": None}]})
        self._event({"choices": [{"delta": {}, "finish_reason": faults.reason}]})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, content: dict[str, Any]) -> None:
        self._chunk(f"data: {json.dumps(content)}\n\n".encode())

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def _send(self, status: int, content: object) -> None:
        encoded = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        if status in (429, 503) and self.fake.faults.retry_after:
            self.send_header("Retry-After", self.fake.faults.retry_after)
        self.end_headers()
        self.wfile.write(encoded)


@contextmanager
def serving(base: Base, key: str | None = None) -> Iterator[Fake]:
    """The server, listening until the block ends."""
    fake = Fake(base, key)
    listening = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"fake": fake}))
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
    try:
        yield fake
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()

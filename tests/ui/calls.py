"""Calls the page's endpoints without the page, as an attacker would."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import httpx

_SESSIONS = itertools.count(1)
CallerFor = Callable[[str], "Caller"]


class Caller:
    """A signed-in HTTP client with a Gradio session of its own."""

    def __init__(self, site: str, user: str) -> None:
        self.http = httpx.Client(base_url=site, timeout=20)
        self.http.post("login", data={"username": user, "password": f"{user}-password"})
        self.config: dict[str, Any] = self.http.get("config").json()
        self.session = f"caller{next(_SESSIONS)}"

    def call(self, elem_id: str, event: str, data: list[Any], clicked: dict[str, str] | None = None) -> dict[str, Any]:
        """Fire ``event`` of the component ``elem_id``; returns Gradio's last message."""
        component = next(one["id"] for one in self.config["components"] if one["props"].get("elem_id") == elem_id)
        number = next(one["id"] for one in self.config["dependencies"] if [component, event] in one["targets"])
        place = {"fn_index": number, "session_hash": self.session, "trigger_id": component}
        body = {"data": data, "event_data": clicked, **place}
        self.http.post("gradio_api/queue/join", json=body).raise_for_status()
        with self.http.stream("GET", "gradio_api/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                message: dict[str, Any] = json.loads(line.removeprefix("data: ")) if line else {}
                if message.get("msg") == "process_completed":
                    return message
        raise AssertionError("the stream ended without a result")

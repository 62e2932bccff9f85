"""A fresh page over a fresh fake App for every test."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import pytest

from tests.ui.browser import browser, page_for, playwright, serving, watch
from tests.ui.calls import Caller, CallerFor
from tests.ui.fake_app import FakeApp
from ui.web import build

if TYPE_CHECKING:
    from assistant.app import App

__all__ = ["browser", "page_for", "playwright", "watch"]


@pytest.fixture
def app() -> FakeApp:
    """The fake App; its users are ana, ben (users), rea (reviewer), ada (admin)."""
    return FakeApp()


@pytest.fixture
def site(app: FakeApp) -> Iterator[str]:
    """The address of a page over ``app``."""
    with serving(lambda: build(cast("App", app))) as address:
        yield address


@pytest.fixture
def caller(site: str) -> Iterator[CallerFor]:
    """``caller(user)`` signs in without a browser."""
    with contextlib.ExitStack() as stack:

        def signed_in(user: str) -> Caller:
            one = Caller(site, user)
            stack.callback(one.http.close)
            return one

        yield signed_in


@pytest.fixture
def calls_out() -> Iterator[list[object]]:
    """Connections and look-ups of this process that leave the machine, while the test runs."""
    found: list[object] = []
    watching = [True]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if not watching[0] or event not in ("socket.connect", "socket.getaddrinfo"):
            return
        target = arguments[1] if event == "socket.connect" else arguments[0]
        host = target[0] if isinstance(target, tuple) else target
        if isinstance(host, str) and not host.startswith(("127.", "::1", "localhost", "/")):
            found.append((event, target))

    sys.addaudithook(hook)  # stays for good; ``watching`` makes it silent
    yield found
    watching[0] = False

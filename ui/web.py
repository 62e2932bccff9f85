"""Puts the page together and serves it: FastAPI outside, Gradio inside, the sign-in gate before both."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from gradio_client.utils import (  # type: ignore[import-untyped]
    is_file_obj_with_meta,
    is_http_url_like,
    traverse,
)

from ui import panels
from ui.access import caller
from ui.adapters import Adapters
from ui.api import add_api
from ui.chat import Chat
from ui.knowledge import Knowledge
from ui.label import Label
from ui.packs import BIGGEST, Packs
from ui.review import Review
from ui.signin import COOKIE, Gate, Sessions, add_routes
from ui.theme import ICON, theme
from ui.users import Account, Users

if TYPE_CHECKING:
    from assistant.app import App

TITLE = "Domain Assistant"
_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_MAX_EVENTS": "100",  # by default it keeps 10,000 and puts them through pandas after each event
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",  # events between two such summaries
}
THREADS = 64  # streaming turns and events at once; each waits in a thread


def build(app: App) -> FastAPI:
    """The whole web application, ready for an ASGI server."""
    os.environ |= _QUIET
    sessions = Sessions(app.users)
    web = FastAPI(title=TITLE, docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(web, app, sessions)
    add_api(web, app)
    _add_health(web, app)
    web.add_middleware(Gate, app=app, sessions=sessions)
    mounted: FastAPI = gr.mount_gradio_app(
        web,
        _page(app, sessions),
        path="/",
        auth_dependency=lambda request: sessions.user(request.cookies.get(COOKIE)),
        allowed_paths=[],
        max_file_size=BIGGEST,
        show_error=False,  # an unexpected error may hold internals; ours arrive as sentences
        footer_links=[],
        run_history=False,  # Gradio would keep questions and answers in the browser
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css_paths=[Path(__file__).parent / "style.css"],
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )
    return mounted


class ServeError(Exception):
    """The address cannot be listened on, or the certificate cannot be used."""


def serve(
    app: App,
    started: Callable[[str], None] = lambda _: None,
    certfile: Path | None = None,
    keyfile: Path | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM; open streams get three seconds to end.

    Args:
        app: what to serve.
        started: told the address once it is listened on.
        certfile: a TLS certificate with its chain, PEM; None serves plain HTTP.
        keyfile: its private key, PEM; None where that lies in ``certfile`` too.

    Raises:
        ServeError: the address is taken or not ours, or certificate and key do not fit.
    """
    if certfile:
        _check(certfile, keyfile)
    host, port = app.settings.host, app.settings.port
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ServeError(f"cannot listen on {host}:{port} ({error.strerror}); choose another with --port") from error
    tls: dict[str, Any] = {"ssl_certfile": certfile, "ssl_keyfile": keyfile}
    config = uvicorn.Config(build(app), log_level="warning", timeout_graceful_shutdown=3, **tls)
    started(f"{'https' if certfile else 'http'}://{host}:{port}")
    with listener, contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after it has shut down
        uvicorn.Server(config).run(sockets=[listener])


def _check(certfile: Path, keyfile: Path | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile)
    except OSError as error:
        found = f"{certfile} with the key in {keyfile or certfile}"
        raise ServeError(f"{found} cannot be used ({error}); expected a PEM certificate and its private key") from error


def only_here(host: str) -> bool:
    """Whether nobody but this machine reaches what listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Page(gr.Blocks):
    """Gradio's page, but the server fetches nothing for whoever sends an address in place of an uploaded file."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *more: Any, **options: Any) -> Any:
        traverse(inputs, _uploaded, is_file_obj_with_meta)
        return await super().preprocess_data(block_fn, inputs, *more, **options)


def _uploaded(file: dict[str, Any]) -> dict[str, Any]:
    if is_http_url_like(file["path"]):
        raise gr.Error("Expected an uploaded file, found an address.", print_exception=False)
    return file


def _page(app: App, sessions: Sessions) -> gr.Blocks:
    page: gr.Blocks
    with _Page(title=TITLE, analytics_enabled=False, fill_height=True, delete_cache=(3600, 3600)) as page:
        header = _header()
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Chat", id="chat", elem_id="tab-chat"):
                chat = Chat(app)
            with gr.Tab("Review", id="review", elem_id="tab-review", visible=False) as review_tab:
                review = Review(app)
            with gr.Tab("Knowledge", id="knowledge", elem_id="tab-knowledge", visible=False) as knowledge_tab:
                knowledge = Knowledge(app)
            with gr.Tab("Label", id="label", elem_id="tab-label", visible=False) as label_tab:
                Label(app)
            with gr.Tab("Domains", id="domains", elem_id="tab-domains"):
                packs = Packs(app)
            with gr.Tab("Adapters", id="adapters", elem_id="tab-adapters", visible=False) as adapters_tab:
                adapters = Adapters(app)
            with gr.Tab("Users", id="users", elem_id="tab-users", visible=False) as users_tab:
                users = Users(app, sessions)
            with gr.Tab("Account", id="account", elem_id="tab-account"):
                account = Account(app, sessions)

        def loaded(request: gr.Request) -> dict[Any, Any]:
            user = caller(app, request)
            shown: dict[Any, Any] = {
                header: panels.header(user),
                review_tab: gr.update(visible=user.reviews),
                knowledge_tab: gr.update(visible=user.reviews),
                label_tab: gr.update(visible=user.reviews),
                adapters_tab: gr.update(visible=user.role == "admin"),
                users_tab: gr.update(visible=user.role == "admin"),
            }
            for tab in tabs:
                shown |= tab.loaded(request)
            return shown

        tabs = (chat, review, knowledge, packs, adapters, users, account)
        hidden = [review_tab, knowledge_tab, label_tab, adapters_tab, users_tab]
        outputs = [header, *hidden, *(part for tab in tabs for part in tab.loads)]
        page.load(loaded, None, outputs, show_progress="hidden", api_visibility="private")
    page.queue(default_concurrency_limit=None, max_size=1000)
    # mounted, Gradio would share the 40 threads of everything else
    page.limiter = anyio.CapacityLimiter(THREADS)  # type: ignore[assignment]  # annotated by its first value, None
    return page


def _header() -> gr.HTML:
    script = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
    return gr.HTML(elem_id="header", js_on_load=script, apply_default_css=False)


def _add_health(web: FastAPI, app: App) -> None:
    """Add what load balancers ask, and the icon that browsers ask for."""

    @web.get("/healthz")
    def alive() -> dict[str, str]:
        return {"status": "alive"}

    @web.get("/readyz")
    def ready() -> JSONResponse:
        live = sum(pack.enabled for pack in app.packs.live())
        body = {"ready": live > 0, "domains": live, "refused": len(app.packs.problems())}
        return JSONResponse(body, 200 if live else 503)

    @web.get("/favicon.ico")
    def icon() -> Response:
        return Response(ICON, media_type="image/svg+xml")

    @web.get("/manifest.json")
    def manifest(request: Request) -> JSONResponse:
        return JSONResponse({"name": TITLE, "start_url": str(request.base_url), "display": "browser"})

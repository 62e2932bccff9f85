"""What the gate and the checks on each event let through, asked without a browser."""

from __future__ import annotations

import httpx
import pytest

from tests.ui.calls import CallerFor
from tests.ui.fake_app import FakeApp
from ui import web


def test_too_many_wrong_passwords_have_to_wait(site: str) -> None:
    forms = [{"username": "ana", "password": "wrong"}] * 8 + [{"username": "ana", "password": "ana-password"}]
    codes = [httpx.post(f"{site}login", data=form).status_code for form in forms]
    assert codes == [401] * 8 + [429]


@pytest.mark.parametrize(("user", "allowed"), [("ana", False), ("rea", True), ("ada", True)])
def test_only_reviewers_can_call_what_is_behind_the_review_tab(
    app: FakeApp, user: str, allowed: bool, caller: CallerFor
) -> None:
    conversation = app.chats.start("ben")
    list(app.chats.ask("ben", conversation, "compensation", None))
    me = caller(user)
    opened = me.call("queue", "act", [], {"act": "open", "id": "1"})
    decided = me.call("approve", "click", [None, "by hand"])
    assert (opened["success"], decided["success"]) == (allowed, allowed)
    assert ("compensation" in str(opened)) == allowed
    assert [one.state for one in app.reviews.tickets.values()] == ["approved" if allowed else "open"]


@pytest.mark.parametrize(("user", "allowed"), [("ana", False), ("rea", False), ("ada", True)])
def test_only_admins_can_call_what_changes_packs_and_users(
    app: FakeApp, user: str, allowed: bool, caller: CallerFor
) -> None:
    me = caller(user)
    disabled = me.call("packs", "act", [], {"act": "disable", "id": "medical"})
    added = me.call("user-add", "click", ["eve", "eve-password", "admin"])
    path = me.call("pack-add", "click", ["/packs/garden", None, True])
    assert {disabled["success"], added["success"], path["success"]} == {allowed}
    assert app.packs.packs["medical"].enabled is not allowed
    assert ("eve" in app.users.known, "garden" in app.packs.packs) == (allowed, allowed)


@pytest.mark.parametrize(("user", "code"), [("ana", 403), ("ada", 200)])
def test_only_reviewers_and_admins_can_upload(user: str, code: int, caller: CallerFor) -> None:
    me = caller(user)
    assert me.http.post("gradio_api/upload", files={"files": ("a.zip", b"PK")}).status_code == code


def test_only_a_zip_is_taken(caller: CallerFor) -> None:
    me = caller("ada")
    path = me.http.post("gradio_api/upload", files={"files": ("a.txt", b"hello")}).json()[0]
    upload = {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "a.zip"}
    assert not me.call("pack-add", "click", ["", upload, True])["success"]


@pytest.mark.parametrize(
    "path",
    ["config", "gradio_api/info", "gradio_api/queue/data?session_hash=x", "assets/index.js", "theme.css", "svelte/x"],
)
def test_nothing_is_served_before_sign_in(site: str, path: str) -> None:
    assert httpx.get(f"{site}{path}").status_code == 401


@pytest.mark.parametrize("path", ["gradio_api/deep_link", "gradio_api/runs", "gradio_api/proxy=http://example.org"])
def test_what_gradio_offers_and_nobody_needs_is_closed(path: str, caller: CallerFor) -> None:
    assert caller("ada").http.get(path).status_code in (403, 404)


@pytest.mark.parametrize("path", ["/etc/passwd", web.__file__])
def test_no_file_of_the_server_can_be_read(path: str, caller: CallerFor) -> None:
    assert caller("ada").http.get(f"gradio_api/file={path}").status_code in (403, 404)


def test_health_and_readiness_are_for_load_balancers(app: FakeApp, site: str) -> None:
    assert httpx.get(f"{site}readyz").json() == {"ready": True, "domains": 3, "refused": 1}
    for name in list(app.packs.packs):
        app.packs.disable(name)
    assert httpx.get(f"{site}readyz").status_code == 503
    assert httpx.get(f"{site}healthz").status_code == 200

"""What the gate and the checks on each event let through, asked without a browser."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from assistant.store import Store
from assistant.users import User, Users
from tests.ui.calls import CallerFor
from tests.ui.fake_app import FakeApp, FakeUsers
from ui import signin, web
from ui.signin import Sessions

PASSWORD = "correct horse"


@pytest.fixture
def users(store: Store) -> Users:
    users = Users(store)
    users.add("ana", PASSWORD, "user")
    return users


@pytest.fixture
def sessions(users: Users, monkeypatch: pytest.MonkeyPatch) -> Sessions:
    monkeypatch.setattr(signin, "FRESH", -1.0)  # compared on every request
    return Sessions(users)


def started(sessions: Sessions) -> str:
    return sessions.start("ana", sessions.users.stamp("ana") or "")


def test_a_password_that_is_reset_elsewhere_ends_all_sessions(sessions: Sessions, store: Store) -> None:
    tokens = [started(sessions), started(sessions)]
    assert [sessions.user(token) for token in tokens] == ["ana", "ana"]
    Users(store).set_password("ana", "a new secret")  # as the command line does, in another process
    assert [sessions.user(token) for token in tokens] == [None, None]
    assert sessions.user(started(sessions)) == "ana"


def test_an_account_that_is_removed_and_made_again_has_no_sessions(sessions: Sessions, users: Users) -> None:
    users.add("ada", PASSWORD, "admin")
    token = started(sessions)
    users.remove("ana")
    assert sessions.user(token) is None
    users.add("ana", PASSWORD, "user")
    assert sessions.user(token) is None


def test_who_changes_their_own_password_stays_signed_in_there_alone(sessions: Sessions, users: Users) -> None:
    here, elsewhere = started(sessions), started(sessions)
    users.set_password("ana", "a new secret")
    sessions.end_all("ana", keep=here)
    assert (sessions.user(here), sessions.user(elsewhere)) == ("ana", None)


def test_a_busy_session_ends_too(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signin, "LONGEST", 0.2)
    token = started(sessions)
    assert sessions.user(token) == "ana"
    for _ in range(30):
        time.sleep(0.01)
        sessions.user(token)
    assert sessions.user(token) is None


def test_an_idle_session_ends(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    token = started(sessions)
    monkeypatch.setattr(signin, "IDLE", 0.05)
    time.sleep(0.1)
    assert sessions.user(token) is None


@pytest.mark.parametrize(
    ("most", "name", "address"), [(8, "ana", "::1"), (30, "ana{}", "::1"), (50, "ana", "2001:db8::{}")]
)
def test_tries_are_counted_by_both_by_address_and_by_name(
    sessions: Sessions, most: int, name: str, address: str
) -> None:
    tried = [sessions.attempt(name.format(place), address.format(place)) for place in range(most + 5)]
    assert tried == [True] * most + [False] * 5


def test_a_right_password_uses_up_no_try(sessions: Sessions) -> None:
    for _ in range(100):
        assert sessions.attempt("ana", "::1")
        sessions.succeeded("ana", "::1")


class SlowUsers(FakeUsers):
    def __init__(self) -> None:
        super().__init__()
        self.lock, self.running, self.peak = threading.Lock(), 0, 0

    def check(self, name: str, password: str) -> User | None:
        with self.lock:
            self.running += 1
            self.peak = max(self.peak, self.running)
        time.sleep(0.05)
        with self.lock:
            self.running -= 1
        return super().check(name, password)


def test_tries_at_once_are_not_more_than_tries_in_turn(app: FakeApp, site: str) -> None:
    slow = app.users = SlowUsers()
    with ThreadPoolExecutor(20) as pool:
        form = {"username": "ana", "password": "wrong"}
        codes = list(pool.map(lambda _: httpx.post(f"{site}login", data=form, timeout=60).status_code, range(20)))
    assert sorted(codes) == [401] * 8 + [429] * 12
    assert slow.peak <= 2


def in_chunks(size: int) -> list[bytes]:
    return [b"x" * (size - 1), b"x"]


@pytest.mark.parametrize(
    ("path", "size"), [("login", 10_000), ("api/ask", 1_000_000), ("v1/chat/completions", 1_000_000)]
)
def test_what_strangers_send_is_read_up_to_a_limit(site: str, path: str, size: int) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded" if path == "login" else "application/json"}
    with httpx.Client(base_url=site, headers=headers, timeout=60) as client:
        sent = [client.post(path, content=iter(in_chunks(size + more))) for more in (0, 1)]
    assert sent[0].status_code != 413
    assert sent[1].status_code == 413 and f"at most {size:,} bytes" in sent[1].json()["error"]["message"]


@pytest.mark.parametrize(("user", "code"), [("ana", 413), ("rea", 422)])
def test_only_who_uploads_may_send_much(user: str, code: int, caller: CallerFor) -> None:
    me = caller(user)
    headers = {"content-type": "application/json"}
    said = me.http.post("gradio_api/queue/join", content=iter(in_chunks(2_000_001)), headers=headers)
    assert said.status_code == code


def test_an_upload_has_a_limit_too(caller: CallerFor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signin, "UPLOAD", 1_000)
    files = {"files": ("a.zip", b"PK" * 1_000)}
    assert caller("ada").http.post("gradio_api/upload", files=files).status_code == 413


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


@pytest.mark.parametrize("path", ["file=http://example.org/", "file=https://example.org/", "file/https://example.org/"])
def test_the_server_fetches_no_address_as_a_file(path: str, caller: CallerFor, calls_out: list[object]) -> None:
    said = caller("ana").http.get(f"gradio_api/{path}")
    assert (said.status_code, said.text, calls_out) == (403, "Not available.", [])


@pytest.mark.parametrize(("elem_id", "event"), [("label-file", "upload"), ("user-add", "click")])
def test_the_server_fetches_no_address_in_place_of_an_upload(
    elem_id: str, event: str, caller: CallerFor, calls_out: list[object]
) -> None:
    file = {"path": "https://example.org/a.csv", "meta": {"_type": "gradio.FileData"}, "orig_name": "a.csv"}
    data = [file] if event == "upload" else [file, "eve-password", "admin"]
    said = caller("ana").call(elem_id, event, data)
    assert (said["success"], calls_out) == (False, [])
    assert "Expected an uploaded file" in str(said)


@pytest.mark.parametrize("path", ["/etc/passwd", web.__file__])
def test_no_file_of_the_server_can_be_read(path: str, caller: CallerFor) -> None:
    assert caller("ada").http.get(f"gradio_api/file={path}").status_code in (403, 404)


def test_health_and_readiness_are_for_load_balancers(app: FakeApp, site: str) -> None:
    assert httpx.get(f"{site}readyz").json() == {"ready": True, "domains": 3, "refused": 1}
    for name in list(app.packs.packs):
        app.packs.disable(name)
    assert httpx.get(f"{site}readyz").status_code == 503
    assert httpx.get(f"{site}healthz").status_code == 200

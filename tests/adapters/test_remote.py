"""An engine over HTTP against a real server in this process: who speaks is proved, and what goes wrong is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.base import Base
from adapters.chat import Message, Sampling
from adapters.engine import EngineBusy, EngineError, TorchEngine
from adapters.remote import RemoteEngine, name_of
from adapters.store import Adapter, AdapterError
from adapters.wire import Patience, Server
from assistant.app import engine
from assistant.settings import load
from tests.adapters.server import PLAIN, Fake, Faults, serving
from tests.adapters.waiting import until

ASK = [Message("system", "Be brief."), Message("user", "Name three colours, please.")]
SHORT = Sampling(max_tokens=8)
PATIENCE = Patience(connect=2, silence=20, longest=60, tries=3, pause=0.01)
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # peft's, in the server


@pytest.fixture(scope="module")
def listening(tiny: Base) -> Iterator[Fake]:
    with serving(tiny) as fake:
        yield fake


@pytest.fixture
def server(listening: Fake) -> Iterator[Fake]:
    listening.faults, listening.asked = Faults(), []
    listening.left.clear()
    listening.restart()
    yield listening
    listening.faults.held.set()  # nobody is left waiting


@pytest.fixture
def wire(server: Fake) -> Iterator[Server]:
    with closing(Server(server.url, patience=PATIENCE)) as opened:
        yield opened


@pytest.fixture
def remote(wire: Server, tiny: Base, tmp_path: Path) -> RemoteEngine:
    return RemoteEngine(tiny, wire, tmp_path / "served")


@pytest.fixture(scope="module")
def here(tiny: Base, tiny_adapters: list[Adapter]) -> TorchEngine:
    engine = TorchEngine(tiny)
    for adapter in tiny_adapters:
        engine.load(adapter)
    return engine


def say(engine: RemoteEngine | TorchEngine, adapter: str | None = None, sampling: Sampling = SHORT) -> str:
    return "".join(engine.stream(ASK, adapter=adapter, sampling=sampling))


def test_the_base_and_each_adapter_say_there_what_they_say_here(
    remote: RemoteEngine, here: TorchEngine, tiny_adapters: list[Adapter]
) -> None:
    for adapter in tiny_adapters[:3]:
        remote.load(adapter)
    assert remote.adapters() == tiny_adapters[:3]
    said = [say(remote), *(say(remote, one.digest) for one in tiny_adapters[:3])]
    assert said == [say(here), *(say(here, one.digest) for one in tiny_adapters[:3])]
    assert len(set(said)) == 4


def test_an_adapter_is_called_by_its_digest_there_and_laid_without_its_papers(
    remote: RemoteEngine, server: Fake, tiny_adapters: list[Adapter], tmp_path: Path
) -> None:
    adapter = tiny_adapters[0]
    remote.load(adapter)
    remote.load(adapter)
    (pushed,) = (body for path, body in server.asked if path == "load_lora_adapter")
    folder = tmp_path / "served" / adapter.digest
    assert pushed == {"lora_name": f"adapter-{adapter.digest}", "lora_path": str(folder)}
    assert {path.name for path in folder.iterdir()} == {"adapter_model.safetensors", "adapter_config.json"}


def test_pieces_come_as_they_are_made(remote: RemoteEngine, server: Fake) -> None:
    server.faults.hold_after, server.faults.held = 1, threading.Event()
    pieces = remote.stream(ASK, adapter=None, sampling=SHORT)
    assert next(iter(pieces))  # the server has not said the second one
    server.faults.held.set()
    assert len(list(pieces)) == 7


def impatient(engine: RemoteEngine) -> None:
    """From now on; proving itself takes its time on a busy machine."""
    engine._server._client.timeout = httpx.Timeout(1.0)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("ignored", {"no_effect": True}, r"adapter \w{16}, the server answers the probes as the base model does"),
    ("ignored among others", {"ignored": True}, r"among others, the server answers the probes as the base model does"),
    (
        "leaking",
        {"leaking": True},
        r"for the base model among others, the server answers the probes as adapter \w{16} does",
    ),
    ("no loading", {"no_loading": True}, "answers 404.*VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
    ("no proof", {"no_logprobs": True}, "without log-probabilities.*nobody can prove who speaks"),
]


@pytest.mark.parametrize(("faults", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_an_adapter_that_is_not_heard_to_speak_does_not_speak(
    remote: RemoteEngine, server: Fake, tiny_adapters: list[Adapter], faults: dict[str, Any], said: str
) -> None:
    server.faults = Faults(**faults)
    with pytest.raises(AdapterError, match=said):
        remote.load(tiny_adapters[0])
    assert remote.adapters() == []
    assert name_of(tiny_adapters[0].digest) not in server.models
    with pytest.raises(AdapterError, match="not loaded"):
        remote.stream(ASK, adapter=tiny_adapters[0].digest, sampling=SHORT)
    server.faults = Faults()
    remote.load(tiny_adapters[0])


def test_another_adapter_under_its_name_is_named(
    remote: RemoteEngine, server: Fake, tiny_adapters: list[Adapter]
) -> None:
    wanted, other = tiny_adapters[:2]
    remote.load(other)
    server.faults.instead = other.folder
    with pytest.raises(AdapterError, match=f"answers the probes as adapter {other.digest[:16]} does"):
        remote.load(wanted)
    server.faults.instead = tiny_adapters[2].folder
    with pytest.raises(AdapterError, match="as nobody known"):
        remote.load(wanted)


def test_an_adapter_without_effect_cannot_be_told_from_the_base(
    remote: RemoteEngine, server: Fake, tiny_adapters: list[Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapters import remote as module

    silent = remote._expected["the base model"]
    monkeypatch.setattr(module, "testify", lambda *_: silent)  # what a real one without effect testifies
    server.faults.no_effect = True
    with pytest.raises(AdapterError, match="cannot be told from the base model"):
        remote.load(tiny_adapters[0])


def test_another_base_model_is_refused(
    server: Fake, wire: Server, tiny: Base, tiny_adapters: list[Adapter], tmp_path: Path
) -> None:
    server.load("impostor", tiny_adapters[3].folder)
    with pytest.raises(EngineError, match=r"the base model \w+, the server answers .* set ASSISTANT_CHAT_MODEL"):
        RemoteEngine(tiny, wire, tmp_path, "impostor")


def test_of_several_base_models_one_has_to_be_named(server: Fake, wire: Server, tiny: Base, tmp_path: Path) -> None:
    RemoteEngine(tiny, wire, tmp_path)
    server.aliases = ["another"]
    with pytest.raises(EngineError, match="lists 2 models: served-base, another; set ASSISTANT_ENGINE_MODEL"):
        RemoteEngine(tiny, wire, tmp_path)
    RemoteEngine(tiny, wire, tmp_path, PLAIN)


def test_a_changed_byte_does_not_reach_the_server(
    remote: RemoteEngine, server: Fake, tiny_adapters: list[Adapter], tmp_path: Path
) -> None:
    adapter = tiny_adapters[0]
    remote.load(adapter)
    weights = tmp_path / "served" / adapter.digest / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    server.restart()
    with pytest.raises(AdapterError, match="a file was changed after it was verified"):
        say(remote, adapter.digest)


def test_a_restarted_server_gets_its_adapters_again(
    remote: RemoteEngine, server: Fake, tiny_adapters: list[Adapter]
) -> None:
    first, second = tiny_adapters[:2]
    remote.load(first)
    remote.load(second)
    said = say(remote, second.digest)
    server.restart()
    assert say(remote, second.digest) == said
    server.restart()
    server.faults.no_effect = True
    for why in ("as the base model does", "as the base model does"):  # the second time it is not even asked
        with pytest.raises(AdapterError, match=why):
            say(remote, first.digest)
    assert sum(path == "load_lora_adapter" for path, _ in server.asked) == 4


def test_an_adapter_that_is_changed_behind_our_back_is_found_out_and_replaced(
    server: Fake, wire: Server, tiny: Base, tiny_adapters: list[Adapter], tmp_path: Path
) -> None:
    engine = RemoteEngine(tiny, wire, tmp_path, lasts=0)
    adapter = tiny_adapters[0]
    engine.load(adapter)
    said, name = say(engine, adapter.digest), name_of(adapter.digest)
    server.load(name, tiny_adapters[1].folder)
    assert say(engine, adapter.digest) != said
    for _ in range(200):
        if [path for path, _ in server.asked].count("load_lora_adapter") == 2:
            break
        time.sleep(0.1)
        say(engine, adapter.digest)
    assert say(engine, adapter.digest) == said


def test_an_unloaded_adapter_leaves_the_server_when_its_last_answer_has_ended(
    remote: RemoteEngine, server: Fake, tiny_adapters: list[Adapter]
) -> None:
    one, other = tiny_adapters[:2]
    for adapter in (one, other):
        remote.load(adapter)
    said, name = say(remote, one.digest), name_of(one.digest)
    server.faults.hold_after = 1
    running = remote.stream(ASK, adapter=one.digest, sampling=SHORT)
    begun = next(iter(running))
    remote.unload(one.digest)
    assert remote.adapters() == [one, other] and name in server.models
    server.faults.held.set()
    assert begun + "".join(running) == said
    until(lambda: name not in server.models)
    assert remote.adapters() == [other]
    with pytest.raises(AdapterError, match="not loaded"):
        remote.stream(ASK, adapter=one.digest, sampling=SHORT)
    remote.unload(one.digest)  # nothing is left to do
    assert [path for path, _ in server.asked].count("unload_lora_adapter") == 1
    remote.load(one)
    assert say(remote, one.digest) == said


def test_a_server_that_has_forgotten_an_adapter_already_lets_it_go(
    remote: RemoteEngine, server: Fake, tiny_adapters: list[Adapter], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = tiny_adapters[:2]
    for adapter in (one, other):
        remote.load(adapter)
    server.models.pop(name_of(one.digest))
    remote.unload(one.digest)
    until(lambda: "was to forget adapter" in caplog.text)
    remote.load(tiny_adapters[2])  # nobody misses it among the neighbours
    assert remote.adapters() == [other, tiny_adapters[2]]


def told() -> bool:
    """Whether nobody is telling a server to forget an adapter."""
    return all(thread.name != "adapters-unload" for thread in threading.enumerate())


def test_a_proof_that_was_to_be_repeated_is_not_when_its_adapter_has_left(
    remote: RemoteEngine, server: Fake, tiny_adapters: list[Adapter]
) -> None:
    adapter = tiny_adapters[0]
    remote.load(adapter)
    remote.unload(adapter.digest)
    until(told)
    asked = len(server.asked)
    remote._renewing.acquire()
    remote._repeat(adapter)
    assert len(server.asked) == asked


def test_an_adapter_that_is_loaded_again_before_the_server_is_told_stays(
    remote: RemoteEngine, server: Fake, tiny_adapters: list[Adapter]
) -> None:
    adapter = tiny_adapters[0]
    remote.load(adapter)
    with remote._mutex:  # another one proves itself
        remote.unload(adapter.digest)
        remote.load(adapter)
    until(told)
    assert say(remote, adapter.digest)
    assert "unload_lora_adapter" not in {path for path, _ in server.asked}


def test_a_failing_server_is_asked_again_and_then_given_up(remote: RemoteEngine, server: Fake) -> None:
    expected = say(remote)
    server.faults.statuses = [500, 502]
    assert say(remote) == expected
    server.faults.statuses = [500] * 3
    with pytest.raises(EngineError, match="answers 500"):
        say(remote)
    assert server.faults.statuses == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_with_too_much_to_do_is_busy(remote: RemoteEngine, server: Fake, status: int) -> None:
    server.faults.statuses = [status] * 3
    with pytest.raises(EngineBusy, match=f"too much to do \\({status}\\)"):
        say(remote)
    server.faults.statuses, server.faults.retry_after = [status], "3600"
    with pytest.raises(EngineBusy):  # nobody waits for an hour
        say(remote)
    server.faults.statuses, server.faults.retry_after = [status], "0"
    assert say(remote)


BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("cut", {"cut_after": 2}, "broke off in the middle"),
    ("failed", {"error_after": 2}, "the engine died"),
    ("stalled", {"hold_after": 2, "held": threading.Event()}, "broke off in the middle.*ReadTimeout"),
    ("filtered", {"reason": "content_filter"}, "content_filter"),
]


@pytest.mark.parametrize(("faults", "said"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_an_answer_that_is_not_whole_is_an_error_and_not_an_answer(
    remote: RemoteEngine, server: Fake, faults: dict[str, Any], said: str
) -> None:
    before = len(server.asked)
    server.faults = Faults(**faults)
    impatient(remote)
    with pytest.raises(EngineError, match=said):
        say(remote)
    assert len(server.asked) == before + 1  # what was said cannot be unsaid: it is not asked again


def test_a_hanging_server_is_left_and_not_asked_again(remote: RemoteEngine, server: Fake) -> None:
    before = len(server.asked)
    server.faults.hang = threading.Event()
    impatient(remote)
    with pytest.raises(EngineError, match="said nothing for 20 s"):
        say(remote)
    server.faults.hang.set()
    assert len(server.asked) == before + 1


def test_an_answer_has_an_end(server: Fake, tiny: Base, tmp_path: Path) -> None:
    with closing(Server(server.url, patience=replace(PATIENCE, longest=0.3))) as wire:
        engine = RemoteEngine(tiny, wire, tmp_path)
        server.faults.pace = 0.1
        with pytest.raises(EngineError, match="took too long"):
            say(engine)


def test_closing_the_answer_ends_the_request_there(remote: RemoteEngine, server: Fake) -> None:
    server.faults.pace = 0.05
    running = remote.stream(ASK, adapter=None, sampling=Sampling(max_tokens=400))
    next(iter(running))
    running.close()  # type: ignore[attr-defined]
    assert server.left.wait(5)


def test_nobody_reached_is_an_error_that_says_where(tiny: Base, tmp_path: Path) -> None:
    nobody = Server("http://127.0.0.1:9/v1", patience=PATIENCE)
    with pytest.raises(EngineError, match=r"http://127.0.0.1:9/v1/models cannot be reached.*is the server running"):
        RemoteEngine(tiny, nobody, tmp_path)
    nobody.close()


@pytest.mark.parametrize(("key", "known"), [("right", True), ("wrong", False), (None, False)])
def test_the_key_opens_the_server(tiny: Base, tmp_path: Path, key: str | None, known: bool) -> None:
    with serving(tiny, "right") as fake, closing(Server(fake.url, key, PATIENCE)) as wire:
        opened: Callable[[], object] = lambda: RemoteEngine(tiny, wire, tmp_path, PLAIN)  # noqa: E731
        if known:
            opened()
        else:
            with pytest.raises(EngineError, match="refuses the key.*ASSISTANT_ENGINE_KEY"):
                opened()


def test_settings_choose_the_server(tiny: Base, tiny_adapters: list[Adapter], tmp_path: Path) -> None:
    with serving(tiny, "secret") as fake:
        settings = load({"ASSISTANT_ENGINE": fake.url, "ASSISTANT_ENGINE_KEY": "secret"}, tmp_path / "none")
        assert "secret" not in repr(settings)
        chosen = engine(settings.model_copy(update={"home": tmp_path}), tiny)
        assert isinstance(chosen, RemoteEngine)
        chosen.load(tiny_adapters[0])
        assert [path.name for path in (tmp_path / "adapters" / "served").iterdir()] == [tiny_adapters[0].digest]


def test_nobody_ends_a_turn_by_writing_its_token(remote: RemoteEngine, server: Fake) -> None:
    list(remote.stream([Message("user", "x<|im_end|>")], adapter=None, sampling=SHORT))
    assert "<|im_end|>" not in str(server.asked[-1])


def test_many_at_once_get_what_each_gets_alone(
    remote: RemoteEngine, here: TorchEngine, tiny_adapters: list[Adapter]
) -> None:
    digests = [None, *(one.digest for one in tiny_adapters[:3])] * 3
    for adapter in tiny_adapters[:3]:
        remote.load(adapter)
    heard: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda n, one: heard.__setitem__(n, say(remote, one)), args=(n, one))
        for n, one in enumerate(digests)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [heard[n] for n in range(len(digests))] == [say(here, one) for one in digests]


def test_a_closed_connection_is_an_error_of_the_engine_and_no_crash() -> None:
    server = Server("http://127.0.0.1:9/v1", None)
    server.close()
    with pytest.raises(EngineError, match="not asked any more"):
        server.models()

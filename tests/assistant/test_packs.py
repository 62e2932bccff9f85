"""Packs come and go while others serve: added from folders and zips, refused when broken, kept over restarts."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from adapters.store import Adapter, AdapterError
from assistant.packs import Pack, Packs, corpus
from assistant.store import Store
from assistant.unpack import BIGGEST
from domains.pack import DomainError, digest_of, load
from retrieval.embedder import Vectors

TinyPack = Callable[..., Path]
SHIPPED = ["customer_service", "finance", "medical"]
HOOKS = '"""Hooks."""\ndef respond(request):\n    return None\n'


class Hashed:
    """An Embedder without a model: quick, and different for different texts."""

    fingerprint = hashlib.sha256(b"hashed").hexdigest()

    def __init__(self) -> None:
        self.embedded = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.embedded += len(texts)
        raw = b"".join(hashlib.sha256(text.encode()).digest() for text in texts)
        rows = np.frombuffer(raw, dtype=np.uint8).reshape(len(texts), 32).astype(np.float32) - 127.5
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def no_adapter(_: str) -> Adapter | None:
    return None


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose shipped packs are indexed, so that only the first test waits for that."""
    home = tmp_path_factory.mktemp("built")
    store = Store(f"sqlite:///{home / 'state.db'}")
    assert sorted(Packs(store, home, Hashed(), no_adapter).enabled()) == SHIPPED
    store.close()
    return home


class Installation:
    """One home and database, in which packs can be opened again and again."""

    def __init__(self, store: Store, home: Path, built: Path) -> None:
        home.mkdir()
        for shared in ("indexes", "cache"):
            (built / shared).mkdir(exist_ok=True)
            (home / shared).symlink_to(built / shared)
        self.store, self.home, self.embedder = store, home, Hashed()
        self.seen: list[list[str]] = []
        self.fail = False

    def changed(self, enabled: Mapping[str, Pack]) -> None:
        if self.fail:
            raise RuntimeError("the reader cannot be trained")
        self.seen.append(list(enabled))

    def open(self, *extra: Path, adapter: Callable[[str], Adapter | None] = no_adapter) -> Packs:
        return Packs(self.store, self.home, self.embedder, adapter, extra, self.changed)


@pytest.fixture
def here(store: Store, tmp_path: Path, built: Path) -> Installation:
    return Installation(store, tmp_path / "home", built)


@pytest.fixture(scope="module")
def shared(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation for tests in which everything is refused."""
    home = tmp_path_factory.mktemp("shared")
    store = Store(f"sqlite:///{home / 'state.db'}")
    yield Installation(store, home / "home", built)
    store.close()


@pytest.fixture(scope="module")
def serving(shared: Installation) -> Packs:
    """The shipped packs, which no test may change."""
    return shared.open()


@pytest.fixture
def library(tiny_pack: TinyPack, tmp_path: Path) -> Path:
    return tiny_pack(tmp_path / "library")


def names(packs: Packs) -> list[str]:
    return [pack.domain.name for pack in packs.live()]


def zipped(folder: Path, target: Path, prefix: str = "", **more: str) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{prefix}{path.relative_to(folder).as_posix()}")
        for name, text in more.items():
            archive.writestr(name, text)
    return target


def test_the_shipped_packs_are_found_by_themselves(here: Installation) -> None:
    packs = here.open()
    assert names(packs) == SHIPPED
    assert all(pack.shipped and pack.enabled and pack.data.is_dir() for pack in packs.live())
    assert packs.problems() == []
    assert here.seen == [SHIPPED]
    assert [pack.passages for pack in packs.live()] == [len(corpus(pack.domain)) for pack in packs.live()]


def test_a_folder_is_added_serves_at_once_and_after_a_restart(here: Installation, library: Path) -> None:
    packs = here.open()
    added = packs.add(library)
    assert (added.domain.name, added.shipped, added.enabled, added.passages) == ("library", False, True, 5)
    assert list(packs.enabled()) == [*SHIPPED[:2], "library", "medical"]
    assert here.seen[-1] == list(packs.enabled())
    again = here.open()
    assert again.enabled()["library"].domain == added.domain


def test_the_index_is_kept_over_a_restart(here: Installation, library: Path) -> None:
    folder = here.open().add(library).index.folder
    here.embedder = Hashed()
    assert here.open().enabled()["library"].index.folder == folder
    assert here.embedder.embedded == 0


@pytest.mark.parametrize("prefix", ["", "my library/", "a/b/"])
def test_a_zip_is_unpacked_under_home_wherever_its_pack_lies(
    here: Installation, library: Path, tmp_path: Path, prefix: str
) -> None:
    packs = here.open()
    added = packs.add(zipped(library, tmp_path / "library.zip", prefix))
    assert added.domain.root == here.home / "packs" / digest_of(library)[:16]
    assert added.domain.articles == load(library).articles
    assert [path for path in (here.home / "packs").iterdir() if path.name.startswith(".")] == []
    packs.remove("library")
    assert not added.domain.root.exists()


@pytest.mark.parametrize("entry", ["../evil.txt", "a/../../evil.txt", "/tmp/evil-of-a-test.txt"])  # noqa: S108
def test_a_zip_that_points_outside_is_refused_and_writes_nothing(
    shared: Installation, serving: Packs, library: Path, tmp_path: Path, entry: str
) -> None:
    with pytest.raises(DomainError) as caught:
        serving.add(zipped(library, tmp_path / "slip.zip", **{entry: "evil"}))
    assert str(caught.value) == (
        f"{tmp_path / 'slip.zip'}: entry {entry!r} points outside the pack; nothing was unpacked"
    )
    assert not list(tmp_path.rglob("evil*")) and not Path("/tmp/evil-of-a-test.txt").exists()  # noqa: S108
    assert list((shared.home / "packs").iterdir()) == [] and names(serving) == SHIPPED


def test_a_zip_without_a_manifest_or_that_is_none_is_refused(
    shared: Installation, serving: Packs, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DomainError, match=r"empty.zip: holds no domain.yaml$"):
        serving.add(zipped(tmp_path / "empty", tmp_path / "empty.zip", **{"README.md": "hello"}))
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(DomainError, match=r"text.zip: cannot be unpacked: File is not a zip file$"):
        serving.add(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "damaged.ZIP", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("domain.yaml", "x" * 500)
    damaged = bytearray((tmp_path / "damaged.ZIP").read_bytes())
    damaged[41] ^= 0xFF  # first of the packed bytes
    (tmp_path / "damaged.ZIP").write_bytes(damaged)
    with pytest.raises(DomainError, match=r"damaged.ZIP: cannot be unpacked: Error -3 while decompressing data"):
        serving.add(tmp_path / "damaged.ZIP")
    assert list((shared.home / "packs").iterdir()) == []


def test_a_zip_that_says_it_is_giant_is_refused_before_it_is_unpacked(
    shared: Installation, serving: Packs, tmp_path: Path
) -> None:
    with (
        zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("domain.yaml", "w", force_zip64=True) as file,
    ):
        for _ in range(BIGGEST // (1 << 20) + 1):
            file.write(bytes(1 << 20))
    with pytest.raises(
        DomainError, match=r"bomb.zip: unpacks to 210,763,776 bytes, and at most 209,715,200 are taken$"
    ):
        serving.add(tmp_path / "bomb.zip")
    assert list((shared.home / "packs").iterdir()) == []


def test_a_broken_pack_is_refused_and_the_others_serve_on(here: Installation, library: Path) -> None:
    (library / "domain.yaml").write_text("name: [")
    packs = here.open()
    with pytest.raises(DomainError, match="not valid YAML"):
        packs.add(library)
    assert names(packs) == SHIPPED
    at_start = here.open(library)
    assert names(at_start) == SHIPPED
    assert [(problem.path, "not valid YAML" in problem.reason) for problem in at_start.problems()] == [
        (str(library), True)
    ]


def test_code_serves_only_where_its_digest_is_trusted(here: Installation, tiny_pack: TinyPack, tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "coded", hooks=HOOKS)
    packs = here.open()
    with pytest.raises(DomainError, match=f"its digest {digest_of(pack)[:16]} is not allowed here"):
        packs.add(pack)
    assert packs.add(pack, trust_code=True).domain.hooks.respond
    assert here.open().enabled()["library"].domain.hooks.respond
    (pack / "hooks.py").write_text(HOOKS + "# changed\n")
    with pytest.raises(DomainError, match=f"its digest {digest_of(pack)[:16]} is not allowed here"):
        packs.reload("library")
    assert "library" in packs.enabled()
    restarted = here.open()
    assert names(restarted) == SHIPPED
    assert "is not allowed here" in restarted.problems()[0].reason


def test_a_reload_takes_what_changed(here: Installation, library: Path) -> None:
    packs = here.open()
    before = packs.add(library)
    path = library / "knowledge" / "fees.md"
    path.write_text(path.read_text().replace("0.25 euros", "0.30 euros"))
    after = packs.reload("library")
    assert after.domain.digest != before.domain.digest and after.index.folder != before.index.folder
    assert any("0.30 euros" in passage.text for passage in after.index.passages())
    assert packs.enabled()["library"] is after


def test_a_reload_of_a_broken_pack_keeps_the_old_one_serving(here: Installation, library: Path) -> None:
    packs = here.open()
    before = packs.add(library)
    (library / "rules.yaml").write_text("must_refuse: 3")
    with pytest.raises(DomainError, match=r"rules.yaml: must_refuse: "):
        packs.reload("library")
    assert packs.enabled()["library"] is before
    assert before.index.passages()


def test_a_pack_that_changed_its_name_is_not_reloaded(here: Installation, library: Path) -> None:
    packs = here.open()
    packs.add(library)
    path = library / "domain.yaml"
    path.write_text(path.read_text().replace("name: library", "name: archive"))
    with pytest.raises(DomainError) as caught:
        packs.reload("library")
    assert str(caught.value) == f"{library}: is named 'archive' now; remove 'library' and add it again"


def test_a_disabled_pack_stays_loaded_and_disabled_over_a_restart(here: Installation, library: Path) -> None:
    packs = here.open()
    packs.add(library)
    packs.disable("library")
    packs.disable("finance")
    for one in (packs, here.open()):
        assert "library" in names(one) and list(one.enabled()) == ["customer_service", "medical"]
    packs.reload("library")
    assert "library" not in packs.enabled()
    packs.enable("library")
    assert "library" in packs.enabled() and "library" in here.open().enabled()


def test_the_last_pack_that_answers_stays(here: Installation, library: Path) -> None:
    packs = here.open()
    packs.add(library)
    for name in SHIPPED:
        packs.disable(name)
    for call in (packs.disable, packs.remove):
        with pytest.raises(DomainError, match="^'library' is the only enabled pack; enable another one first$"):
            call("library")
    assert list(packs.enabled()) == ["library"]


def test_a_removed_pack_is_gone_and_its_folder_stays(here: Installation, library: Path) -> None:
    packs = here.open()
    packs.add(library)
    packs.remove("library")
    assert names(packs) == names(here.open()) == SHIPPED
    assert here.seen[-1] == SHIPPED
    assert (library / "domain.yaml").exists()


def test_a_shipped_pack_is_not_removed(serving: Packs) -> None:
    with pytest.raises(DomainError) as caught:
        serving.remove("finance")
    assert str(caught.value) == "'finance' is shipped with the product and cannot be removed; disable it instead"


def test_an_unknown_pack_is_refused_with_those_there_are(serving: Packs) -> None:
    for call in (serving.reload, serving.remove, serving.enable, serving.disable):
        with pytest.raises(DomainError) as caught:
            call("cooking")
        assert str(caught.value) == "there is no pack 'cooking'; loaded are customer_service, finance, medical"


def test_a_shipped_name_is_taken_and_an_added_one_is_replaced(
    here: Installation, tiny_pack: TinyPack, tmp_path: Path
) -> None:
    packs = here.open()
    taken = tiny_pack(tmp_path / "taken", name="finance")
    with pytest.raises(DomainError) as caught:
        packs.add(taken)
    assert str(caught.value) == f"{taken}: a shipped pack is named 'finance'; choose another name in domain.yaml"
    packs.add(tiny_pack(tmp_path / "one"))
    second = tiny_pack(tmp_path / "two", title="Second library")
    packs.add(second)
    assert packs.enabled()["library"].domain.root == second
    assert here.open().enabled()["library"].domain.manifest.title == "Second library"


def test_of_two_folders_of_one_name_in_the_settings_the_first_serves(
    here: Installation, tiny_pack: TinyPack, tmp_path: Path
) -> None:
    one, two = tiny_pack(tmp_path / "one"), tiny_pack(tmp_path / "two")
    packs = here.open(one, two)
    assert packs.enabled()["library"].domain.root == one
    assert [problem.reason for problem in packs.problems()] == [f"{two}: another pack is named 'library': {one}"]


def test_an_adapter_that_does_not_fit_keeps_its_pack_out(
    here: Installation, tiny_pack: TinyPack, tmp_path: Path
) -> None:
    def refusing(name: str) -> Adapter | None:
        if name == "library":
            raise AdapterError("adapter 'library' was trained on another base")
        return None

    packs = here.open(adapter=refusing)
    with pytest.raises(AdapterError, match="trained on another base"):
        packs.add(tiny_pack(tmp_path / "library", adapter="library"))
    assert names(packs) == SHIPPED and names(here.open()) == SHIPPED


def test_a_change_that_cannot_serve_is_undone(here: Installation, library: Path) -> None:
    packs = here.open()
    here.fail = True
    with pytest.raises(RuntimeError, match="the reader cannot be trained"):
        packs.add(library)
    with pytest.raises(RuntimeError, match="the reader cannot be trained"):
        packs.disable("finance")
    assert list(packs.enabled()) == SHIPPED
    here.fail = False
    assert list(here.open().enabled()) == SHIPPED


def test_what_another_process_changes_is_followed(here: Installation, library: Path) -> None:
    serving, other = here.open(), here.open()
    other.add(library)
    other.disable("finance")
    assert names(serving) == SHIPPED
    serving.sync()
    assert list(serving.enabled()) == ["customer_service", "library", "medical"]
    other.remove("library")
    other.enable("finance")
    serving.sync()
    assert list(serving.enabled()) == SHIPPED
    calls = len(here.seen)
    serving.sync()
    assert len(here.seen) == calls, "nothing changed, so nothing is trained again"


def test_a_pack_without_headings_serves(here: Installation, library: Path) -> None:
    path = library / "knowledge" / "fees.md"
    path.write_text(re.sub(r"^#+ .*\n", "", path.read_text(), flags=re.MULTILINE))
    assert here.open().add(library).passages == 4

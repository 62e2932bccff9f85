"""What holds for the whole tree: whose packages these are, what they import, and that a wheel brings it all."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
ROOTS = ("adapters", "assistant", "domains", "retrieval", "ui")
PRODUCT = sorted(path for root in ROOTS for path in (ROOT / root).rglob("*.py") if "__pycache__" not in path.parts)
LONGEST = 400  # lines of a file
TALKERS = ("assistant/show.py", "assistant/cli.py")
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

every_file = pytest.mark.parametrize("path", PRODUCT, ids=lambda path: path.relative_to(ROOT).as_posix())


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in a file, in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def called(tree: ast.AST) -> Iterator[str]:
    """The bare names that are called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def unsafe(source: str) -> set[str]:
    """What a file does that may run a stranger's code: pickles, evaluated text, torch.load and np.load with pickles."""
    tree = ast.parse(source)
    found = {name for name in imported(tree) if name.split(".")[0] in UNSAFE_MODULES}
    found |= UNSAFE_CALLS & set(called(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            keywords = {one.arg: ast.unparse(one.value) for one in node.keywords}
            name = ast.unparse(node.func)
            if name in ("yaml.load", "yaml.unsafe_load") and keywords.get("Loader") != "yaml.BaseLoader":
                found.add(name)
            if name == "np.load" and keywords.get("allow_pickle") != "False":
                found.add(name)
            if name == "torch.load" and keywords.get("weights_only") != "True":
                found.add(name)
    return found


@pytest.mark.parametrize("name", ROOTS)
def test_the_five_roots_are_ours(name: str) -> None:
    file = importlib.import_module(name).__file__
    assert file is not None and Path(file) == ROOT / name / "__init__.py"


@pytest.mark.parametrize("name", ["adapters", "adapter-transformers"])
def test_no_distribution_that_would_shadow_ours_is_installed(name: str) -> None:
    with pytest.raises(PackageNotFoundError):
        distribution(name)


def test_the_tree_was_found() -> None:
    assert len(PRODUCT) > 40 and {path.relative_to(ROOT).parts[0] for path in PRODUCT} == set(ROOTS)


def hooks_break_in(source: str) -> set[str]:
    """What a hooks.py imports beside the standard library and domains.api."""
    allowed = sys.stdlib_module_names | {"__future__"}
    return {one for one in imported(ast.parse(source)) if one != "domains.api" and one.split(".")[0] not in allowed}


@pytest.mark.parametrize("path", sorted((ROOT / "domains").glob("*/hooks.py")), ids=lambda path: path.parent.name)
def test_hooks_import_the_standard_library_and_domains_api_only(path: Path) -> None:
    assert hooks_break_in(path.read_text()) == set()


@pytest.mark.parametrize("line", ["import numpy", "from domains.pack import load", "from . import x", "import domains"])
def test_other_imports_of_hooks_would_be_seen(line: str) -> None:
    assert hooks_break_in(f"import re\nfrom domains.api import Reply\ndef f():\n    {line}\n")


@every_file
def test_a_file_runs_no_strangers_code_and_prints_nothing(path: Path) -> None:
    source = path.read_text()
    assert unsafe(source) == set()
    if path.relative_to(ROOT).as_posix() not in TALKERS:
        assert "print" not in set(called(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "exec(text)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
    ],
)
def test_unsafe_code_would_be_seen(source: str) -> None:
    assert unsafe(source)


@every_file
def test_a_file_says_what_it_is_and_stays_short(path: Path) -> None:
    lines = path.read_text().splitlines()
    if path.parent.parent.name != "domains" or path.parent.name == "domains":  # a pack's tool is as long as its rules
        assert len(lines) <= LONGEST
    docstring = ast.get_docstring(ast.parse("\n".join(lines)))
    assert docstring, f"{path} has no docstring"


def pinned() -> dict[str, Version]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def required() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(one for group in project["optional-dependencies"].values() for one in group)]
    found = [Requirement(line) for line in lines]
    return [one for one in found if canonicalize_name(one.name) != project["name"]]


@pytest.mark.parametrize("requirement", required(), ids=lambda one: one.name)
def test_a_requirement_is_pinned_to_a_version_it_allows(requirement: Requirement) -> None:
    version = pinned().get(canonicalize_name(requirement.name))
    assert version is not None, f"constraints.txt does not pin {requirement.name}"
    assert requirement.specifier.contains(version)


def test_what_is_installed_is_what_is_pinned() -> None:
    wrong = {}
    for requirement in required():
        try:
            installed = Version(distribution(requirement.name).version)
        except PackageNotFoundError:  # an extra that was not asked for
            continue
        if Version(installed.public) != pinned()[canonicalize_name(requirement.name)]:  # 2.13.0+cpu is 2.13.0
            wrong[requirement.name] = str(installed)
    assert wrong == {}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel that is built from a copy of the tree."""
    pytest.importorskip("setuptools", reason="a wheel is built without isolation, and setuptools is not here")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ROOTS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    (source / "README.md").write_text("Read me.\n")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "."]
    built = subprocess.run([*command, "-w", str(target)], cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (file,) = target.glob("domain_assistant-*.whl")
    with zipfile.ZipFile(file) as archive:
        return set(archive.namelist())


def files() -> Iterator[str]:
    for root in ROOTS:
        for path in (ROOT / root).rglob("*"):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
                yield "/".join(parts)


def test_the_wheel_brings_every_file_of_the_packages(wheel: set[str]) -> None:
    assert set(files()) - wheel == set()


@pytest.mark.parametrize(
    "pattern",
    [
        r"assistant/screens\.yaml",
        r"assistant/out_of_scope\.txt",
        r"assistant/migrations/env\.py",
        r"assistant/migrations/versions/0001_\w+\.py",
        r"assistant/heads/\w+\.json",
        r"ui/\w+\.css",
        r"ui/\w+\.js",
        *(
            rf"domains/{pack}/{file}"
            for pack in ("customer_service", "finance", "medical")
            for file in (r"domain\.yaml", r"rules\.yaml", r"hooks\.py", r"knowledge/\w+\.md", r"training\.jsonl")
        ),
    ],
)
def test_the_wheel_holds_what_a_start_needs(wheel: set[str], pattern: str) -> None:
    assert [name for name in wheel if re.fullmatch(pattern, name)]


def test_the_wheel_holds_nothing_but_the_product(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert tops - set(ROOTS) == {top for top in tops if top.endswith(".dist-info")}
    assert not [name for name in wheel if name.endswith((".pyc", ".bin", ".pkl", ".pt"))]

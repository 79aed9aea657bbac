"""Shows P28 and API7: nothing that is ours is reached by an address that somebody else named (B27–B30)."""

from ipaddress import ip_address

import aiohttp
import pytest
from aiohttp import web

from runtime import outbound
from runtime.outbound import Allowed, OutboundSettings, Refused, Unreachable, is_public, make_session
from runtime.tests.strangers import CANARY_HOST, PUBLIC_HOST, Canary, Stranger, read

PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "0x7f.1",
    "2130706433",
    "0177.0.0.1",
    "0.0.0.0",
    "localhost",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[ff02::1]",
    "100.64.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "192.0.0.192",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "224.0.0.1",
    "255.255.255.255",
]


# -- addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
async def test_no_notation_of_a_private_address_is_reached(canary: Canary, host: str) -> None:
    """P28, B27. On port 443 only the address can be the reason; on the canary's port it would be heard."""
    async with make_session(OutboundSettings()) as session:
        with pytest.raises(Refused):
            await read(session, f"https://{host}/")
        for scheme in ("http", "https"):
            with pytest.raises(Refused):
                await read(session, f"{scheme}://{host}:{canary.port}/")
    assert canary.connections == 0


@pytest.mark.parametrize("host", ["a..b.example.com", f"{'a' * 64}.example.com"])
async def test_a_name_that_is_none_is_refused(host: str) -> None:
    async with make_session(OutboundSettings()) as session:
        with pytest.raises(Refused):
            await read(session, f"https://{host}/")


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
async def test_an_allowed_network_opens_no_other(canary: Canary, host: str) -> None:
    """P28: with an exception configured, names and ports are judged by where they lead."""
    async with make_session(OutboundSettings(outbound_allow=f"{PUBLIC_HOST}/32")) as session:
        for url in (f"https://{host}/", f"http://{host}:{canary.port}/"):
            with pytest.raises(Refused):
                await read(session, url)
    assert canary.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "localhost", "[::ffff:127.0.0.1]"])
async def test_the_session_itself_is_guarded(canary: Canary, host: str) -> None:
    """P28: also without `fetch`, as the transport under an SDK uses it."""
    async with make_session(OutboundSettings()) as session:
        with pytest.raises(Refused):
            await session.post(f"https://{host}:443/v1/images", json={})
        with pytest.raises(Refused):
            await session.get(f"http://{host}:{canary.port}/")
    assert canary.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/a.png",
        "data:image/png;base64,AAAA",
        "https://user:password@example.com/",
        "https://good.example@evil.example/",
        "https://example.com:22/",
        "https://example.com:6379/",
        "http://example.com/",
        "http://example.com:443/",
        "https:///nowhere",
        "https://example.com:99999/",
        "//example.com/",
        "/relative",
        "",
        "https://[::1",
    ],
)
async def test_only_https_without_credentials(url: str) -> None:
    """B28."""
    async with make_session(OutboundSettings()) as session:
        with pytest.raises(Refused):
            await read(session, url)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("168.63.129.15", True),
        ("100.63.255.255", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("::ffff:10.0.0.1", False),
        ("::8.8.8.8", False),
        ("2001:db8::1", False),
        ("2001::1", False),
        ("3fff::1", False),
        ("64:ff9b:1::1", False),
        ("fec0::1", False),
        ("198.19.255.255", False),
        ("240.0.0.1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    """API7: the table goes beyond Python's `is_global`."""
    assert is_public(ip_address(address)) is public


# -- names ----------------------------------------------------------------------------------------------------


async def test_a_name_is_resolved_once_and_pinned(
    stranger: Stranger, canary: Canary, session: aiohttp.ClientSession, names: dict[str, list[list[str]]]
) -> None:
    """B30: the second answer of a rebinding name server is never used for the connection that was checked."""
    names["rebind.test"] = [[PUBLIC_HOST], [CANARY_HOST]]
    assert await read(session, f"http://rebind.test:{stranger.port}/") == b"picture"
    assert stranger.hosts == [f"rebind.test:{stranger.port}"]
    async with make_session(OutboundSettings(outbound_allow=f"{PUBLIC_HOST}/32")) as another:
        with pytest.raises(Refused):
            await read(another, f"http://rebind.test:{canary.port}/")
    assert canary.connections == 0


@pytest.mark.parametrize("private", [CANARY_HOST, "10.0.0.1", "169.254.169.254"])
async def test_one_private_answer_refuses_the_name(
    canary: Canary, session: aiohttp.ClientSession, names: dict[str, list[list[str]]], private: str
) -> None:
    """B30: mixed records."""
    names["mixed.test"] = [[PUBLIC_HOST, private]]
    for url in (f"http://mixed.test:{canary.port}/", "https://mixed.test/"):
        with pytest.raises(Refused):
            await read(session, url)
    assert canary.connections == 0


async def test_a_public_name_on_another_port_is_refused(
    session: aiohttp.ClientSession, names: dict[str, list[list[str]]]
) -> None:
    names["public.test"] = [["8.8.8.8"]]
    with pytest.raises(Refused):
        await read(session, "http://public.test:8080/")


async def test_the_allow_list_names_host_and_port(stranger: Stranger, names: dict[str, list[list[str]]]) -> None:
    names["provider.test"] = [[PUBLIC_HOST]]
    async with make_session(OutboundSettings(outbound_allow=f" Provider.test:{stranger.port}, ")) as session:
        assert await read(session, f"http://provider.test:{stranger.port}/") == b"picture"
        for url in (stranger.url, f"http://provider.test:{stranger.port + 1}/"):
            with pytest.raises(Refused):
                await read(session, url)


@pytest.mark.parametrize("entry", ["example.com", "10.0.0.0/33", "http://example.com:80", ":80", "host:x"])
def test_a_malformed_allow_list_is_said_at_start(entry: str) -> None:
    with pytest.raises(ValueError, match="neither host:port nor a network"):
        Allowed.parse(entry)


# -- redirects ------------------------------------------------------------------------------------------------


async def test_a_redirect_to_something_of_ours_is_refused(
    stranger: Stranger, canary: Canary, session: aiohttp.ClientSession
) -> None:
    """B29."""
    targets = [f"http://127.0.0.1:{canary.port}/", "https://localhost/", "file:///etc/passwd", "https://a:b@c.test/"]
    for target in [*targets, f"//127.1:{canary.port}/"]:
        stranger.answer = lambda _, target=target: web.Response(status=302, headers={"Location": target})
        with pytest.raises(Refused):
            await read(session, stranger.url)
    assert canary.connections == 0


async def test_planted_a_redirect_that_is_followed_unseen_turns_the_check_red(
    stranger: Stranger, canary: Canary, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was named is looked at, and where it leads is not."""
    named, check = outbound.URL(stranger.url), outbound.check_url
    monkeypatch.setattr(
        outbound, "check_url", lambda url, allowed: check(url, allowed) if url.host == named.host else None
    )
    with pytest.raises((AssertionError, pytest.fail.Exception, Unreachable)):
        await test_a_redirect_to_something_of_ours_is_refused(stranger, canary, session)
    assert canary.connections > 0


@pytest.mark.parametrize(("redirects", "followed"), [(3, True), (4, False), (20, False)])
async def test_at_most_three_redirects(
    stranger: Stranger, session: aiohttp.ClientSession, redirects: int, followed: bool
) -> None:
    """B29."""

    def answer(request: web.Request) -> web.Response:
        left = int(request.query.get("left", redirects))
        return web.Response(status=307, headers={"Location": f"?left={left - 1}"}) if left else web.Response(body=b"x")

    stranger.answer = answer
    if followed:
        assert await read(session, stranger.url) == b"x"
    else:
        with pytest.raises(Refused, match="redirects"):
            await read(session, stranger.url)
    assert len(stranger.hosts) <= 4


async def test_a_signed_address_is_sent_as_it_was_given(stranger: Stranger, session: aiohttp.ClientSession) -> None:
    seen: list[str] = []
    stranger.answer = lambda request: (seen.append(request.raw_path), web.Response(body=b""))[1]
    query = "/a%2Fb?Credential=key%2F20260101&Signature=a%2Bb%3D"
    await read(session, f"http://{PUBLIC_HOST}:{stranger.port}{query}")
    assert seen == [query]


# -- the environment ----------------------------------------------------------------------------------------


async def test_no_proxy_from_the_environment(
    stranger: Stranger, canary: Canary, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API7: trust_env is off."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{canary.port}")
    assert await read(session, stranger.url) == b"picture"
    assert canary.connections == 0

"""Each user of NATS may do what its code does and nothing else, asked of a real server (design.md §4)."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.questions import QUESTIONS
from contracts.topology import CONSUMERS
from darkroom.embedded import NatsServer
from darkroom.jetstream import DELETIONS, RefusedError, ask, connect
from darkroom.stack import NATS_USERS, SERVICES
from darkroom.tests.subjects import HEARS, ID, NOBODY_HEARS, NOBODY_SAYS, SAYS
from darkroom.topology import AUTHORIZATION
from darkroom.topology.apply import apply
from darkroom.topology.parties import ASKERS
from darkroom.topology.permissions import PERMISSIONS

pytestmark = pytest.mark.connected

PASSWORDS = {user: f"n{uuid4().hex}" for user in NATS_USERS}


class Login:
    """One user's connection, and what the server refused it."""

    def __init__(self, client: Client, violations: list[str]) -> None:
        self.client = client
        self.violations = violations

    async def may_say(self, subject: str, payload: bytes = b"") -> bool:
        self.violations.clear()
        await self.client.publish(subject, payload)
        await self._heard_back()
        return not any(f'publish to "{subject.lower()}"' in words for words in self.violations)

    async def may_hear(self, subject: str) -> bool:
        self.violations.clear()
        subscription = await self.client.subscribe(subject)
        await self._heard_back()
        await subscription.unsubscribe()
        return not any(f'subscription to "{subject.lower()}"' in words for words in self.violations)

    async def _heard_back(self) -> None:
        """A refusal comes before the second answer: nats-py sends its first question ahead of what is pending."""
        await self.client.flush()
        await self.client.flush()

    async def refused_of(self, says: set[str], hears: set[str]) -> set[str]:
        said = {subject for subject in says if not await self.may_say(subject)}
        return said | {subject for subject in hears if not await self.may_hear(subject)}


def url_of(server: NatsServer, user: str, password: str | None = None) -> str:
    return server.nats_url.replace("//", f"//{user}:{password or PASSWORDS[user]}@")


@asynccontextmanager
async def login(server: NatsServer, user: str) -> AsyncIterator[Login]:
    violations: list[str] = []
    client = await connect(url_of(server, user), user, forbidden=violations.append)
    try:
        yield Login(client, violations)
    finally:
        await client.close()


def guarded(data: Path, port: int | None = None) -> NatsServer:
    variables = {f"{user.upper()}_NATS_PASSWORD": password for user, password in PASSWORDS.items()}
    return NatsServer(data, port=port, authorization=AUTHORIZATION.read_text(), variables=variables)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = guarded(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module", autouse=True)
async def applied(server: NatsServer) -> None:
    """By the watcher's own user: it has what that needs."""
    async with login(server, "topology") as topology:
        assert {change.done for change in await apply(topology.client)} == {"created"}
        assert await apply(topology.client) == []
        assert topology.violations == []


async def test_the_tables_name_everybody() -> None:
    assert tuple(PERMISSIONS) == NATS_USERS
    assert set(ASKERS) == set(QUESTIONS)


@pytest.mark.parametrize("service", SERVICES)
async def test_what_a_service_needs_is_allowed(server: NatsServer, service: str) -> None:
    async with login(server, service) as client:
        assert await client.refused_of(SAYS[service], HEARS[service]) == set()


@pytest.mark.parametrize("service", SERVICES)
async def test_what_only_another_service_needs_is_refused(server: NatsServer, service: str) -> None:
    """Another's facts, durables, acknowledgements, dead letters, questions and inbox."""
    says = set().union(*SAYS.values()) - SAYS[service]
    hears = set().union(*HEARS.values()) - HEARS[service]
    assert len(says) > 20
    async with login(server, service) as client:
        assert await client.refused_of(says, hears) == says | hears


@pytest.mark.parametrize("service", SERVICES)
async def test_what_no_service_needs_is_refused(server: NatsServer, service: str) -> None:
    """Streams and durables are nobody's to make, change, empty or delete; nobody listens to what is not theirs."""
    assert len(NOBODY_SAYS) > 100
    async with login(server, service) as client:
        assert await client.refused_of(NOBODY_SAYS, NOBODY_HEARS) == NOBODY_SAYS | NOBODY_HEARS


async def test_whatever_they_tried_streams_and_durables_are_as_they_were(server: NatsServer) -> None:
    async with login(server, "operator") as operator:
        before = await ask(operator.client, "STREAM.LIST", {})
        for service in SERVICES:
            async with login(server, service) as client:
                for stream in ("OUTCOMES", "GENERATION"):
                    for verb in ("DELETE", "PURGE"):
                        with pytest.raises(NatsError):
                            await client.client.request(f"$JS.API.STREAM.{verb}.{stream}", b"", timeout=0.2)
        after = await ask(operator.client, "STREAM.LIST", {})
    assert [each["config"] for each in after["streams"]] == [each["config"] for each in before["streams"]]
    assert [each["state"] for each in after["streams"]] == [each["state"] for each in before["streams"]]


async def test_the_watcher_makes_what_the_contracts_name_and_nothing_else(server: NatsServer) -> None:
    named = ("GENERATION", "OUTCOMES", "CREDITS", "NOTIFICATIONS", "DEAD", "OBJ_claims")
    says = {
        *(f"$JS.API.STREAM.{verb}.{stream}" for stream in named for verb in ("INFO", "CREATE", "UPDATE")),
        *(
            f"$JS.API.CONSUMER.{verb}.{each.stream}.{each.durable}"
            for each in CONSUMERS
            for verb in ("INFO", "CREATE", "PAUSE")
        ),
        *(f"$JS.API.CONSUMER.LIST.{each.stream}" for each in CONSUMERS),
    }
    others = (NOBODY_SAYS | set().union(*SAYS.values())) - says
    hears = NOBODY_HEARS | set().union(*HEARS.values())
    async with login(server, "topology") as client:
        assert await client.refused_of(says, {"_INBOX_topology.x.*", *DELETIONS}) == set()
        assert await client.refused_of(others, hears) == others | hears
        assert {f"$JS.API.STREAM.DELETE.{stream}" for stream in named} <= others


@pytest.mark.parametrize("beside", [{"durable_name": "mine"}, {"durable_name": "mine", "name": "mine"}])
async def test_the_gateways_one_exception_makes_no_durable(server: NatsServer, beside: dict[str, str]) -> None:
    async with login(server, "gateway") as gateway:
        config = {"ack_policy": "explicit", **beside}
        question = {"stream_name": "NOTIFICATIONS", "config": config}
        with pytest.raises(RefusedError, match="expected to be ephemeral"):
            await ask(gateway.client, "CONSUMER.CREATE.NOTIFICATIONS", question)
        question = {"stream_name": "OUTCOMES", "config": {"ack_policy": "explicit"}}
        with pytest.raises(RefusedError, match="does not match"):
            await ask(gateway.client, "CONSUMER.CREATE.NOTIFICATIONS", question)


async def test_the_operator_may_do_everything_in_the_account(server: NatsServer) -> None:
    async with login(server, "operator") as operator:
        hears = {">", "$JS.API.>", "generation.>", "_INBOX_gateway.>"}
        assert (
            await operator.refused_of(
                {"ledger.grant", "ledger.set_plan", "ledger.set_prices", f"verdict.{ID}", "$JS.API.STREAM.NAMES"}, hears
            )
            == set()
        )
        await ask(operator.client, "STREAM.CREATE.MINE", {"name": "MINE", "subjects": ["mine"]})
        assert (await ask(operator.client, "STREAM.DELETE.MINE"))["success"]


@pytest.mark.parametrize(
    "address",
    [
        lambda server: server.nats_url,
        lambda server: url_of(server, "ledger", "wrong"),
        lambda server: url_of(server, "operator", PASSWORDS["ledger"]),
        lambda server: url_of(server, "nobody", PASSWORDS["ledger"]),
    ],
    ids=["no user", "wrong password", "another's password", "unknown user"],
)
async def test_nobody_else_is_let_in(server: NatsServer, address: Callable[[NatsServer], str]) -> None:
    async def ignore(_: Exception) -> None: ...

    with pytest.raises(NatsError, match="Authorization Violation"):
        await nats.connect(address(server), allow_reconnect=False, error_cb=ignore)


async def test_whoever_is_asked_answers_once_and_only_who_asked(server: NatsServer) -> None:
    async with login(server, "ledger") as ledger, login(server, "gateway") as gateway:
        asked = await ledger.client.subscribe("ledger.balance", queue="ledger")
        await ledger._heard_back()
        inbox = gateway.client.new_inbox()
        heard = await gateway.client.subscribe(inbox)
        await gateway.client.publish("ledger.balance", b"{}", reply=inbox)
        question = await asked.next_msg(2)
        assert not await ledger.may_say(f"{question.reply}.another")
        assert await ledger.may_say(question.reply, b"1")
        assert not await ledger.may_say(question.reply, b"2")
        assert (await heard.next_msg(2)).data == b"1"
        with pytest.raises(NatsError):
            await heard.next_msg(0.2)


async def test_data_of_a_server_without_users_is_kept(tmp_path: Path) -> None:
    former = NatsServer(tmp_path)
    former.start()
    client = await connect(former.nats_url, "test")
    await apply(client)
    await client.jetstream().publish(f"generation.outcome.{ID}", b"kept")
    await client.close()
    former.stop()

    later = guarded(tmp_path, former.port)
    later.start()
    try:
        async with login(later, "topology") as topology:
            assert await apply(topology.client) == []
        async with login(later, "ledger") as ledger:
            kept = await ledger.client.jetstream().get_last_msg("OUTCOMES", f"generation.outcome.{ID}", direct=True)
            assert kept.data == b"kept"
    finally:
        later.stop()


async def test_the_address_says_who_one_is_before_the_environment_does(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's NATS_USER in the shell must not keep the operator out of the stack that the file names."""
    monkeypatch.setenv("NATS_USER", "ledger")
    monkeypatch.setenv("NATS_PASSWORD", PASSWORDS["ledger"])
    async with login(server, "operator") as operator:
        assert json.dumps(await ask(operator.client, "STREAM.NAMES"))
    client = await connect(server.nats_url, "ledger")
    assert await ask(client, "STREAM.INFO.OUTCOMES")
    await client.close()

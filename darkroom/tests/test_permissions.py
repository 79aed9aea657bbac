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

from contracts.questions import (
    QUESTIONS,
)
from contracts.topology import CONSUMERS
from darkroom.embedded import NatsServer
from darkroom.jetstream import RefusedError, ask, connect
from darkroom.stack import NATS_USERS, SERVICES
from darkroom.topology import AUTHORIZATION
from darkroom.topology.apply import apply
from darkroom.topology.parties import ASKERS
from darkroom.topology.permissions import PERMISSIONS

pytestmark = pytest.mark.connected

ID = uuid4()
PASSWORDS = {user: f"n{uuid4().hex}" for user in NATS_USERS}
DROPS = "$JS.API.STREAM.MSG.DELETE.DEAD"
"""A dead letter, which an operator forgets in the studio: all that a service may delete, and the gateway alone."""
SAYS = {
    "gateway": {
        f"generation.requested.image.interactive.{ID}",
        f"generation.outcome.{ID}",
        f"notification.{ID}.completed",
        f"$JS.API.DIRECT.GET.OUTCOMES.generation.outcome.{ID}",
        "ledger.affordable",
        "ledger.balance",
        "ledger.prices",
        "ledger.credit_packs",
        "ledger.create_payment",
        "ledger.confirm_payment",
        "ledger.payment_event",
        "ledger.consume",
        "ledger.usage",
        "generator.catalog",
        "generator.keys",
        "generator.set_key",
        "generator.take_result",
        "generator.look_at_task",
        "generator.moderate",
        *(f"$JS.API.CONSUMER.INFO.{each.stream}.{each.durable}" for each in CONSUMERS),
        "$JS.API.STREAM.INFO.DEAD",
        "$JS.API.STREAM.INFO.NOTIFICATIONS",
        "$JS.API.CONSUMER.CREATE.NOTIFICATIONS",
        "$JS.FC.NOTIFICATIONS.Ab12.Cd34",
        "$O.claims.C.chunk",
        "$O.claims.M.bmFtZQ==",
        "storage.take_upload",
        "storage.find_media",
        "storage.offer_upload",
        "storage.usage",
        "storage.lend",
        "$JS.API.DIRECT.GET.OBJ_claims",
        "$JS.API.DIRECT.GET.OBJ_claims.$O.claims.M.bmFtZQ==",
        "storage.show",
        "storage.delete",
        "storage.forget",
        "ledger.course",
        "ledger.figures",
        "generator.course",
        "generator.figures",
        "generator.models",
        "generator.switch_model",
        "storage.course",
        "$JS.API.DIRECT.GET.GENERATION",
        "$JS.API.DIRECT.GET.DEAD",
        DROPS,
    },
    "generator": {
        f"generation.rendered.image.batch.{ID}",
        f"generation.outcome.{ID}",
        f"$JS.API.DIRECT.GET.OUTCOMES.generation.outcome.{ID}",
        f"progress.{ID}",
        "$JS.API.STREAM.INFO.OBJ_claims",
        "$JS.API.STREAM.MSG.GET.OBJ_claims",
        "$JS.API.STREAM.PURGE.OBJ_claims",
        "$O.claims.C.chunk",
        "$O.claims.M.bmFtZQ==",
        "$JS.API.DIRECT.GET.OBJ_claims",
        "$JS.API.DIRECT.GET.OBJ_claims.$O.claims.M.bmFtZQ==",
        f"hint.{ID}",
        "storage.lend",
    },
    "storage": {
        f"generation.outcome.{ID}",
        f"$JS.API.DIRECT.GET.OUTCOMES.generation.outcome.{ID}",
        f"progress.{ID}",
        "gateway.outcomes",
        "$JS.API.DIRECT.GET.OBJ_claims",
        "$JS.API.DIRECT.GET.OBJ_claims.$O.claims.M.bmFtZQ==",
        "generator.fresh_address",
        "$O.claims.C.chunk",
        "$O.claims.M.bmFtZQ==",
        "ledger.plans",
    },
    "ledger": {
        f"generation.funded.image.interactive.{ID}",
        f"generation.outcome.{ID}",
        f"credits.granted.{ID}",
        f"credits.payment_received.{ID}",
        f"credits.changed.{ID}",
        f"$JS.API.DIRECT.GET.OUTCOMES.generation.outcome.{ID}",
        "gateway.outcomes",
        "$JS.API.STREAM.INFO.OUTCOMES",
    },
}
"""What each service's code was seen to publish, besides what its durables take."""
for _each in CONSUMERS:
    SAYS[_each.service] |= {
        f"$JS.API.CONSUMER.MSG.NEXT.{_each.stream}.{_each.durable}",
        f"$JS.ACK.{_each.stream}.{_each.durable}.1.2.3.4.5",
        f"dead.{_each.durable}",
    }
STORAGE_ANSWERS = ("take_upload", "offer_upload", "find_media", "lend", "usage", "keep", "delete", "show", "forget")
HEARS = {
    # The server lets `verdict.>` pass where `verdict.*` is allowed; nothing deeper is ever said.
    "gateway": {
        *("_INBOX_gateway.x.*", "gateway.outcomes", "gateway.forget_voices"),
        *(f"verdict.{ID}", f"progress.{ID}", "verdict.>", "progress.>"),
    },
    "generator": {
        "_INBOX_generator.x.*",
        "generator.catalog",
        "generator.fresh_address",
        "generator.keys",
        "generator.set_key",
        "generator.take_result",
        "generator.look_at_task",
        "generator.moderate",
        f"hint.{ID}",
        "hint.>",
    },
    "storage": {"_INBOX_storage.x.*", *(f"storage.{each}" for each in STORAGE_ANSWERS)},
    "ledger": {
        *("_INBOX_ledger.x.*", "ledger.affordable", "ledger.balance", "ledger.prices", "ledger.grant"),
        *("ledger.consume", "ledger.usage", "ledger.set_plan", "ledger.set_prices", "ledger.plans"),
        *("ledger.credit_packs", "ledger.create_payment", "ledger.confirm_payment", "ledger.payment_event"),
    },
}
NOBODY_SAYS = {
    *(
        f"$JS.API.STREAM.{verb}.{stream}"
        for stream in ("OUTCOMES", "GENERATION", "NOTIFICATIONS", "CREDITS", "DEAD", "MINE")
        for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "RESTORE")
        if (verb, stream) != ("MSG.DELETE", "DEAD")
    ),
    *(f"$JS.API.STREAM.{verb}.OBJ_claims" for verb in ("CREATE", "UPDATE", "DELETE", "MSG.DELETE", "RESTORE")),
    *(
        f"$JS.API.CONSUMER.{verb}.{each.stream}.{each.durable}"
        for each in CONSUMERS
        for verb in ("CREATE", "DURABLE.CREATE", "DELETE", "PAUSE", "RESET", "UNPIN", "LEADER.STEPDOWN")
    ),
    *(
        f"$JS.API.CONSUMER.{verb}.NOTIFICATIONS.mine"
        for verb in ("CREATE", "DURABLE.CREATE", "MSG.NEXT", "DELETE", "CREATE.NOTIFICATIONS")
    ),
    "$JS.API.CONSUMER.CREATE.NOTIFICATIONS.mine.notification.*.*",
    "$JS.API.CONSUMER.CREATE.OUTCOMES",
    "$JS.API.CONSUMER.CREATE.GENERATION.mine",
    "$JS.API.CONSUMER.LIST.GENERATION",
    "$JS.API.CONSUMER.NAMES.GENERATION",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.INFO.GENERATION",
    "$JS.API.STREAM.LEADER.STEPDOWN.OUTCOMES",
    "$JS.API.STREAM.PEER.REMOVE.OUTCOMES",
    "$JS.API.DIRECT.GET.OUTCOMES",
    f"$JS.API.DIRECT.GET.GENERATION.generation.funded.image.interactive.{ID}",
    "$JS.API.META.LEADER.STEPDOWN",
    "$JS.API.SERVER.REMOVE",
    "$JS.API.ACCOUNT.PURGE.$G",
    "$JS.API.INFO",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.GENERATION.ledger-hold-requested",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.USER.INFO",
    f"verdict.{ID}",
    f"credits.taken.{ID}",
    "ledger.grant",
    "ledger.set_plan",
    "ledger.set_prices",
    "dead.nobody",
    "_INBOX.x.y",
    *(f"_INBOX_{user}.x.y" for user in NATS_USERS),
    "elsewhere",
}
"""An inbox is only written to as an answer. The operator may all of these, the watcher some: see below."""
NOBODY_HEARS = {
    *(">", "*", "*.>", "$SYS.>", "$SYS.REQ.>", "$JS.>", "$JS.API.>", "$JS.API.STREAM.>", "$JS.API.CONSUMER.MSG.NEXT.>"),
    *("$JS.ACK.>", "$JS.EVENT.>", "$O.claims.>", "$O.claims.C.*", "generation.>", "generation.requested.>"),
    *("generation.funded.*.*.*", "generation.outcome.*", "credits.>", "notification.>", "notification.*.*", "dead.*"),
    *("ledger.*", "ledger.>", "gateway.>", "generator.>", "_INBOX.>", "_INBOX_operator.>"),
}


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
        *(f"$JS.API.CONSUMER.{verb}.{each.stream}.{each.durable}" for each in CONSUMERS for verb in ("INFO", "CREATE")),
        *(f"$JS.API.CONSUMER.LIST.{each.stream}" for each in CONSUMERS),
    }
    others = (NOBODY_SAYS | set().union(*SAYS.values())) - says
    hears = NOBODY_HEARS | set().union(*HEARS.values())
    async with login(server, "topology") as client:
        assert await client.refused_of(says, {"_INBOX_topology.x.*"}) == set()
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

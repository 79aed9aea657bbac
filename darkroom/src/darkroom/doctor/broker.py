"""NATS: are streams and consumers as the contracts say, does it write before it acknowledges, who gets in."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError

from contracts.topology import CONSUMERS, DEAD, OUTCOMES
from darkroom.doctor.database import CLOCK_SECONDS, clock_difference
from darkroom.doctor.findings import Deployment, Part
from darkroom.jetstream import CONNECT_SECONDS, RefusedError, ask, connect, servers_of
from darkroom.topology.apply import FOR_ONE_SERVER, as_made, differs, is_for_one_server, stream_configs

ANSWER_SECONDS = 5
MOST_SYNC_SECONDS = 1.0
"""How much a single node may lose with its machine."""
_TOPOLOGY = "Let `darkroom topology --watch` run: it repairs this within 10 s, and says what it may not."


async def look(deployment: Deployment) -> Part:
    part = Part("NATS")
    if deployment.nats_url is None:
        part.skipped = "NATS_URL is not set"
        return part
    try:
        client = await connect(deployment.nats_url, "operator")
    except (NatsError, OSError) as error:
        found = f"does not let us in: {error or type(error).__name__}"
        part.check(False, "NATS", found, "Start it, or correct NATS_URL, NATS_USER and NATS_PASSWORD.")
        return part
    try:
        replicas = await _streams(part, client)
        await _consumers(part, client, replicas)
        await _durability(part, deployment.nats_monitoring_url, servers_of(client), replicas)
    except NatsError as error:
        found = f"does not answer: {error or type(error).__name__}"
        part.check(False, "JetStream", found, "Switch JetStream on, and give the operator's user its permissions.")
    finally:
        await client.close()
    await _strangers(part, deployment.nats_url)
    return part


async def _streams(part: Part, client: Client) -> int:
    """How many copies the log has, and so all others should."""
    before = datetime.now(UTC)
    infos = {wanted["name"]: await _info(client, f"STREAM.INFO.{wanted['name']}") for wanted in stream_configs()}
    after = datetime.now(UTC)
    log = infos[OUTCOMES.name]
    replicas = int(log["config"]["num_replicas"]) if log else 1
    for wanted in stream_configs(replicas):
        name, info = wanted["name"], infos[wanted["name"]]
        part.check(info is not None, f"stream {name}", "is missing", _TOPOLOGY)
        if info is not None:
            actual = info["config"]
            found = "is set otherwise than the contracts say"
            do = FOR_ONE_SERVER if is_for_one_server(actual, replicas) else _TOPOLOGY
            part.check(not differs(as_made(wanted, actual), actual), f"stream {name}", found, do)
    if log and "ts" in log:
        away = clock_difference(before, datetime.fromisoformat(log["ts"]), after)
        part.check(away <= CLOCK_SECONDS, "clock of NATS", f"is {away:.1f} s off ours", "Let NTP set both clocks.")
    dead = infos[DEAD.name]
    if dead is not None:
        count = dead["state"]["messages"]
        part.check(count == 0, f"stream {DEAD.name}", f"has {count} messages", "Look at them: `darkroom dead list`.")
    return replicas


async def _consumers(part: Part, client: Client, replicas: int) -> None:
    for consumer in CONSUMERS:
        about = f"consumer {consumer.durable}"
        info = await _info(client, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}")
        part.check(info is not None, about, "is missing", _TOPOLOGY)
        if info is None:
            continue
        wanted = {key: value for key, value in consumer.config(replicas).items() if key != "deliver_policy"}
        found = "is set otherwise than the contracts say"
        part.check(not differs(wanted, info["config"]), about, found, _TOPOLOGY)
        part.check(not info.get("paused"), about, "is paused", _TOPOLOGY)
        part.check(
            info.get("num_waiting", 0) > 0,
            about,
            "is asked by nobody",
            f"See why {consumer.service} does not consume: its /ready says it.",
        )


async def _durability(part: Part, monitoring_url: str | None, servers: int, replicas: int) -> None:
    copies = min(servers, 3)
    found = f"have {replicas} copies on {servers} servers"
    part.check(replicas >= copies, "streams", found, f"Run `darkroom topology --watch --replicas {copies}`.")
    if monitoring_url is None:
        return
    config = await _configuration(monitoring_url)
    part.check(config is not None, "NATS's monitoring", "does not answer", "Correct NATS_MONITORING_URL.")
    if config is None:
        return
    seconds = 0.0 if config.get("sync_always") else float(config.get("sync_interval", 120e9)) / 1e9
    part.check(
        seconds <= MOST_SYNC_SECONDS or replicas > 1,
        "sync_interval",
        f"is {seconds:.0f} s: what a single node acknowledged can be lost with its machine",
        "Set sync_interval: always inside jetstream {}.",
    )


async def _configuration(monitoring_url: str) -> Mapping[str, Any] | None:
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{monitoring_url.rstrip('/')}/varz", raise_for_status=True) as answer,
        ):
            document = json.loads(await answer.read())
            return dict(document["jetstream"]["config"])
    except (aiohttp.ClientError, TimeoutError, OSError, KeyError, ValueError):
        return None


async def _strangers(part: Part, nats_url: str) -> None:
    """Whether somebody without a name is let in."""
    anonymous = [f"nats://{server.rpartition('@')[2].removeprefix('nats://')}" for server in nats_url.split(",")]

    async def quiet(_: Exception) -> None:
        """To be refused is what we hope for."""

    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            client = await nats.connect(
                anonymous, error_cb=quiet, allow_reconnect=False, connect_timeout=CONNECT_SECONDS
            )
    except (NatsError, OSError, TimeoutError):
        part.check(True, "NATS", "", "")
        return
    await client.close()
    part.check(
        False, "NATS", "lets in whoever comes, without a password", "Give it the users in deploy/nats/nats.conf."
    )


async def _info(client: Client, subject: str) -> dict[str, Any] | None:
    try:
        return await ask(client, subject)
    except RefusedError:
        return None

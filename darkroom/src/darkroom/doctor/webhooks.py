"""Webhooks: are ours sent and taken, and does the gateway hear Stripe's."""

import aiohttp
import asyncpg

from darkroom import namespaces
from darkroom.doctor.findings import Deployment, Part
from darkroom.migration import CONNECT_SECONDS

ANSWER_SECONDS = 10
LATE_SECONDS = 300
"""Of a delivery that nobody took up: each gateway looks every half second."""
_FAILING = """
    SELECT count(*) FROM "{schema}".webhooks WHERE state = 'active' AND failing_since < now() - interval '1 hour'
"""
_UNSENT = """
    SELECT count(*) FROM "{schema}".deliveries JOIN "{schema}".webhooks ON webhooks.id = webhook_id
    WHERE deliveries.state = 'pending' AND webhooks.state = 'active'
        AND next_at < now() - make_interval(secs => {seconds})
"""


async def look(deployment: Deployment) -> Part:
    part = Part("webhooks")
    if deployment.database_url is None and deployment.gateway_url is None:
        part.skipped = "neither DATABASE_URL nor GATEWAY_URL is set"
        return part
    if deployment.database_url is not None:
        await _ours(part, deployment.database_url)
    if deployment.gateway_url is not None:
        await _stripes(part, deployment.gateway_url.rstrip("/"))
    return part


async def _ours(part: Part, database_url: str) -> None:
    try:
        connection = await asyncpg.connect(database_url, timeout=CONNECT_SECONDS)
    except (OSError, asyncpg.PostgresError, asyncpg.ClientConfigurationError):
        return  # which is said of Postgres
    try:
        schema = (await namespaces.found(connection))["gateway"]
        failing = await connection.fetchval(_FAILING.format(schema=schema))
        unsent = await connection.fetchval(_UNSENT.format(schema=schema, seconds=LATE_SECONDS))
    except asyncpg.UndefinedTableError:
        return
    finally:
        await connection.close()
    part.check(
        unsent == 0,
        "deliveries",
        f"{unsent} are due for more than five minutes, and nobody sends them",
        "Set WEBHOOK_SIGNING_KEY for every gateway, and see that one runs.",
    )
    part.check(
        failing == 0,
        "receivers",
        f"{failing} have taken nothing for an hour",
        "See `webhook.not_told` in the gateway's log; after three days they are switched off.",
    )


async def _stripes(part: Part, url: str) -> None:
    """An event that nobody signed: heard and refused where payments are on."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session,
            session.post(f"{url}/webhooks/stripe", data=b"{}") as answer,
        ):
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        return  # which is said of the gateway
    part.check(
        status // 100 != 2,
        "Stripe's webhook",
        f"an event without a signature is taken ({status})",
        "Set STRIPE_WEBHOOK_SECRET for the ledger, and let nothing between Stripe and the gateway answer for it.",
    )
    part.check(
        status not in {401, 404, 502},
        "Stripe's webhook",
        f"{url}/webhooks/stripe answers {status}: what Stripe says does not reach the ledger",
        "Let the proxy before the gateway forward /webhooks/stripe as it is.",
    )

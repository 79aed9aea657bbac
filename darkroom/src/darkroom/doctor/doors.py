"""The two front doors: are they ready, what is the time there, and does anybody get in without a token."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from darkroom.doctor.database import CLOCK_SECONDS, clock_difference
from darkroom.doctor.findings import Deployment, Part

ANSWER_SECONDS = 10


async def look(deployment: Deployment) -> Part:
    part = Part("gateway and storage")
    doors = {"gateway": deployment.gateway_url, "storage": deployment.media_url}
    if not any(doors.values()):
        part.skipped = "neither GATEWAY_URL nor PUBLIC_MEDIA_URL is set"
        return part
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session:
        for name, url in doors.items():
            if url is not None:
                await _ready(part, session, name, url.rstrip("/"))
        if deployment.gateway_url is not None and not deployment.loopback_only:
            await _tokens(part, session, deployment.gateway_url.rstrip("/"))
    return part


async def _ready(part: Part, session: aiohttp.ClientSession, name: str, url: str) -> None:
    before = datetime.now(UTC)
    status, body, headers = await _get(session, f"{url}/ready")
    after = datetime.now(UTC)
    if status is None:
        part.check(False, name, f"does not answer at {url}: {body}", "Start it, or correct its address.")
        return
    problems = body.get("problems", []) if isinstance(body, dict) else []
    found = f"is not ready: {'; '.join(map(str, problems)) or f'/ready says {status}'}"
    part.check(status == 200, name, found, "Start what it waits for; its log says more.")
    if "Date" in headers:
        # Whole seconds: what is within the second is no difference.
        theirs = parsedate_to_datetime(headers["Date"])
        away = min(clock_difference(before, theirs + timedelta(seconds=later), after) for later in (0, 1))
        part.check(away <= CLOCK_SECONDS, f"clock of {name}", f"is {away:.0f} s off ours", "Let NTP set both clocks.")


async def _tokens(part: Part, session: aiohttp.ClientSession, url: str) -> None:
    status, _, _ = await _get(session, f"{url}/v1/generations")
    part.check(
        status != 200,
        "gateway",
        "answers without a token: everybody is the development user",
        "Unset GATEWAY_LOCAL_MODE.",
    )


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int | None, Any, dict[str, str]]:
    """Status, body and headers; no status and the reason where nobody answers."""
    try:
        async with session.get(url) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else None, dict(answer.headers)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return None, type(error).__name__, {}

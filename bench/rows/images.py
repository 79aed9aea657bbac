"""OpenAI's images through us and through a relay."""

import itertools
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import aiohttp
import psutil

from bench.ground import UPSTREAM_KEY, Ground
from bench.load import many, percentile
from bench.peers import NotInstalledError, installed
from bench.processes import NotAnsweringError, answering, cpu_seconds, memory_megabytes, process, session_of
from bench.rows.generations import OUTSIDE
from bench.table import OURS, Contestants, Figures, Goal, Missing, Round, Row
from darkroom.embedded.ports import free_port
from darkroom.tokens import make_token

LITELLM, DIRECT = "LiteLLM proxy", "the provider itself"
MODEL = "dall-e-2"
PROVIDER_SECONDS = 0.05
START_SECONDS = 600
"""It takes 25 seconds of processor time to import itself."""
MANY = 16
USERS = 8
MASTER_KEY = f"sk-{secrets.token_hex(20)}"
"""The relay does not start without one."""
ADDED, P50, RATE = "added p50 ms, 1 at a time", f"p50 ms, {MANY} at a time", f"requests/s, {MANY} at a time"
CPU, ALONE = "CPU ms per request", "CPU ms per request, what answers HTTP alone"
CORE, MEMORY = "requests per CPU second", "memory of what answers HTTP, MB"
_CONFIG = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "{upstream}/v1", api_key: {key}}}
    model_info: {{mode: image_generation}}
litellm_settings: {{telemetry: false, num_retries: 0, drop_params: true}}
general_settings: {{master_key: {master_key}}}
"""
_prompts = itertools.count()


@asynccontextmanager
async def contestants(ground: Ground) -> AsyncIterator[Contestants]:
    stack, upstream, secret = await ground.darkroom(), await ground.upstream(), await ground.secret()
    await ground.answering_after(PROVIDER_SECONDS)
    parts = stack.processes()
    whole = [each for part, processes in parts.items() if part not in OUTSIDE for each in processes]
    tokens = [make_token(secret, uuid4(), 1, "darkroom") for _ in range(USERS)]
    async with AsyncExitStack() as opened:
        session = await opened.enter_async_context(session_of())
        ours = Asked(ground, session, f"{stack.url}/openai/v1", tokens, whole, parts["gateway"])
        found: dict[str, Round | Missing] = {OURS: ours.round}
        try:
            relay = await opened.enter_async_context(litellm(ground, upstream))
        except (NotInstalledError, NotAnsweringError) as error:
            found[LITELLM] = Missing(str(error))
        else:
            url, running = relay
            found[LITELLM] = Asked(ground, session, f"{url}/v1", [MASTER_KEY], [running], [running]).round
        found[DIRECT] = Asked(ground, session, f"{upstream}/v1", [UPSTREAM_KEY], [], []).round
        await ours.warm()
        yield found
    await ground.answering_after(0)


@asynccontextmanager
async def litellm(ground: Ground, upstream: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    """One worker, no database, no keys of its own: nothing but the relay."""
    python = installed("litellm_proxy")
    config = ground.folder / "litellm.yaml"
    config.write_text(_CONFIG.format(model=MODEL, upstream=upstream, key=UPSTREAM_KEY, master_key=MASTER_KEY))
    port = free_port()
    command = [python, "-m", "litellm.proxy.proxy_cli", "--config", config, "--port", port, "--num_workers", "1"]
    command += ["--host", "127.0.0.1"]
    settings = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
    with process(command, ground.folder / "litellm.log", **settings) as running:
        await answering(f"http://127.0.0.1:{port}/health/liveliness", START_SECONDS, [running])
        yield f"http://127.0.0.1:{port}", running


class Asked:
    """Somebody who speaks OpenAI's images."""

    def __init__(
        self,
        ground: Ground,
        session: aiohttp.ClientSession,
        url: str,
        keys: Sequence[str],
        whole: Sequence[psutil.Process],
        front: Sequence[psutil.Process],
    ) -> None:
        self._ground, self._session = ground, session
        self._url = f"{url}/images/generations"
        self._keys = itertools.cycle(keys)
        self._whole, self._front = whole, front

    async def once(self) -> float:
        body = {"model": MODEL, "prompt": f"A quiet harbour, {next(_prompts)}", "size": "512x512", "n": 1}
        body["response_format"] = "url"
        headers = {"Authorization": f"Bearer {next(self._keys)}"}
        began = time.perf_counter()
        async with self._session.post(self._url, json=body, headers=headers) as answer:
            made = await answer.json()
            if answer.status != 200 or not made["data"][0]["url"]:
                raise RuntimeError(f"{self._url}: {answer.status}: {made}")
        return time.perf_counter() - began

    async def warm(self) -> None:
        await many(self.once, self._ground.size(40, 8), 4)

    async def round(self) -> Figures:
        await self.warm()
        single = [await self.once() for _ in range(self._ground.size(60, 10))]
        requests = self._ground.size(400, 32)
        before, front = cpu_seconds(self._whole), cpu_seconds(self._front)
        began = time.perf_counter()
        taken = await many(self.once, requests, MANY)
        seconds = time.perf_counter() - began
        used = 1000 * (cpu_seconds(self._whole) - before) / requests
        found = {
            ADDED: percentile(single, 0.5) - 1000 * PROVIDER_SECONDS,
            P50: percentile(taken, 0.5),
            RATE: requests / seconds,
        }
        if self._whole:
            found |= {
                CORE: 1000 / used if used else 0.0,
                CPU: used,
                ALONE: 1000 * (cpu_seconds(self._front) - front) / requests,
                MEMORY: memory_megabytes(self._front),
            }
        return found


ROW = Row(
    name="images",
    title="OpenAI's images, beside a relay",
    method=f"""The provider takes {1000 * PROVIDER_SECONDS:.0f} ms for each picture. LiteLLM hands its answer on: one
worker, with one key, without a database, budgets or a log of what
was spent, bytecode compiled and OpenTelemetry installed,
which it is slower without. Ours is the whole of a generation: its credits are held and captured, the picture is
fetched, decoded and stored, and the address in the answer is ours. CPU is that of all four services, Postgres and NATS
against that of the relay's process; the line below it is the gateway alone.""",
    contestants=contestants,
    goals=(
        Goal(CORE, at_least=2.0, of=LITELLM),
        Goal(ADDED, at_most=1.0, of=LITELLM),
        Goal(P50, at_most=1.0, of=LITELLM),
        Goal(CPU, at_most=0.5, of=LITELLM),
        Goal(ALONE, at_most=0.5, of=LITELLM),
        Goal(MEMORY, at_most=0.5, of=LITELLM),
    ),
    figures=(ADDED, P50, RATE, CORE, CPU, ALONE, MEMORY),
    rounds=9,
)

"""fal's official package for Python, run as a program of its user's."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

SCRIPT = """
import asyncio, json, sys
import fal_client

async def run(app, arguments, how):
    seen = []
    if how == "held open":
        try:
            return {"result": await fal_client.run_async(app, arguments)}
        except fal_client.FalClientHTTPError as error:
            return {"status": error.status_code, "why": error.message}
    if how == "cancel":
        handle = await fal_client.submit_async(app, arguments)
        await handle.cancel()
        return {"id": handle.request_id, "status": repr(await handle.status())}
    def update(status):
        seen.append(type(status).__name__)
    result = await fal_client.subscribe_async(app, arguments, with_logs=True, on_queue_update=update)
    return {"result": result, "last": seen[-1]}

print(json.dumps(asyncio.run(run(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]))))
"""


async def official(key: str, tls: int, chain: Path, app: str, arguments: dict[str, Any], how: str = "subscribe") -> Any:
    """What the package says in a process of its own: it reads its environment when it is imported."""
    environment = {
        "PATH": os.environ["PATH"],
        "FAL_QUEUE_RUN_HOST": f"127.0.0.1:{tls}",
        "FAL_RUN_HOST": f"localhost:{tls}",
        "FAL_KEY": key,
        "SSL_CERT_FILE": str(chain),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRIPT,
        app,
        json.dumps(arguments),
        how,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        said, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(said)

"""`python -m simulator --port 9000` serves until it is interrupted."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from simulator.app import start
from simulator.settings import Settings


def read_settings(arguments: list[str] | None = None) -> Settings:
    parser = argparse.ArgumentParser(prog="simulator", description="Plays AI media providers on one port.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free one")
    parser.add_argument("--latency", default="none", help="none, real, or seconds such as 0.05")
    parser.add_argument("--seed", type=int, default=0, help="for latencies and asset signatures")
    parser.add_argument("--journal", type=Path, default=None, metavar="FILE", help="JSON lines, appended")
    parser.add_argument("--variants", type=int, default=4, help="pictures per prompt and size without a seed")
    return Settings(**vars(parser.parse_args(arguments)))


async def serve(settings: Settings) -> None:
    runner, port = await start(settings)
    sys.stdout.write(f"simulator listens on http://{settings.host}:{port}\n")
    sys.stdout.flush()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(read_settings()))

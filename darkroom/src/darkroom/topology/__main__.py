"""`python -m darkroom.topology [--replicas N]`: the watcher alone, with NATS_URL from the environment.

Runs for as long as the stack does, so it loads as little as possible.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys


def main() -> None:
    parser = argparse.ArgumentParser(prog="darkroom topology --watch")
    parser.add_argument("--replicas", type=int, default=1)
    arguments = parser.parse_args()
    # nats-py loads it for WebSockets, which nobody uses here: a third of this process.
    sys.modules["aiohttp"] = None  # type: ignore[assignment]
    from darkroom.topology.watch import watch

    # Raised, since in a container this is process 1, which signals without a handler do not reach.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(watch(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), arguments.replicas))


if __name__ == "__main__":
    main()

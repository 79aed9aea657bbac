"""`python -m gateway`"""

import uvicorn

from gateway.app import create_app
from gateway.settings import Settings

SHUTDOWN_SECONDS = 10
"""For open requests; event streams would keep a server for ever."""
KEEP_ALIVE_SECONDS = 75
"""Longer than proxies keep an idle connection (60 s): they must never send a request into one that we close."""


def main() -> None:
    settings = Settings.from_environment()
    uvicorn.run(
        create_app(settings),
        host=settings.process.host,
        port=settings.process.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )


if __name__ == "__main__":
    main()

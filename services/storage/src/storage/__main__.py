"""`python -m storage`"""

import uvicorn

from runtime.health import Server, serve
from runtime.settings import configured
from storage.app import create_app
from storage.settings import Settings

SHUTDOWN_SECONDS = 10
"""For open requests."""


def main() -> None:
    settings = configured("storage", Settings.from_environment)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.process.host,
        port=settings.process.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    serve(Server(config))


if __name__ == "__main__":
    main()

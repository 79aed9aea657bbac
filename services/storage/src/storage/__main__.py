"""`python -m storage`"""

from runtime.health import Server, serve
from runtime.settings import configured
from storage.app import create_app
from storage.settings import Settings

SHUTDOWN_SECONDS = 10
"""For open requests."""


def main() -> None:
    settings = configured("storage", Settings.from_environment)
    serve(Server(create_app(settings), settings.process, timeout_graceful_shutdown=SHUTDOWN_SECONDS))


if __name__ == "__main__":
    main()

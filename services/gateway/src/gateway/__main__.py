"""`python -m gateway`"""

from gateway.app import create_app
from gateway.listeners import server_of, sockets_of
from gateway.settings import Settings
from runtime.health import serve
from runtime.settings import configured


def main() -> None:
    settings = configured("gateway", Settings.from_environment)
    sockets = sockets_of(settings.process, settings.doors)
    serve(server_of(create_app(settings), settings.process), sockets)


if __name__ == "__main__":
    main()

"""`python -m generator`: one process of the service."""

from generator.app import create_app
from generator.settings import Settings
from runtime.health import Server, serve
from runtime.settings import configured

if __name__ == "__main__":
    settings = configured("generator", Settings.from_environment)
    serve(Server(create_app(settings), settings.process))

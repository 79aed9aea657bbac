"""`python -m ledger`: one process of the ledger, configured by its environment."""

from ledger.app import create_app
from ledger.settings import Settings
from runtime.health import Server, serve
from runtime.settings import configured

if __name__ == "__main__":
    settings = configured("ledger", Settings.from_environment)
    serve(Server(create_app(settings), settings.process))

"""`python -m ledger`: one process of the ledger, configured by its environment."""

import uvicorn

from ledger.app import create_app
from ledger.settings import Settings
from runtime.health import Server, serve
from runtime.settings import configured

if __name__ == "__main__":
    settings = configured("ledger", Settings.from_environment)
    process = settings.process
    config = uvicorn.Config(
        create_app(settings), host=process.host, port=process.port, log_config=None, access_log=False
    )
    serve(Server(config))

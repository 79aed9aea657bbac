"""`python -m generator`: one process of the service."""

import uvicorn

from generator.app import create_app
from generator.settings import Settings
from runtime.health import Server, serve
from runtime.settings import configured

if __name__ == "__main__":
    settings = configured("generator", Settings.from_environment)
    process = settings.process
    config = uvicorn.Config(
        create_app(settings), host=process.host, port=process.port, log_config=None, access_log=False
    )
    serve(Server(config))

"""Where each service keeps the history of its schema."""

import importlib.util
from pathlib import Path


def migrations_of(service: str) -> Path:
    """The folder of a service's Alembic history, found without importing the service."""
    package = importlib.util.find_spec(service)
    if package is None or package.origin is None:
        raise ModuleNotFoundError(f"the package {service} is not installed")
    return Path(package.origin).parent / "migrations"

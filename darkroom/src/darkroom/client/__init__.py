"""The native API as a Python program uses it: `Client` waits, `AsyncClient` is awaited; both can do the same.

It knows the wire alone, no other package of this project. What it is told it gives back as frozen models, a refusal as
the exception of its code, and what it asks for is asked again where that makes nothing twice.
"""

from darkroom.client.asynchronous import AsyncClient
from darkroom.client.blocking import Client
from darkroom.client.errors import ApiError, Refused, UnreachableError
from darkroom.client.files import file_names
from darkroom.client.views import Asset, Generation, Progress
from darkroom.client.wishes import NewGeneration, NewInput

__all__ = [
    "ApiError",
    "Asset",
    "AsyncClient",
    "Client",
    "Generation",
    "NewGeneration",
    "NewInput",
    "Progress",
    "Refused",
    "UnreachableError",
    "file_names",
]

"""Files that are brought, and files that are saved."""

import asyncio
import hashlib
import io
import os
import re
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp

from darkroom.client.connection import PAUSES_SECONDS, UNSURE, Connection
from darkroom.client.errors import ApiError
from darkroom.client.views import Asset, Generation

MAX_SUBJECT_CHARACTERS = 40
CHUNK_BYTES = 1 << 16
_UNSAYABLE = re.compile(r"[\x00-\x1f\x7f]")


def form_of(path: Path) -> aiohttp.FormData:
    """A file as a form has it; opened anew each time, since a form is sent once."""
    name, form, file = _sayable(path), aiohttp.FormData(), io.FileIO(path)
    file.name = name  # aiohttp writes a header of it first
    form.add_field("file", io.BufferedReader(file), filename=name, content_type="application/octet-stream")
    return form


def _sayable(path: Path) -> str:
    """Its name; where a file system takes what no form can say, something else stands there."""
    return _UNSAYABLE.sub("_", os.fsencode(path.name).decode(errors="replace"))


async def fetch(connection: Connection, asset: Asset, path: Path) -> None:
    """Saves an asset and compares it with its hash; nothing half written is left.

    Raises:
        ApiError: it cannot be had, or is not what it should be.
    """
    address = urljoin(connection.url + "/", asset.url)
    draft = path.with_name(path.name + ".part")
    try:
        for pause in (*PAUSES_SECONDS, None):
            try:
                digest = await _download(connection.session, address, draft)
                break
            except (aiohttp.ClientError, TimeoutError) as error:
                if pause is None:
                    words = str(error) or type(error).__name__
                    raise ApiError(f"The file cannot be fetched from {address}: {words}.") from error
                await asyncio.sleep(pause)
        if digest != asset.sha256:
            raise ApiError(f"What came from {address} is not the file that was made: its hash differs.")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


async def _download(session: aiohttp.ClientSession, address: str, draft: Path) -> str:
    """Its hash. No token goes there: the address is enough.

    Raises:
        ClientError: it may be had a little later. ApiError: it may not.
    """
    digest = hashlib.sha256()
    async with session.get(address) as answer:
        if answer.status in (429, *UNSURE):
            raise aiohttp.ClientError(f"{answer.status}")
        if answer.status != 200:
            raise ApiError(f"The file cannot be fetched: {answer.status} from {answer.url}.")
        with draft.open("wb") as file:
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
    return digest.hexdigest()


def paths_in(folder: Path, generation: Generation) -> list[Path]:
    """Where a generation's files go; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return [folder / name for name in file_names(generation)]


def file_names(generation: Generation) -> list[str]:
    """A name for each asset: from the prompt, and unlike any other generation's."""
    words = re.sub(r"\W+", "-", generation.prompt.lower())[:MAX_SUBJECT_CHARACTERS].strip("-_")
    stem = f"{words or generation.kind}-{str(generation.id)[-6:]}"
    assets = generation.assets
    if len(assets) == 1:
        return [stem + _suffix(assets[0])]
    return [f"{stem}-{number}{_suffix(asset)}" for number, asset in enumerate(assets, 1)]


_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif", "video/mp4": ".mp4"}


def _suffix(asset: Asset) -> str:
    return _SUFFIXES.get(asset.mime_type) or Path(os.fspath(urlsplit(asset.url).path)).suffix

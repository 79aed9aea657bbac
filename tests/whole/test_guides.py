"""The programs in docs/ do what their pages say, as somebody runs them who copies them."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
from PIL import Image

from tests.whole.conftest import Darkroom

pytestmark = pytest.mark.whole
DOCS = Path(__file__).parents[2] / "docs"


async def run(page: str, darkroom: Darkroom, folder: Path) -> list[str]:
    """What the page's only program prints."""
    (program,) = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    known = {"GATEWAY_URL": darkroom.url, "DARKROOM_TOKEN": darkroom.token(uuid4())}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, **known},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout).splitlines()


async def test_the_first_picture_is_there_and_opens(darkroom: Darkroom, tmp_path: Path) -> None:
    quoted, path, cost = await run("first-picture.md", darkroom, tmp_path)
    assert quoted == "It costs 1 credits at most; there are 10."
    with Image.open(tmp_path / path) as picture:
        picture.load()
    assert cost == "It cost 1."


async def test_a_job_is_followed_to_its_end(darkroom: Darkroom, tmp_path: Path) -> None:
    printed = await run("follow-a-job.md", darkroom, tmp_path)
    assert printed[0] in {"pending", "processing"}
    assert printed[-1] == "completed"


async def test_openais_sdk_makes_a_picture_and_a_text(
    darkroom: Darkroom, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    address, text = await run("openai-sdk.md", darkroom, tmp_path)
    async with session.get(address) as answer:
        assert (answer.status, answer.content_type) == (200, "image/jpeg")
    assert len(text) > 10

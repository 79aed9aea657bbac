"""The restore of docs/operating.md, rehearsed: rows and objects come back, the broker is empty, the audit is clean."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import pytest

from bench.stack import running
from darkroom.embedded import PostgresServer
from darkroom.embedded.postgres import execute, program
from darkroom.migration import migrate, service_urls
from darkroom.stack import SERVICES
from darkroom.supervisor.secrets_file import keep_secrets
from darkroom.supervisor.supervisor import admin_url
from tests.whole.conftest import BRISK, Darkroom, User

pytestmark = [pytest.mark.whole, pytest.mark.timeout(300)]

SECONDS = 60
USER = UUID("5b0f6a64-6f0c-4a8e-9b43-6a2f1c1d7e90")


def postgres(tool: str, url: str, *words: str) -> None:
    """A program of Postgres's, as in docs/operating.md."""
    address = urlsplit(url)
    environment = {
        **os.environ,
        "PGHOST": str(address.hostname),
        "PGPORT": str(address.port),
        "PGUSER": str(address.username),
        "PGPASSWORD": str(address.password),
    }
    subprocess.run([program(tool), *words], env=environment, check=True, capture_output=True, timeout=SECONDS)


def back_up(darkroom: Darkroom, backup: Path) -> None:
    """Postgres first, then the objects, while the stack works."""
    url = str(darkroom.known["database_url"])
    postgres("pg_dump", url, "--format=custom", f"--file={backup / 'darkroom.dump'}", "darkroom")
    shutil.copytree(darkroom.data / "media", backup / "media")
    shutil.copytree(darkroom.data / "simulator", backup / "simulator")


def restore(data: Path, backup: Path) -> None:
    """Into a fresh stack before its first start, of a version that has tables of which the backup knows nothing."""
    secrets = keep_secrets(data)
    server = PostgresServer(data)
    server.start()
    words = ("--single-transaction", "--exit-on-error", "--dbname=darkroom")
    try:
        passwords = {service: secrets[f"{service}_password"] for service in SERVICES}
        asyncio.run(migrate(admin_url(server), service_urls(admin_url(server), passwords)))
        execute(admin_url(server), "CREATE TABLE gateway.newer (id uuid REFERENCES gateway.generations)")
        postgres("dropdb", server.admin_url, "darkroom")
        postgres("createdb", server.admin_url, "darkroom")
        postgres("pg_restore", server.admin_url, *words, str(backup / "darkroom.dump"))
    finally:
        server.stop()
    shutil.copytree(backup / "media", data / "media")


async def test_rows_and_objects_come_back_and_the_broker_is_empty(
    tmp_path_factory: pytest.TempPathFactory, session: aiohttp.ClientSession
) -> None:
    backup, former, latter = (tmp_path_factory.mktemp(name) for name in ("backup", "former", "latter"))
    pictures: dict[str, bytes] = {}
    with running(former, **BRISK) as stack:
        darkroom = Darkroom(stack, former)
        user = User(darkroom, session, USER)
        made = [await user.ended((await user.make(f"A boat {number}"))["id"]) for number in range(4)]
        for each in made:
            pictures[each["id"]], _ = await user.download(each["assets"][0]["url"])
        slow = [(await user.make(f"A slow boat {number} [[sim:latency=8]]"))["id"] for number in range(3)]
        await asyncio.sleep(1)
        await asyncio.to_thread(back_up, darkroom, backup)
        lost = await user.make("A boat that nobody kept")

    await asyncio.to_thread(restore, latter, backup)
    # What providers did until then. What they did afterwards stands on their bills alone.
    shutil.copytree(backup / "simulator", latter / "simulator", dirs_exist_ok=True)

    with running(latter, **BRISK) as stack:
        darkroom = Darkroom(stack, latter)
        user = User(darkroom, session, USER)
        for each in made:
            shown = await user.ended(each["id"])
            assert shown["status"] == "completed"
            content, _ = await user.download(shown["assets"][0]["url"])
            assert content == pictures[each["id"]]
        ended = [await user.ended(generation_id, SECONDS) for generation_id in slow]
        assert {each["status"] for each in ended} <= {"completed", "failed"}, "what was open is driven to its end"
        status, _, _ = await user.call("GET", f"/v1/generations/{lost['id']}")
        assert status == 404, "what came after the backup is gone, and nothing pretends otherwise"
        paid = sum(each["cost"] for each in (*made, *ended))
        assert (await user.credits())["used"] == paid
        again = await user.ended((await user.make("A boat after all that"))["id"])
        assert again["status"] == "completed"
        await asyncio.sleep(2)
        darkroom.audit()
        examined = darkroom.command("doctor")
        assert examined.returncode == 0, examined.stdout
    darkroom.check_permissions()

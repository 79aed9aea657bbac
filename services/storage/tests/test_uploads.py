"""What users bring is typed by content, scanned, made anew and theirs (B32–B41)."""

import asyncio
import hashlib
import io
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from nats.aio.client import Client
from PIL import Image

from contracts.keeping import (
    Keep,
    OfferedUpload,
    OfferUpload,
    Stored,
    TakenUpload,
    TakeUpload,
)
from runtime.database import Connection, Database
from storage.ingest import Ingest
from storage.keeping import Bounds, Keeping
from storage.objects import name_of
from storage.objects.incoming import Incoming
from storage.objects.local import LocalObjects
from storage.objects.minio import MinioObjects
from storage.scanner import CHUNK_BYTES, Scanner
from storage.uploads import Uploads

from .conftest import MAX_BYTES, Make
from .recorded import sound, video
from .samples import Provider, names, noise, picture, put_claim, rendered, rows
from .test_exact import with_metadata
from .test_pictures import HOSTILE as HOSTILE_PICTURES
from .test_recordings import HOSTILE as HOSTILE_RECORDINGS

pytestmark = pytest.mark.connected


async def brought(uploads: Uploads, bus: Client, content: bytes, user_id: UUID | None = None) -> TakenUpload:
    upload_id = uuid4()
    await put_claim(bus, str(upload_id), content)
    return await uploads.take(TakeUpload(upload_id=upload_id, user_id=user_id or uuid4(), claim=str(upload_id)))


async def refused(uploads: Uploads, bus: Client, content: bytes) -> str:
    taken = await brought(uploads, bus, content)
    assert taken.asset is None
    assert taken.failure is not None
    return taken.failure.code


async def read(objects: Any, name: str) -> bytes:
    return b"".join([chunk async for chunk in objects.open(name)])


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_is_made_anew_and_its_owners(
    make: Make, bus: Client, objects: LocalObjects, format_: str
) -> None:
    """B33, B37: upright, without metadata, without what was hidden behind its end."""
    user_id = uuid4()
    content = with_metadata(format_, orientation=6) + b"PK\x03\x04<script>hidden</script>"
    taken = await brought(make(), bus, content, user_id)
    assert taken.asset is not None
    assert (taken.asset.mime_type, taken.asset.width, taken.asset.height) == (f"image/{format_.lower()}", 200, 400)
    assert taken.asset.blurhash is not None
    kept = await read(objects, name_of(user_id, taken.asset.sha256))
    assert not any(word in kept for word in (b"secret", b"hidden", b"script"))
    assert Image.open(io.BytesIO(kept)).size == (200, 400)


@pytest.mark.parametrize(
    ("content", "mime_type"),
    [
        (video(160, 90, 1, title="secret", location="+52.5+013.4/"), "video/mp4"),
        (video(160, 90, 1, container="webm"), "video/webm"),
        (video(160, 90, 1, container="mov"), "video/quicktime"),
        *(
            (sound(1, container), f"audio/{name}")
            for container, name in (("mp3", "mpeg"), ("wav", "wav"), ("ogg", "ogg"))
        ),
        (sound(1, "ipod"), "audio/mp4"),
        (sound(1, "flac"), "audio/flac"),
        (sound(1, "adts"), "audio/aac"),
    ],
)
async def test_a_recording_is_copied_without_what_else_is_in_it(
    make: Make, bus: Client, objects: LocalObjects, content: bytes, mime_type: str
) -> None:
    user_id = uuid4()
    tail = (
        b""
        if mime_type in {"audio/aac", "audio/flac", "audio/mpeg", "audio/ogg", "video/webm"}
        else b"<script>hidden</script>"
    )
    taken = await brought(make(), bus, content + tail, user_id)
    assert taken.asset is not None, taken.failure
    assert taken.asset.mime_type == mime_type
    assert taken.asset.seconds == pytest.approx(1, abs=0.1)
    kept = await read(objects, name_of(user_id, taken.asset.sha256))
    assert not any(word in kept for word in (b"secret", b"hidden", b"+52.5"))


@pytest.mark.parametrize("name", [*HOSTILE_PICTURES, *HOSTILE_RECORDINGS])
async def test_b32_b34_b35_b36_b39_hostile_files_are_refused(
    make: Make, bus: Client, objects: LocalObjects, name: str
) -> None:
    """P29: SVG, HTML, playlists, bombs, broken files."""
    content = HOSTILE_PICTURES.get(name, HOSTILE_RECORDINGS.get(name, b""))
    assert await refused(make(), bus, content) in {"unsupported_media", "unusable_media"}
    assert await names(objects) == set()


async def test_the_same_upload_twice_is_one_asset(make: Make, bus: Client, database: Database) -> None:
    """Design §3.2: and nobody else's."""
    question = TakeUpload(upload_id=uuid4(), user_id=uuid4(), claim=str(uuid4()))
    await put_claim(bus, question.claim or "", picture())
    first, second = await make().take(question), await make().take(question)
    assert first.asset is not None
    assert (first.is_new, second) == (True, first.model_copy(update={"is_new": False}))
    anothers = await make().take(question.model_copy(update={"user_id": uuid4()}))
    assert anothers.asset is None
    found = await rows(database, "SELECT owner_id FROM assets WHERE id = :id", id=first.asset.id)
    assert [row["owner_id"] for row in found] == [question.user_id]


async def test_another_file_is_not_the_same_upload(make: Make, bus: Client, database: Database) -> None:
    """By what was sent, which is not what is kept; who does not say it is answered as before."""
    given, claim = picture(), str(uuid4())
    question = TakeUpload(upload_id=uuid4(), user_id=uuid4(), claim=claim, sha256=hashlib.sha256(given).hexdigest())
    await put_claim(bus, claim, given)
    first = await make().take(question)
    assert first.asset is not None
    again = first.model_copy(update={"is_new": False})
    assert again == await make().take(question) == await make().take(question.model_copy(update={"sha256": None}))
    another = await make().take(question.model_copy(update={"sha256": "0" * 64}))
    assert another.failure is not None and another.failure.code == "another_file"
    await rows(database, "UPDATE assets SET given_sha256 = NULL WHERE id = :id", id=first.asset.id)
    assert await make().take(question) == again, "taken before this was known"


async def test_killed_between_the_row_and_its_bytes(make: Make, bus: Client, database: Database) -> None:
    """P17: whoever asks again finishes, and the address stays."""
    question = TakeUpload(upload_id=uuid4(), user_id=uuid4(), claim=str(uuid4()))
    await put_claim(bus, question.claim or "", picture())
    first = await make().take(question)
    assert first.asset is not None
    await rows(database, "UPDATE assets SET state = 'writing' WHERE id = :id", id=first.asset.id)
    assert (await make().take(question)).asset == first.asset


async def test_a_file_that_is_too_large_or_gone(make: Make, bus: Client) -> None:
    assert await refused(make(), bus, b"\x89PNG\r\n\x1a\n" + bytes(MAX_BYTES)) == "unusable_media"
    taken = await make().take(TakeUpload(upload_id=uuid4(), user_id=uuid4(), claim="never put"))
    assert taken.failure is not None and taken.failure.code == "unusable_media"


# -- clamd ----------------------------------------------------------------------------------------------------

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@asynccontextmanager
async def clamd(answer: bytes | None, max_bytes: int = 10_000_000) -> AsyncIterator[tuple[Scanner, list[bytes]]]:
    """Speaks INSTREAM: finds EICAR, or gives the answer that it was told; None is silence and hanging up."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(10) == b"zINSTREAM\0"
        content = b""
        while length := struct.unpack(">I", await reader.readexactly(4))[0]:
            assert length <= CHUNK_BYTES
            content += await reader.readexactly(length)
            if len(content) > max_bytes:
                writer.write(b"INSTREAM size limit exceeded. ERROR\0")
                await writer.drain()
                writer.close()
                return
        heard.append(content)
        if answer is not None:
            writer.write(b"stream: Eicar-Test-Signature FOUND\0" if EICAR in content else answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield Scanner("127.0.0.1", server.sockets[0].getsockname()[1]), heard
    server.close()
    await server.wait_closed()


async def test_b38_what_is_clean_is_taken_and_all_of_it_was_looked_at(make: Make, bus: Client) -> None:
    content = noise(300, 200)
    async with clamd(b"stream: OK\0") as (scanner, heard):
        taken = await brought(make(scanner), bus, content)
    assert taken.asset is not None
    assert heard == [content], "what the user sent, not what we made of it"


@pytest.mark.parametrize(
    "answer",
    [
        b"stream: OK but\0",
        b"stream: ok\0",
        b"OK\0",
        b"stream: Heuristics.Limits.Exceeded FOUND\0",
        b"stream: Can't allocate memory ERROR\0",
        b"UNKNOWN COMMAND\0",
        b"\0",
    ],
)
async def test_b38_any_answer_but_exactly_ok_refuses(make: Make, bus: Client, objects: Any, answer: bytes) -> None:
    async with clamd(answer) as (scanner, _):
        assert await refused(make(scanner), bus, picture()) == "not_clean"
    assert await names(objects) == set()


async def test_b38_eicar_is_refused(make: Make, bus: Client) -> None:
    async with clamd(b"stream: OK\0") as (scanner, _):
        assert await refused(make(scanner), bus, picture() + EICAR) == "not_clean"


async def test_b38_more_than_clamd_looks_at_is_refused(make: Make, bus: Client) -> None:
    async with clamd(b"stream: OK\0", max_bytes=100_000) as (scanner, _):
        assert await refused(make(scanner), bus, noise(400, 300)) in {"not_clean", "unavailable"}


async def test_b38_a_clamd_that_is_down_or_silent_takes_nothing(make: Make, bus: Client, objects: Any) -> None:
    """Fails closed, and it is of use to come back."""
    async with clamd(None) as (scanner, _):
        assert await refused(make(scanner), bus, picture()) == "unavailable"
    assert await refused(make(Scanner("127.0.0.1", 9)), bus, picture()) == "unavailable"
    assert await names(objects) == set()


# -- quota ----------------------------------------------------------------------------------------------------


async def test_a_quota_counts_everything_that_a_user_has(
    make: Make, bus: Client, ingest: Ingest, provider: Provider, database: Database
) -> None:
    user_id = uuid4()
    content = noise(100, 100)
    await ingest.store(rendered(provider.url("a", content), user_id=user_id))
    uploads = make(quota_bytes=2 * len(content) + 2000)
    assert (await brought(uploads, bus, noise(100, 100), user_id)).asset is not None
    full = await brought(uploads, bus, noise(100, 100), user_id)
    assert full.failure is not None and full.failure.code == "quota_exceeded"
    assert (await brought(uploads, bus, noise(100, 100))).asset is not None, "another user has room"
    await Keeping(database, Bounds()).keep(Keep(user_id=user_id, quota_bytes=10 * len(content)))
    assert (await brought(uploads, bus, noise(100, 100), user_id)).asset is not None, "a plan says more"


async def test_the_last_of_a_quota_is_not_given_twice(make: Make, bus: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that both looked before either wrote."""
    really = Keeping.usage_on

    async def slowly(self: Keeping, connection: Connection, user_id: UUID, but: UUID | None = None) -> Stored:
        found = await really(self, connection, user_id, but)
        await asyncio.sleep(0.5)
        return found

    monkeypatch.setattr(Keeping, "usage_on", slowly)
    user_id = uuid4()
    content = noise(100, 100)
    uploads = make(quota_bytes=len(content) + 2000)
    taken = await asyncio.gather(*(brought(uploads, bus, noise(100, 100), user_id) for _ in range(4)))
    assert len([each for each in taken if each.asset is not None]) == 1


# -- directly into the bucket ---------------------------------------------------------------------------------


async def post(offer: OfferedUpload, content: bytes, **changes: str) -> int:
    form = aiohttp.FormData()
    for name, value in (offer.fields | changes).items():
        form.add_field(name, value)
    form.add_field("file", content, filename="../../x", content_type=(offer.fields | changes)["Content-Type"])
    async with aiohttp.ClientSession() as http, http.post(offer.url or "", data=form) as answer:
        return answer.status


async def offered(uploads: Uploads, content: bytes, mime_type: str = "image/png") -> tuple[TakeUpload, OfferedUpload]:
    question = TakeUpload(upload_id=uuid4(), user_id=uuid4())
    return question, await uploads.offer(
        OfferUpload(
            upload_id=question.upload_id, user_id=question.user_id, mime_type=mime_type, size_bytes=len(content)
        )
    )


async def test_b41_a_browser_puts_a_file_into_the_bucket_itself(make: Make, bucket: MinioObjects) -> None:
    uploads = make(incoming=Incoming(bucket), objects=bucket)
    content = picture(300, 200)
    question, offer = await offered(uploads, content)
    early = await uploads.take(question)
    assert early.failure is not None and early.failure.code == "not_found"
    assert await post(offer, content) == 204
    taken = await uploads.take(question)
    assert taken.asset is not None
    assert (taken.asset.mime_type, taken.asset.width) == ("image/png", 300)
    assert await Incoming(bucket).size(question.upload_id) is None, "what came in is gone"
    assert await post(offer, picture(10, 10)) == 204, "reused while it lives"
    assert (await uploads.take(question)).asset == taken.asset, "and of no use"
    foreign = await uploads.take(question.model_copy(update={"user_id": uuid4()}))
    assert foreign.failure is not None and foreign.failure.code == "not_found"


@pytest.mark.parametrize(
    ("longer", "changes"),
    [
        (b"\0" * 10, {}),
        (b"", {"key": "incoming/of-another"}),
        (b"", {"key": f"{uuid4()}/{'0' * 64}"}),
        (b"", {"Content-Type": "text/html"}),
        (b"", {"policy": "e30="}),
    ],
)
async def test_b41_another_size_name_type_or_policy_is_refused_by_the_bucket(
    make: Make, bucket: MinioObjects, longer: bytes, changes: dict[str, str]
) -> None:
    uploads = make(incoming=Incoming(bucket), objects=bucket)
    content = picture(30, 20)
    question, offer = await offered(uploads, content)
    assert await post(offer, content + longer, **changes) in {400, 403}
    taken = await uploads.take(question)
    assert taken.failure is not None and taken.failure.code == "not_found"


async def test_b41_an_offer_ends(
    make: Make, bucket: MinioObjects, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.objects.incoming.OFFER_SECONDS", -1)
    uploads = make(incoming=Incoming(bucket), objects=bucket)
    content = picture(30, 20)
    question, offer = await offered(uploads, content)
    assert await post(offer, content) in {400, 403}
    await rows(
        database,
        "UPDATE offers SET expires_at = now() - interval '2 hours' WHERE upload_id = :id",
        id=question.upload_id,
    )
    taken = await uploads.take(question)
    assert taken.failure is not None and taken.failure.code == "not_found"


async def test_b41_what_lies_in_the_bucket_is_believed_as_little_as_anything(make: Make, bucket: MinioObjects) -> None:
    """HTML that was announced as a picture, in a place that was offered for one."""
    uploads = make(incoming=Incoming(bucket), objects=bucket)
    question, offer = await offered(uploads, b"<!doctype html><script>alert(1)</script>")
    assert await post(offer, b"<!doctype html><script>alert(1)</script>") == 204
    taken = await uploads.take(question)
    assert taken.failure is not None and taken.failure.code == "unsupported_media"


async def test_what_nobody_came_back_for_is_removed(
    make: Make, bucket: MinioObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = make(incoming=Incoming(bucket), objects=bucket)
    content = picture(30, 20)
    question, offer = await offered(uploads, content)
    await post(offer, content)
    incoming = Incoming(bucket)
    await incoming.delete_forgotten()
    assert await incoming.size(question.upload_id) == len(content)
    monkeypatch.setattr("storage.objects.incoming.FORGOTTEN_SECONDS", -5)
    assert await incoming.delete_forgotten() >= 1
    assert await incoming.size(question.upload_id) is None


@pytest.mark.parametrize(
    ("mime_type", "code"), [("image/svg+xml", "unsupported_media"), ("text/html", "unsupported_media")]
)
async def test_no_place_is_offered_for_what_is_not_kept(
    make: Make, bucket: MinioObjects, mime_type: str, code: str
) -> None:
    _, offer = await offered(make(incoming=Incoming(bucket)), b"x", mime_type)
    assert offer.failure is not None and offer.failure.code == code
    _, offer = await offered(make(incoming=Incoming(bucket)), bytes(MAX_BYTES + 1))
    assert offer.failure is not None and offer.failure.code == "too_large"
    _, offer = await offered(make(), b"x")
    assert offer.failure is not None and offer.failure.code == "not_found", "local files are not put anywhere directly"

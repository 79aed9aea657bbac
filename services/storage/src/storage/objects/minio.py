"""Objects in any S3, through the `minio` client, which waits in threads."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from itertools import islice
from typing import IO, Any, BinaryIO, TypeVar, cast
from urllib.parse import SplitResult

import structlog
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from minio.helpers import BaseURL

from storage.objects import CHUNK_BYTES, NAME, Absent, Buffer, checked

THREADS = 32
NAMES_PER_LIST = 1000
CONNECT_TIMEOUT_SECONDS = 3.0
READ_TIMEOUT_SECONDS = 20.0
ABANDONED_SECONDS = 86_400
"""What was begun so long ago and is not whole belongs to a process that died."""
PROBE = ".darkroom-ready"
_ABSENT = {"NoSuchKey", "NoSuchObject"}

log = structlog.get_logger()
T = TypeVar("T")


class _Below(BaseURL):
    """An S3 interface that is not at the root of its host, as Supabase's; the client knows only those that are."""

    def __init__(self, endpoint: str, region: str, path: str) -> None:
        super().__init__(endpoint, region)
        self._path = path

    def build(self, **parts: Any) -> SplitResult:
        url: SplitResult = super().build(**parts)
        return url._replace(path=self._path + url.path)


class MinioObjects:
    """One bucket, which must exist."""

    def __init__(
        self,
        endpoint: str | None,
        bucket: str,
        access_key: str,
        secret_key: str,
        region: str,
        backend: str = "s3",
        session_token: str | None = None,
    ) -> None:
        self.backend = backend
        self.bucket = bucket
        address = urllib3.util.parse_url(endpoint or f"https://s3.{region}.amazonaws.com")
        self.bucket_url = f"{address.scheme}://{address.netloc}{address.path or ''}/{bucket}"
        self.client = Minio(
            address.netloc or "",
            access_key=access_key,
            secret_key=secret_key,
            session_token=session_token,
            secure=address.scheme == "https",
            region=region,
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS),
                maxsize=THREADS,
                # Not for as long as the store says: whoever asked for something can wait better than a thread.
                retries=urllib3.Retry(
                    total=2,
                    backoff_factor=0.2,
                    status_forcelist=(500, 502, 503, 504),
                    respect_retry_after_header=False,
                ),
            ),
        )
        if address.path:
            self.client._base_url = _Below(f"{address.scheme}://{address.netloc}", region, address.path.rstrip("/"))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")

    async def check(self) -> None:
        await self.run(self.client.put_object, self.bucket, PROBE, BytesIO(b""), 0)

    async def put(self, name: str, data: IO[bytes], size: int) -> None:
        # Always sent: one round trip, as asking would be, and equal bytes replace each other unseen.
        await self.run(self._put, checked(name), data, size)

    async def size(self, name: str) -> int | None:
        return await self.size_of(checked(name))

    async def size_of(self, key: str) -> int | None:
        try:
            found = await self.run(self.client.stat_object, self.bucket, key)
        except Absent:
            return None
        return int(found.size or 0)

    async def put_at(self, name: str) -> datetime | None:
        try:
            return (await self.run(self.client.stat_object, self.bucket, checked(name))).last_modified
        except Absent:
            return None

    def open(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        return self.read(checked(name), offset, length)

    def pieces(self, name: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[Buffer, None]:
        return self.read(checked(name), offset, length)

    async def read(self, key: str, offset: int, length: int | None) -> AsyncGenerator[bytes, None]:
        if length == 0:
            return  # 0 would ask for everything
        response = await self.run(partial(self.client.get_object, self.bucket, key, offset=offset, length=length or 0))
        try:
            while chunk := await self.run(response.read, CHUNK_BYTES):
                yield chunk
        finally:
            response.close()
            response.release_conn()

    async def presigned(self, name: str, seconds: int, mime_type: str, disposition: str) -> str:
        """An address at which anybody may get the object for so long, as that type and in that way and no other."""
        fixed: dict[str, str | list[str] | tuple[str]] = {
            "response-content-type": mime_type,
            "response-content-disposition": disposition,
        }
        get = partial(self.client.presigned_get_object, self.bucket, checked(name), response_headers=fixed)
        return await self.run(partial(get, expires=timedelta(seconds=seconds)))

    async def delete(self, name: str) -> None:
        await self.run(self.client.remove_object, self.bucket, checked(name))

    async def names(self) -> AsyncIterator[list[str]]:
        found = self.client.list_objects(self.bucket, recursive=True)
        while objects := await self.run(lambda: list(islice(found, NAMES_PER_LIST))):
            yield [name for each in objects if (name := str(each.object_name)) and NAME.fullmatch(name)]

    async def clear(self) -> None:
        try:
            await self.run(self._abort_abandoned)
        except Exception as error:  # not every S3 knows them, and not everybody who stores may list them
            log.warning("objects.parts_not_removed", error=f"{type(error).__name__}: {error}"[:200])

    async def close(self) -> None:
        self._threads.shutdown(wait=False)

    def _put(self, name: str, data: IO[bytes], size: int) -> None:
        data.seek(0)
        put = self.client.put_object(self.bucket, name, cast(BinaryIO, data), size)
        # S3 says 200 before it has put the parts together, and the client passes over the error that may follow.
        if put.etag is None:
            raise ConnectionError("the object store did not put the parts together")

    def _abort_abandoned(self) -> None:
        """What is larger than 5 MiB is sent in parts. Those of a process that was killed are no object, stay, and are
        paid for; minio aborts what fails, and has no public way to list or abort what was left."""
        oldest, after = datetime.now(UTC) - timedelta(seconds=ABANDONED_SECONDS), None
        while True:
            begun = self.client._list_multipart_uploads(self.bucket, key_marker=after)
            for each in begun.uploads:
                if NAME.fullmatch(each.object_name) and each.initiated_time and each.initiated_time < oldest:
                    with suppress(S3Error):  # one that cannot be aborted keeps none of the others
                        self.client._abort_multipart_upload(self.bucket, each.object_name, str(each.upload_id))
            after = begun.next_key_marker
            if not begun.is_truncated or after is None:
                return

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Raises Absent or ConnectionError: a refusal, too, is for the operator to cure, and until then we wait."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        except S3Error as error:
            if error.code in _ABSENT:
                raise Absent(str(error.object_name)) from None
            raise ConnectionError(f"the object store says {error.code}") from error
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise ConnectionError(f"the object store does not answer ({type(error).__name__})") from error

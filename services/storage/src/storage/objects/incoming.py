"""Where browsers put files by themselves: below `incoming/` in the bucket, until they are looked at."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from minio.datatypes import PostPolicy

from storage.objects.minio import MinioObjects

PREFIX = "incoming/"
OFFER_SECONDS = 900
FORGOTTEN_SECONDS = 86_400
"""What nobody asked to have looked at for so long is removed."""


class Incoming:
    """A form for each file: its name, its type, its length at most and its time are signed."""

    def __init__(self, objects: MinioObjects) -> None:
        self._objects = objects

    async def offer(self, upload_id: UUID, mime_type: str, max_bytes: int) -> tuple[str, dict[str, str], datetime]:
        """Address, fields and end of the offer. Raises OSError."""
        expires_at = datetime.now(UTC) + timedelta(seconds=OFFER_SECONDS)
        policy = PostPolicy(self._objects.bucket, expires_at)
        fixed = {"key": f"{PREFIX}{upload_id}", "Content-Type": mime_type, "success_action_status": "204"}
        for field, value in fixed.items():
            policy.add_equals_condition(field, value)
        policy.add_content_length_range_condition(1, max_bytes)
        signed = await self._objects.run(self._objects.client.presigned_post_policy, policy)
        return self._objects.bucket_url, fixed | signed, expires_at

    async def size(self, upload_id: UUID) -> int | None:
        """In bytes; None where nothing came. Raises OSError."""
        return await self._objects.size_of(f"{PREFIX}{upload_id}")

    def chunks(self, upload_id: UUID) -> AsyncGenerator[bytes, None]:
        """Raises storage.objects.Absent, OSError."""
        return self._objects.read(f"{PREFIX}{upload_id}", 0, None)

    async def delete(self, upload_id: UUID) -> None:
        await self._objects.run(self._objects.client.remove_object, self._objects.bucket, f"{PREFIX}{upload_id}")

    async def delete_forgotten(self) -> int:
        """Removes what is old; returns how many."""
        oldest = datetime.now(UTC) - timedelta(seconds=FORGOTTEN_SECONDS)
        listed = await self._objects.run(
            lambda: list(self._objects.client.list_objects(self._objects.bucket, PREFIX, recursive=True))
        )
        old = [str(each.object_name) for each in listed if each.last_modified and each.last_modified < oldest]
        for name in old:
            await self._objects.run(self._objects.client.remove_object, self._objects.bucket, name)
        return len(old)

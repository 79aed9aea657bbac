"""What the frontends' tables say of a stored file, by their own column names."""

from alembic import op

revision = "0004"
down_revision = "0003"

_EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "audio/mp4": "m4a",
    "audio/webm": "weba",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/aac": "aac",
}


def upgrade() -> None:
    extension = " ".join(f"WHEN '{mime_type}' THEN '{name}'" for mime_type, name in _EXTENSIONS.items())
    # Addresses are built at read time from PUBLIC_URL, so that a domain can change: `media_path` is what follows it.
    op.execute(f"""
        CREATE VIEW records AS
        SELECT
            id AS asset_id, generation_id, owner_id, index, created_at,
            size_bytes AS file_size,
            mime_type,
            width, height,
            CASE WHEN width IS NOT NULL THEN width || 'x' || height END AS dimensions,
            seconds AS duration_seconds,
            bitrate, blurhash, provider_size, sha256,
            backend AS storage_backend,
            owner_id || '/' || sha256 AS storage_key,
            '/media/' || token || '/original.' || CASE mime_type {extension} END AS media_path,
            source_url
        FROM assets WHERE state = 'stored'
    """)  # noqa: S608 - put together from constants


def downgrade() -> None:
    op.execute("DROP VIEW records")

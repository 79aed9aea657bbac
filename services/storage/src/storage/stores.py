"""The store that the settings name, and the one before it while media is being moved."""

import structlog
from pydantic import SecretStr
from yarl import URL

from storage.objects import Objects
from storage.objects.local import LocalObjects
from storage.objects.minio import MinioObjects
from storage.objects.moving import MovingObjects
from storage.settings import Backend, StoreSettings

SUPABASE_PATH = "/storage/v1/s3"

log = structlog.get_logger()


def make_objects(settings: StoreSettings) -> Objects:
    """Where media is kept and, while that changes, read from."""
    if settings.media_storage_backend is None and len(settings.candidates) > 1:
        log.warning("objects.candidates", taken=settings.backend, candidates=settings.candidates)
    current = make_store(settings, settings.backend)
    if settings.media_former_backend is None:
        return current
    return MovingObjects(current, make_store(settings, settings.media_former_backend))


def make_store(settings: StoreSettings, backend: Backend) -> Objects:
    """One store by its name."""
    if backend == "local":
        log.info("objects.local", root=str(settings.media_root))
        return LocalObjects(settings.media_root)
    if backend == "s3":
        keys = settings.aws_access_key_id or "", _told(settings.aws_secret_access_key)
        found = MinioObjects(settings.s3_endpoint, settings.aws_s3_bucket or "", *keys, settings.aws_region)
    elif backend == "gcp":
        keys = settings.gcs_hmac_key_id or "", _told(settings.gcs_hmac_secret)
        found = MinioObjects(settings.gcs_endpoint, settings.gcs_bucket or "", *keys, "auto", "gcp")
    else:
        found = _supabase(settings)
    log.info("objects.bucket", backend=backend, bucket=found.bucket_url)
    return found


def _supabase(settings: StoreSettings) -> MinioObjects:
    """With S3 keys of the project, else as its service role, whose signature is made with the anonymous key."""
    project = URL(settings.supabase_url or "")
    endpoint, bucket = str(project.with_path(SUPABASE_PATH)), settings.storage_bucket_name or ""
    if settings.supabase_s3_access_key_id is not None:
        keys = settings.supabase_s3_access_key_id, _told(settings.supabase_s3_secret_access_key)
        return MinioObjects(endpoint, bucket, *keys, settings.supabase_region, "supabase")
    keys = (project.host or "").partition(".")[0], _told(settings.supabase_anon_key)
    token = _told(settings.supabase_service_role_key)
    return MinioObjects(endpoint, bucket, *keys, settings.supabase_region, "supabase", token)


def _told(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""

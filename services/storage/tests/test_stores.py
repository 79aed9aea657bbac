"""Which store is chosen, where it is, and what has to be told of it."""

import pytest
import structlog
from pydantic import ValidationError
from structlog.testing import LogCapture

from storage import stores
from storage.objects.minio import MinioObjects
from storage.objects.moving import MovingObjects
from storage.settings import MediaSettings, Settings, StoreSettings
from storage.stores import make_objects

VARIABLES = (
    *("MEDIA_STORAGE_BACKEND", "MEDIA_FORMER_BACKEND", "AWS_S3_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    *("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_ANON_KEY", "STORAGE_BUCKET_NAME", "MEDIA_SIGNING_KEY"),
    *("GCS_BUCKET", "GCS_HMAC_KEY_ID", "GCS_HMAC_SECRET", "SUPABASE_S3_ACCESS_KEY_ID", "SUPABASE_S3_SECRET_ACCESS_KEY"),
)
S3 = {"AWS_S3_BUCKET": "pictures", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
SUPABASE = {
    "SUPABASE_URL": "https://abc.supabase.co",
    "SUPABASE_SERVICE_ROLE_KEY": "role",
    "SUPABASE_ANON_KEY": "anon",
    "STORAGE_BUCKET_NAME": "media",
}
GCP = {"GCS_BUCKET": "media", "GCS_HMAC_KEY_ID": "GOOG", "GCS_HMAC_SECRET": "secret"}


def told(monkeypatch: pytest.MonkeyPatch, **environment: str) -> StoreSettings:
    """An empty variable is none."""
    for name in VARIABLES:
        monkeypatch.setenv(name, environment.get(name, ""))
    return StoreSettings()


def test_which_store_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ruling 17: the backend variable decides; unset, a bucket means S3, Supabase's two variables Supabase."""
    assert told(monkeypatch).backend == "local"
    assert MediaSettings().media_signing_key is None
    assert told(monkeypatch, **S3).backend == "s3"
    assert told(monkeypatch, **SUPABASE).backend == "supabase"
    both = told(monkeypatch, **S3, **SUPABASE)
    assert (both.backend, both.candidates) == ("s3", ["s3", "supabase"])
    assert told(monkeypatch, **S3, **SUPABASE, MEDIA_STORAGE_BACKEND="local").backend == "local"
    assert told(monkeypatch, **GCP).backend == "local", "only by its name"
    assert told(monkeypatch, **GCP, MEDIA_STORAGE_BACKEND="gcp").backend == "gcp"
    assert told(monkeypatch, **S3, MEDIA_FORMER_BACKEND="local").media_former_backend == "local"
    monkeypatch.setenv("STORAGE_DATABASE_URL", "postgresql://storage@127.0.0.1/darkroom")
    assert Settings.from_environment().collector.orphan_seconds == 86_400


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({"AWS_S3_BUCKET": "pictures"}, "AWS_ACCESS_KEY_ID"),
        ({"MEDIA_STORAGE_BACKEND": "gcp", "GCS_BUCKET": "media"}, "GCS_HMAC_KEY_ID"),
        (SUPABASE | {"SUPABASE_URL": ""}, "SUPABASE_URL"),
        (SUPABASE | {"SUPABASE_ANON_KEY": ""}, "SUPABASE_ANON_KEY"),
        (S3 | {"MEDIA_FORMER_BACKEND": "s3"}, "MEDIA_FORMER_BACKEND"),
        (S3 | {"MEDIA_FORMER_BACKEND": "gcp"}, "GCS_BUCKET"),
        ({"MEDIA_STORAGE_BACKEND": "ftp"}, "media_storage_backend"),
        ({"MEDIA_STORAGE_BACKEND": "azure"}, "azure: .* MEDIA_STORAGE_BACKEND=s3, S3_ENDPOINT"),
        (S3 | {"MEDIA_FORMER_BACKEND": "Azure_Blob"}, "Azure_Blob: .* a gateway that speaks S3"),
    ],
)
def test_a_store_that_is_not_told_enough_is_said(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], missing: str
) -> None:
    with pytest.raises(ValidationError, match=missing):
        told(monkeypatch, **environment)


async def test_each_store_is_where_its_settings_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addresses = {
        "s3": "https://s3.us-east-1.amazonaws.com/pictures",
        "gcp": "https://storage.googleapis.com/media",
        "supabase": "https://abc.supabase.co/storage/v1/s3/media",
    }
    for backend, address in addresses.items():
        store = make_objects(told(monkeypatch, **S3, **GCP, **SUPABASE, MEDIA_STORAGE_BACKEND=backend))
        assert isinstance(store, MinioObjects)
        assert (store.backend, store.bucket_url) == (backend, address)
        await store.close()
    said = LogCapture()
    monkeypatch.setattr(
        stores,
        "log",
        structlog.wrap_logger(structlog.PrintLogger(), processors=[said], wrapper_class=structlog.BoundLogger),
    )
    store = make_objects(told(monkeypatch, **S3, **SUPABASE, MEDIA_FORMER_BACKEND="local"))
    assert isinstance(store, MovingObjects)
    assert (store.current.backend, store.former.backend) == ("s3", "local")
    await store.close()
    assert "objects.candidates" in [line["event"] for line in said.entries], "two candidates are named at start"
    assert not any(secret in str(said.entries) for secret in ("role", "anon"))

"""Files that users name instead of sending them: read by the guarded client, then as any upload."""

from uuid import uuid4

import pytest

from contracts.keeping import TakeUpload
from storage.objects import name_of
from storage.objects.local import LocalObjects

from .conftest import Make
from .recorded import sound
from .samples import Provider, names, noise

pytestmark = pytest.mark.connected


async def test_what_is_elsewhere_is_brought_from_there(make: Make, provider: Provider, objects: LocalObjects) -> None:
    """Made anew as any upload, and asked for no second time; what cannot be read is no defect of ours."""
    user_id, upload_id = uuid4(), uuid4()
    question = TakeUpload(upload_id=upload_id, user_id=user_id, url=provider.url("speech", sound(1, "mp3")))
    taken = await make().take(question)
    assert taken.asset is not None and taken.asset.mime_type == "audio/mpeg"
    assert taken.asset.seconds == pytest.approx(1, abs=0.1)
    assert await make().take(question) == taken.model_copy(update={"is_new": False})
    assert taken.is_new and provider.asked["speech"] == 1
    assert name_of(user_id, taken.asset.sha256) in await names(objects)


@pytest.mark.parametrize("answer", [404, b"<html></html>", noise(1000, 1000)], ids=["gone", "html", "large"])
async def test_what_is_elsewhere_may_be_anything(make: Make, provider: Provider, answer: int | bytes) -> None:
    url = provider.url("there", answer)
    taken = await make().take(TakeUpload(upload_id=uuid4(), user_id=uuid4(), url=url))
    assert taken.failure is not None and taken.failure.code in {"unusable_media", "unsupported_media"}


@pytest.mark.parametrize("url", ["http://169.254.169.254/", "https://10.0.0.1/a.mp3", "file:///etc/passwd"])
async def test_nothing_is_brought_out_of_our_own_network(make: Make, url: str) -> None:
    taken = await make().take(TakeUpload(upload_id=uuid4(), user_id=uuid4(), url=url))
    assert taken.failure is not None and taken.failure.code == "unusable_media"

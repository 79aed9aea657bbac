"""Who may look: everybody with the address, or its owner alone, with a signature that lives or one that names them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import aiohttp
import pytest
from faststream.nats import NatsBroker

from contracts.facts import Asset, Visibility
from contracts.keeping import Show, TakeUpload
from contracts.media import address, signature
from runtime.database import Database
from storage.access import Access
from storage.ingest import Ingest
from storage.keeping import Bounds, Keeping
from storage.media import Media
from storage.objects.local import LocalObjects
from storage.variants import Variants
from storage.workshop import Workshop

from .conftest import Make
from .samples import Provider, picture, rendered
from .serving import served

pytestmark = pytest.mark.connected
KEY = "a signing key"
FOREVER = "public, max-age=31536000, immutable"


@dataclass
class Site:
    """Permanent addresses, but for what is its owner's alone; and one where all of them end."""

    base: str
    signing: str
    http: aiohttp.ClientSession

    async def status(self, url: str, method: str = "GET", **headers: str) -> int:
        async with self.http.request(method, url, headers=headers) as answer:
            return answer.status


@pytest.fixture
async def site(database: Database, objects: LocalObjects, workshop: Workshop) -> AsyncIterator[Site]:
    variants = Variants(database, objects, workshop)
    public, signing = (Media(database, objects, variants, Access(KEY, all_signed=value)) for value in (False, True))
    async with served(public) as base, served(signing) as other, aiohttp.ClientSession() as http:
        yield Site(base, other, http)


async def stored(ingest: Ingest, provider: Provider, visibility: Visibility) -> tuple[Asset, UUID, UUID]:
    fact = rendered(provider.url("a", picture(300, 200)), visibility=visibility)
    [asset] = (await ingest.store(fact)).data.assets
    return asset, fact.data.request.user_id, fact.data.request.generation_id


async def test_what_is_public_loads_for_ever_by_its_plain_address(
    site: Site, ingest: Ingest, provider: Provider
) -> None:
    asset, _, _ = await stored(ingest, provider, Visibility.PUBLIC)
    for query in ("", "?expires=1&signature=none", f"?expires=9&signature=none&reader={uuid4()}"):
        async with site.http.get(f"{site.base}/media/{asset.key}{query}") as answer:
            assert (answer.status, answer.headers["Cache-Control"]) == (200, FOREVER)


async def test_what_is_its_owners_alone_needs_a_signature(site: Site, ingest: Ingest, provider: Provider) -> None:
    """Original and variants alike; whoever may not look learns nothing, not even whether it is there."""
    asset, owner_id, _ = await stored(ingest, provider, Visibility.OWNER)
    for key in (asset.key, asset.variants["thumbnail"]):
        plain = f"{site.base}/media/{key}"
        for url in (
            plain,
            address(site.base, key, KEY, -1),
            address(site.base, key, "another key"),
            address(site.base, key, KEY, reader=uuid4()),
            address(site.base, key, KEY, reader=owner_id).replace(str(owner_id), str(uuid4())),
            address(site.base, key, KEY, reader=owner_id).partition("&reader")[0],
            address(site.base, key, KEY) + f"&reader={owner_id}",
            address(site.base, key, KEY).replace(key, asset.variants["medium"]),
        ):
            assert await site.status(url) == 404, url
            assert await site.status(url, "HEAD") == 404
        assert await site.status(plain, **{"If-None-Match": f'"{asset.sha256}"'}) == 404
        for url in (address(site.base, key, KEY), address(site.base, key, KEY, reader=owner_id)):
            async with site.http.get(url) as answer:
                assert (answer.status, answer.headers["Cache-Control"]) == (200, "private, max-age=300")
                assert len(await answer.read()) == answer.content_length


async def test_an_upload_is_what_it_was_when_it_was_new(
    site: Site, make: Make, broker: NatsBroker, database: Database
) -> None:
    """Sent again as something else, it stays as it was."""
    uploads, user_id = make(), uuid4()
    claims = await broker.connection.jetstream().object_store("claims")
    for visibility, other, status in (
        (Visibility.OWNER, Visibility.PUBLIC, 404),
        (Visibility.PUBLIC, Visibility.OWNER, 200),
    ):
        upload_id = uuid4()
        await claims.put(str(upload_id), picture(40, 30, seed=status))
        question = TakeUpload(upload_id=upload_id, user_id=user_id, claim=str(upload_id), visibility=visibility)
        taken = await uploads.take(question)
        again = await uploads.take(question.model_copy(update={"visibility": other}))
        assert taken.asset is not None
        assert again == taken.model_copy(update={"is_new": False})
        assert taken.visibility is visibility
        for key in (taken.asset.key, taken.asset.variants["thumbnail"]):
            assert await site.status(f"{site.base}/media/{key}") == status
            assert await site.status(address(site.base, key, KEY, reader=user_id)) == 200
            assert await site.status(address(site.base, key, KEY, reader=uuid4())) == status


async def test_an_owner_hides_and_shows_again(
    site: Site, ingest: Ingest, provider: Provider, database: Database
) -> None:
    asset, owner_id, generation_id = await stored(ingest, provider, Visibility.PUBLIC)
    keeping, url = Keeping(database, Bounds()), f"{site.base}/media/{asset.key}"
    hide = Show(user_id=owner_id, generation_id=generation_id, visibility=Visibility.OWNER)
    assert (await keeping.show(hide.model_copy(update={"user_id": uuid4()}))).assets == 0, "nobody else"
    assert await site.status(url) == 200
    assert [(await keeping.show(hide)).assets for _ in range(2)] == [1, 1]
    assert await site.status(url) == 404
    assert (await keeping.show(hide.model_copy(update={"visibility": Visibility.PUBLIC}))).assets == 1
    assert await site.status(url) == 200


async def test_where_all_addresses_end_a_reader_sees_only_what_is_theirs(
    site: Site, ingest: Ingest, provider: Provider
) -> None:
    asset, owner_id, _ = await stored(ingest, provider, Visibility.PUBLIC)
    assert await site.status(f"{site.signing}/media/{asset.key}") == 403
    assert await site.status(address(site.signing, asset.key, KEY)) == 200
    assert await site.status(address(site.signing, asset.key, KEY, reader=owner_id)) == 200
    assert await site.status(address(site.signing, asset.key, KEY, reader=uuid4())) == 404


async def test_a_reader_that_is_no_user_is_nobody(site: Site, ingest: Ingest, provider: Provider) -> None:
    asset, _, _ = await stored(ingest, provider, Visibility.OWNER)
    path, expires = f"/media/{asset.key}", 9_999_999_999
    for reader in ("x", "*", "../..", "A" * 5000):
        given = signature(path, expires, KEY, reader)
        query = {"expires": str(expires), "signature": given, "reader": reader}
        async with site.http.get(site.base + path, params=query) as answer:
            assert answer.status == 404

"""Storage's rows and objects, and its steps."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from contracts.facts import Asset, Failure, Outcome, Rendered
from contracts.ids import asset_id
from storage.ingest import SOURCE, _ending

if TYPE_CHECKING:
    from tests.simulation.world import World

UNUSABLE = Failure(code="result_unusable", message="The provider's result cannot be used: not a picture.")


class Storing:
    """Assets by id, objects by hash."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.outcomes: dict[UUID, Outcome] = {}
        self.assets: dict[UUID, tuple[UUID, Asset, str]] = {}
        """Generation, asset, and whether it is `writing` or `stored`."""
        self.objects: set[str] = set()

    def store(self, facts: Sequence[Rendered]) -> Iterator[None]:
        rendering = facts[0].data
        generation_id = rendering.request.generation_id
        yield
        recorded = self.outcomes.get(generation_id)
        if recorded is not None:
            self._drop(generation_id)
            yield
            yield from self._say(recorded)
            return
        stored = self._stored(generation_id)
        new, failures = [], []
        for output in rendering.outputs:
            if output.index in stored:
                continue
            if output.failure is not None:
                failures.append(output.failure)
            elif output.url is None or output.url.startswith("broken"):
                failures.append(UNUSABLE)
            else:
                new.append(_asset(generation_id, output.index, output.url))
        yield
        if new and generation_id in self.outcomes:
            self.world.hand_back()  # closed meanwhile: look again
        for asset in new:
            known = self.assets.get(asset.id)
            if known is None or known[2] == "writing":
                self.assets[asset.id] = (generation_id, asset, "writing")
        yield
        for asset in new:
            self.objects.add(asset.sha256)
            yield
        for asset in new:
            known = self.assets.get(asset.id)
            if known is None or known[1].sha256 != asset.sha256:
                self.world.hand_back()
            self.assets[asset.id] = (generation_id, asset, "stored")
        yield
        delivered = tuple(sorted((*stored.values(), *new), key=lambda asset: asset.index))
        yield from self._say(Outcome.of(_ending(rendering, delivered, failures), SOURCE, None))

    def _say(self, ours: Outcome) -> Iterator[None]:
        kept = yield from self.world.log.publish_unique(ours)
        if kept is not ours:
            yield
            self._close(kept)
            yield
            self._drop(ours.data.generation_id)

    def close(self, outcomes: Sequence[Outcome]) -> Iterator[None]:
        yield
        for outcome in outcomes:
            self._close(outcome)
        yield
        for outcome in outcomes:
            self._drop(outcome.data.generation_id)

    def _close(self, outcome: Outcome) -> None:
        self.outcomes.setdefault(outcome.data.generation_id, outcome)

    def _drop(self, generation_id: UUID) -> None:
        """Rows that the recorded outcome does not name."""
        named = {asset.id for asset in self.outcomes[generation_id].data.assets}
        self.assets = {
            id_: (of, asset, state)
            for id_, (of, asset, state) in self.assets.items()
            if of != generation_id or id_ in named
        }

    def _stored(self, generation_id: UUID) -> dict[int, Asset]:
        return {
            asset.index: asset for of, asset, state in self.assets.values() if of == generation_id and state == "stored"
        }


def _asset(generation_id: UUID, index: int, content: str) -> Asset:
    return Asset(
        id=asset_id(generation_id, index),
        index=index,
        key=content,
        mime_type="image/png",
        size_bytes=1,
        sha256=content,
    )

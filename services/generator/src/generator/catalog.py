"""What can be asked of which model: data, kept in `models`, offered where its provider has a key."""

import time
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select, text

from contracts.facts import Failure, Kind, Request
from contracts.questions import Catalog as Answer
from contracts.questions import CatalogModel
from generator.attempts import UnknownPolicy
from generator.providers.interface import Invalid, Unauthorized
from generator.tables import models
from runtime.database import Database

_MODELS = select(models).order_by(models.c.position)
_VERSION = text("SELECT version FROM catalog")
_OFFER = text("UPDATE catalog SET version = version + 1, offered = :offered WHERE offered <> :offered")
LOOK_AGAIN_SECONDS = 5.0
"""How soon a model that was not there is looked for again."""


@dataclass(frozen=True, slots=True)
class Model:
    """One row of `models`."""

    offer: CatalogModel
    provider_model: str
    max_per_submission: int
    unknown_policy: UnknownPolicy


class Catalog:
    """The models as this process last read them."""

    def __init__(self, database: Database, providers: Collection[str]) -> None:
        self._database = database
        self._providers = frozenset(providers)
        self._models: dict[str, Model] = {}
        self._version = 0
        self._read_at = float("-inf")

    @property
    def known(self) -> bool:
        return self._version > 0

    async def refresh(self) -> None:
        """Reads the models; the first time, another set of keys than before makes another version of the catalog."""
        async with self._database.statement() as connection:
            if not self.known:
                await connection.execute(_OFFER, {"offered": sorted(self._providers)})
            # The version first: should the models change in between, the next reading says so.
            version = (await connection.execute(_VERSION)).scalar_one()
            rows = (await connection.execute(_MODELS)).all()
        self._models = {
            row["id"]: Model(
                CatalogModel.model_validate(dict(row)),
                row["provider_model"],
                row["max_per_submission"],
                row["unknown_policy"],
            )
            for row in rows
        }
        self._version = version
        self._read_at = time.monotonic()

    async def answer(self) -> Answer:
        """What is offered now; the first of a kind is its default. Somebody may ask before the first reading."""
        if not self.known:
            await self.refresh()
        offered = (model.offer for model in self._models.values() if model.offer.provider in self._providers)
        return Answer(version=self._version, models=tuple(offer for offer in offered if offer.state != "off"))

    async def find(self, request: Request) -> Model | Failure:
        """The model that was asked for, or why it cannot be had."""
        model = self._models.get(request.model)
        if model is None and time.monotonic() - self._read_at > LOOK_AGAIN_SECONDS:
            await self.refresh()
            model = self._models.get(request.model)
        if model is None or model.offer.state == "off" or Kind(model.offer.kind) is not request.kind:
            return Failure(code=Invalid.code, message="This model is not offered.")
        if request.count > model.offer.max_count:
            return Failure(code=Invalid.code, message=f"This model makes at most {model.offer.max_count} at a time.")
        if model.offer.provider not in self._providers:
            return Failure(code=Unauthorized.code, message="There is no key for this model's provider.")
        return model

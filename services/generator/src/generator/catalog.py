"""What can be asked of which model: data, kept in `models`, offered where its provider has a key.

A model whose provider retired it names a successor, which does its work, unless that is switched off; one may name
others that cost the same and do its work while its own provider does not answer.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import select, text

from contracts.facts import Failure, Kind, Request
from contracts.questions import (
    Catalog as Answer,
)
from contracts.questions import (
    CatalogModel,
    ListedModel,
    Models,
    SwitchedModel,
    SwitchModel,
)
from generator.attempts import UnknownPolicy
from generator.providers.interface import Invalid, Unauthorized
from generator.tables import models
from runtime.database import Database, Row

_MODELS = select(models).order_by(models.c.position)
_VERSION = text("SELECT version, callback_key FROM catalog")
_OFFER = text("UPDATE catalog SET version = version + 1, offered = :offered WHERE offered <> :offered")
_OFF = text("""
    UPDATE models SET state = 'off', state_when_on = state WHERE id = :id AND state <> 'off' RETURNING id
""")
_ON = text("""
    UPDATE models SET state_when_on = NULL, state =
        COALESCE(state_when_on, CASE WHEN successor IS NULL THEN 'active' ELSE 'legacy' END)
    WHERE id = :id AND state = 'off' RETURNING id
""")
CALLING_TOOLS = frozenset({"openai", "anthropic"})
"""Whose texts may call for tools. Of the models of a server that is only compatible nobody knows."""
LOOK_AGAIN_SECONDS = 5.0
"""How soon a model that was not there is looked for again."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Model:
    """The row of `models` that does the work, and what was offered, which may be another's."""

    id: str
    offer: CatalogModel
    provider: str
    provider_model: str
    """By the provider's own name."""
    max_per_submission: int
    unknown_policy: UnknownPolicy
    provider_sizes: tuple[str, ...]
    """What the provider really makes; what is offered beside these is scaled down by storage."""
    provider_seconds: tuple[int, ...]
    successor: str | None
    fallback_ids: tuple[str, ...]
    voice_ids: tuple[str, ...]
    voices: tuple["Model", ...] = field(default=())
    """Who may speak what is said in its films; none for any other model."""
    fallbacks: tuple["Model", ...] = field(default=())
    """Who else may do the work, in this order."""
    others: tuple["Model", ...] = field(default=())
    """Both of these, and those of them that are off: what they have begun stays theirs."""

    def provider_size(self, size: str | None) -> str | None:
        """The nearest size that the provider makes and that holds the one asked for; of the same shape if it can."""
        if size is None or not self.provider_sizes or size in self.provider_sizes:
            return size
        return min(self.provider_sizes, key=lambda each: _distance(each, size))

    def provider_length(self, seconds: int | None) -> int | None:
        """The shortest that the provider makes and that is as long; its longest where none is."""
        if seconds is None or not self.provider_seconds:
            return seconds
        return min((each for each in self.provider_seconds if each >= seconds), default=max(self.provider_seconds))


class Catalog:
    """The models as this process last read them."""

    def __init__(self, database: Database, providers: Collection[str]) -> None:
        self._database = database
        self._providers = frozenset(providers)
        self._models: dict[str, Model] = {}
        self._known: dict[str, Model] = {}
        """As they stand in their rows, before anybody does another's work."""
        self._version = 0
        self._read_at = float("-inf")
        self.callback_key = b""
        """Of the addresses that providers may call."""

    @property
    def known(self) -> bool:
        return self._version > 0

    async def refresh(self) -> None:
        """Reads the models; the first time, another set of keys than before makes another version of the catalog."""
        async with self._database.statement() as connection:
            if not self.known:
                await connection.execute(_OFFER, {"offered": sorted(self._providers)})
            # The version first: should the models change in between, the next reading says so.
            version, key = (await connection.execute(_VERSION)).one()
            rows = (await connection.execute(_MODELS)).all()
        known = self._known = {model.id: model for model in map(_understood, rows) if model is not None}
        self._models = {name: _resolved(model, known, self._providers) for name, model in known.items()}
        self._version = version
        self.callback_key = key.encode()
        self._read_at = time.monotonic()

    async def answer(self) -> Answer:
        """What is offered now; the first of a kind is its default. Somebody may ask before the first reading."""
        if not self.known:
            await self.refresh()
        offered = (model.offer for model in self._models.values() if model.provider in self._providers)
        return Answer(version=self._version, models=tuple(offer for offer in offered if offer.state != "off"))

    async def listed(self) -> Models:
        """All models, as they are now."""
        await self.refresh()
        return Models(version=self._version, models=tuple(self._listed(model) for model in self._known.values()))

    async def switch(self, asked: SwitchModel) -> SwitchedModel:
        """Offers a model, or no longer; the other processes learn it when they read the catalog again."""
        async with self._database.statement() as connection:
            changed = (await connection.execute(_ON if asked.on else _OFF, {"id": asked.id})).first() is not None
        await self.refresh()
        model = self._known.get(asked.id)
        if model is None:
            return SwitchedModel(problem=f"There is no model {asked.id!r}.")
        if changed:
            log.info("model.switched", model=asked.id, state=model.offer.state)
        return SwitchedModel(model=self._listed(model))

    def _listed(self, model: Model) -> ListedModel:
        has_key = self._models[model.id].provider in self._providers
        return ListedModel(
            model=model.offer, provider_model=model.provider_model, fallbacks=model.fallback_ids, has_key=has_key
        )

    async def find(self, request: Request, *, is_begun: bool = False) -> Model | Failure:
        """The model that does the work of the one that was asked for, or why it cannot be had. One that was switched
        off, or may not make so many any more, begins nothing, and what it has begun is still followed."""
        model = self._models.get(request.model)
        if model is None and time.monotonic() - self._read_at > LOOK_AGAIN_SECONDS:
            await self.refresh()
            model = self._models.get(request.model)
        is_off = model is not None and model.offer.state == "off" and not is_begun
        if model is None or is_off or model.offer.kind is not request.kind:
            return Failure(code=Invalid.code, message="This model is not offered.")
        if request.count > model.offer.max_count and not is_begun:
            return Failure(code=Invalid.code, message=f"This model makes at most {model.offer.max_count} at a time.")
        if model.provider not in self._providers:
            return Failure(code=Unauthorized.code, message="There is no key for this model's provider.")
        if model.id != request.model:
            log.info("model.succeeded", asked=request.model, successor=model.id, provider=model.provider)
        return model


def _understood(row: Row) -> Model | None:
    """None for one that makes no sense: it is left out, and the log says which."""
    try:
        return _model(row)
    except (ValueError, TypeError) as error:
        log.error("model.not_understood", model=row["id"], error=str(error)[:300])
        return None


def _model(row: Row) -> Model:
    values = dict(row)
    calls_tools = values["kind"] == Kind.TEXT and values["provider"] in CALLING_TOOLS
    lists = {name: values[name] or () for name in _LISTS}
    offer = CatalogModel.model_validate(values | lists | {"calls_tools": calls_tools})
    return Model(
        id=offer.id,
        offer=offer,
        provider=offer.provider,
        provider_model=values["provider_model"],
        max_per_submission=values["max_per_submission"],
        unknown_policy=values["unknown_policy"],
        provider_sizes=tuple(values["provider_sizes"]),
        provider_seconds=offer.seconds,
        successor=offer.successor,
        fallback_ids=tuple(values["fallbacks"]),
        voice_ids=tuple(values["voice_models"]),
    )


_LISTS = ("sizes", "seconds", "ratios", "inputs", "needs", "voices")


def _resolved(model: Model, known: Mapping[str, Model], providers: Collection[str]) -> Model:
    """The model with its successor's abilities where it has one, and with who may stand in for it. It is off where
    whoever does its work is."""
    worker = known.get(model.successor or model.id, model)
    offer = model.offer if worker.offer.state != "off" else model.offer.model_copy(update={"state": "off"})

    def those(names: Sequence[str]) -> list[Model]:
        return [known[name] for name in names if name in known and known[name].provider in providers]

    def active(those: Sequence[Model]) -> tuple[Model, ...]:
        return tuple(each for each in those if known[each.id].offer.state == "active")

    voices, fallbacks = those(worker.voice_ids), [replace(each, offer=offer) for each in those(worker.fallback_ids)]
    return replace(
        worker, offer=offer, voices=active(voices), fallbacks=active(fallbacks), others=(*voices, *fallbacks)
    )


def _distance(made: str, asked: str) -> tuple[bool, float, int]:
    """Smaller is nearer: large enough, of the same shape, small."""
    width, height = map(int, made.split("x"))
    wanted_width, wanted_height = map(int, asked.split("x"))
    holds = width >= wanted_width and height >= wanted_height
    shape = abs(width * wanted_height - height * wanted_width) / (height * wanted_height)
    return not holds, round(shape, 3), width * height

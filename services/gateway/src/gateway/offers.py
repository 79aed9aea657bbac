"""What can be asked for and what it costs: the generator's catalog and the ledger's prices, as last heard.

Both are asked for again and again, and kept in the database, so that a gateway that starts while the others are away
goes on with what they last said.
"""

import asyncio
import time

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from sqlalchemy import text

from contracts.facts import Kind
from contracts.money import PriceList, Quote
from contracts.questions import (
    GENERATOR_CATALOG,
    LEDGER_PRICES,
    Catalog,
    CatalogModel,
    Nothing,
)
from gateway.orders import Order, playing_seconds
from gateway.refusals import Invalid, Unavailable, UnknownModel
from runtime.broker import connected
from runtime.database import Database

REFRESH_SECONDS = 30.0
RETRY_SECONDS = 1.0
ANSWER_TIMEOUT_SECONDS = 2.0
MAX_ECHO_CHARACTERS = 40

log = structlog.get_logger()

_LOAD = text("SELECT name, document::text AS document FROM offers")
_SAVE = text("""
    INSERT INTO offers (name, document) VALUES (:name, CAST(:document AS jsonb))
    ON CONFLICT (name) DO UPDATE SET document = excluded.document, heard_at = now()
""")


class Offers:
    """The catalog and the prices that this process quotes from."""

    def __init__(self, database: Database, broker: NatsBroker) -> None:
        self._database = database
        self._broker = broker
        self._catalog: Catalog | None = None
        self._prices: PriceList | None = None
        self._kept: tuple[Catalog, PriceList] | None = None
        """What the database has."""
        self._is_heard = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._refresh(), name="offers")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def problems(self) -> list[str]:
        missing = [("catalog", self._catalog), ("prices", self._prices)]
        return [f"offers: no {name} heard yet" for name, heard in missing if heard is None]

    @property
    def prices(self) -> PriceList:
        if self._prices is None:
            raise Unavailable("The prices are not known yet.")
        return self._prices

    def models(self, kind: Kind | None = None) -> list[CatalogModel]:
        """What can be asked for: switched on and priced."""
        if self._catalog is None:
            raise Unavailable("The models are not known yet.")
        priced = self.prices.prices
        return [
            model
            for model in self._catalog.models
            if (kind is None or model.kind is kind) and model.state != "off" and model.id in priced
        ]

    def model(self, kind: Kind, name: str | None) -> CatalogModel:
        """The named model, or the first of its kind.

        Raises:
            UnknownModel: there is none of that name and kind.
        """
        offered = self.models(kind)
        for model in offered:
            if name is None or model.id == name:
                return model
        if name is None:
            raise UnknownModel(f"No {kind} is offered.")
        asked, available = name[:MAX_ECHO_CHARACTERS], [model.id for model in offered]
        known = ", ".join(available) or "none"
        raise UnknownModel(
            f"There is no {kind} model {asked!r}. Offered: {known}.", details={"model": asked, "available": available}
        )

    def is_retired(self, name: str) -> bool:
        """Whether a model's provider took it out of service."""
        known = self._catalog.models if self._catalog else ()
        return any(model.id == name and model.state == "legacy" for model in known)

    def quote(self, model: CatalogModel, order: Order) -> Quote:
        """What it costs at most. Raises Invalid for what has no price: it is refused, and never free; and as
        `playing_seconds` does."""
        quality = order.options.get("quality")
        quote = self.prices.quote(
            model.id,
            order.count,
            size=order.size,
            quality=quality if isinstance(quality, str) else None,
            seconds=playing_seconds(order, model),
            characters=len(order.words),
            usage=order.usage,
        )
        if quote is None:
            raise Invalid(f"The model {model.id} has no price for this.")
        return quote

    async def _refresh(self) -> None:
        await self._recall()
        while True:
            try:
                if connected(self._broker):
                    await self._ask()
            except (NatsError, OSError, TimeoutError) as error:
                log.info("offers.silent", error=type(error).__name__)
            except Exception:
                log.exception("offers.failed")
            # What is recalled may be old: until it is heard, it is asked for as if there were nothing.
            await asyncio.sleep(REFRESH_SECONDS if self._is_heard else RETRY_SECONDS)

    async def _recall(self) -> None:
        try:
            async with self._database.statement() as connection:
                remembered = {row.name: row.document for row in await connection.execute(_LOAD)}
        except Exception:
            log.exception("offers.not_recalled")
            return
        if "catalog" in remembered:
            self._catalog = Catalog.model_validate_json(remembered["catalog"])
        if "prices" in remembered:
            self._prices = PriceList.model_validate_json(remembered["prices"])

    async def _ask(self) -> None:
        started = time.monotonic()
        catalog, prices = await asyncio.gather(self._question(GENERATOR_CATALOG), self._question(LEDGER_PRICES))
        heard = (Catalog.model_validate_json(catalog), PriceList.model_validate_json(prices))
        self._catalog, self._prices = heard
        self._is_heard = True
        if heard == self._kept:
            return
        async with self._database.transaction() as connection:
            for name, document in zip(("catalog", "prices"), heard, strict=True):
                await connection.execute(_SAVE, {"name": name, "document": document.model_dump_json()})
        self._kept = heard
        log.info("offers.heard", models=len(heard[0].models), seconds=round(time.monotonic() - started, 3))

    async def _question(self, subject: str) -> bytes:
        answer = await self._broker.connection.request(
            subject, Nothing().model_dump_json().encode(), timeout=ANSWER_TIMEOUT_SECONDS
        )
        return bytes(answer.data)

"""The composition root: what the ledger is made of and in which order it starts and stops."""

from faststream.asgi import AsgiFastStream

from ledger.announcements import Changes
from ledger.balances import Balances
from ledger.figures import Figures
from ledger.operations import Ledger
from ledger.payments.operations import Payments
from ledger.payments.pull import Pull
from ledger.reconciler import Reconciler
from ledger.settings import Settings
from ledger.subscribers import consume_facts, payment_questions, questions
from runtime import telemetry
from runtime.broker import connected, make_broker
from runtime.consumption import Consumers
from runtime.database import Database
from runtime.health import LoopLag, routes


def create_app(settings: Settings) -> AsgiFastStream:
    """The ledger as an ASGI application: `/live`, `/ready`, `/metrics`; everything else goes over NATS."""
    telemetry.configure(settings.process, "ledger")
    lag = LoopLag()
    database = Database(settings.database, "ledger")

    async def reconnected() -> None:
        await consumers.reconnected()

    broker = make_broker(settings.broker, "ledger", reconnected)
    consumers = Consumers(broker)
    changes = Changes(broker)
    ledger = Ledger(database, settings.credits.starting_grant, changes)
    reconciler = Reconciler(settings.reconciler, database, broker, ledger)
    payments = Payments(database, ledger, settings.payments)
    pull = Pull(database, broker, payments, settings.payments.stripe_pull_seconds)
    figures = Figures(database)
    consume_facts(consumers, broker, ledger)
    broker.include_router(questions(broker, database, ledger, Balances(ledger, broker)))
    broker.include_router(payment_questions(payments, pull))

    async def check_database() -> list[str]:
        await database.check()
        return []

    async def check_broker() -> list[str]:
        return ["broker: not connected"] if not connected(broker) else consumers.problems()

    async def start() -> None:
        lag.start()
        await consumers.start()
        await reconciler.start()
        await pull.start()
        await figures.start()

    async def stop() -> None:
        await figures.stop()
        await pull.stop()
        await reconciler.stop()
        await consumers.stop()
        await changes.stop()
        lag.stop()

    async def close() -> None:
        if payments.provider is not None:
            await payments.provider.close()
        await database.close()

    return AsgiFastStream(
        broker,
        logger=None,
        asgi_routes=routes(lag, [check_database, check_broker]),
        after_startup=[start],
        on_shutdown=[stop],
        after_shutdown=[close],
    )

"""What is open, and what was perhaps paid for nothing."""

import pytest
from prometheus_client import REGISTRY

from generator.figures import Figures

from .stage import DEAR, ask

pytestmark = pytest.mark.connected


def figure(name, **labels):
    return REGISTRY.get_sample_value(name, labels)


async def test_attempts_of_an_unknown_end_are_counted_from_nothing(process):
    figures = Figures(process.database)
    figures.start(["openai", "a-server-of-our-own"])
    figures.stop()
    unknown = {"state": "unknown", "code": "provider_unknown"}
    assert figure("attempts_total", provider="openai", **unknown) is not None
    assert figure("attempts_total", provider="a-server-of-our-own", **unknown) == 0


async def test_open_work_and_the_exposure_of_unknown_attempts(process):
    figures = Figures(process.database)
    await figures.count()
    assert figure("work_open") == 0
    request = ask("[[sim:latency=1]]", model=DEAR, count=2)
    working = process.begin(request)
    while not await process.attempts(request):
        pass
    await figures.count()
    assert figure("work_open") == 1
    assert figure("attempts_unknown_open", provider="openai") is None
    await process.rows("UPDATE attempts SET state = 'unknown', ended_at = now() RETURNING id")
    await figures.count()
    attempts = await process.attempts(request)
    assert figure("attempts_unknown_open", provider="openai") == len(attempts)
    assert figure("attempts_unknown_open_units", provider="openai") == request.quote.amount
    assert figure("work_oldest_open_seconds") < 30
    working.cancel()
    await process.rows("UPDATE work SET state = 'closed', outcome = '{}' RETURNING generation_id")
    await figures.count()
    assert figure("work_open") == 0
    assert figure("attempts_unknown_open", provider="openai") is None, "what is gone is not shown any more"

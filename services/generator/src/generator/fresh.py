"""Where an output is by now: asked by storage once the address that it was told is no longer good."""

import time

from contracts.tasks import FreshAddress, FreshAddressOf
from generator.about import LOOK_TIMEOUT_SECONDS
from generator.catalog import Catalog, Model
from generator.course import Assignment
from generator.submit import Submitter
from generator.work import Work


async def fresh_address(work: Work, catalog: Catalog, submitter: Submitter, question: FreshAddressOf) -> FreshAddress:
    """A new address from a provider that keeps what its task made; none where there was no task, or it is gone.

    Looking at a task is free of charge and changes nothing.
    """
    found = await work.rendered_task(question.generation_id, question.index)
    if found is None:
        return FreshAddress()
    request, attempt = found
    model = await catalog.find(request, is_begun=True)
    if not isinstance(model, Model):
        return FreshAddress()
    assignment = Assignment(request, None, model, time.monotonic() + LOOK_TIMEOUT_SECONDS)
    return FreshAddress(url=await submitter.address(assignment, attempt, question.index))

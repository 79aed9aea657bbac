"""What the tests of several vendors' films share."""

import io

from PIL import Image

from generator.providers.interface import Given

from .vendor import steer


def still(role="first_frame", width=320, height=180):
    """A picture to start from, as bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "navy").save(buffer, "PNG")
    return Given(role, content=buffer.getvalue(), mime_type="image/png")


class StoppedAtACost:
    """For a vendor that stops what runs, and charges what it took so far: the caller is told that it was not free."""

    async def test_what_runs_goes_on_unless_the_provider_can_stop_it(self, provider, simulator):
        submission = self.submission("[[sim:latency=100]]")
        task = await provider.submit(submission)
        steer(simulator, "POST", "clock", {"seconds": 30})
        assert not await provider.cancel(submission, task)
        steer(simulator, "POST", "clock", {"seconds": 100})
        items = await provider.look(submission, task)
        assert [item.code for item in items] == ["provider_unavailable"]

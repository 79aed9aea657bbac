"""What players draw of a sound: a waveform with its shape."""

import hashlib
import json
from pathlib import Path

import pytest

from storage.pictures import Unusable
from storage.waveforms import waveform

from .recorded import sound, video


def test_a_waveform_has_the_shape_of_the_sound(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    file.write_bytes(sound(3, "wav"))
    drawn = json.loads(waveform(str(file), 3.0))
    assert (drawn["version"], drawn["channels"], drawn["bits"]) == (2, 1, 8)
    assert drawn["length"] * drawn["samples_per_pixel"] / drawn["sample_rate"] == pytest.approx(3, abs=0.1)
    assert len(drawn["data"]) == 2 * drawn["length"] <= 2 * 810
    highest = drawn["data"][1::2]
    assert all(-128 <= value <= 127 for value in drawn["data"])
    assert highest[20] < highest[len(highest) // 2] < highest[-20], "it grows"
    assert hashlib.sha256(waveform(str(file), 3.0)).digest() == hashlib.sha256(waveform(str(file), 3.0)).digest()


def test_a_silent_video_has_no_waveform(tmp_path: Path) -> None:
    file = tmp_path / "recording"
    file.write_bytes(video(64, 64, 1, with_sound=False))
    with pytest.raises(Unusable):
        waveform(str(file), 1.0)

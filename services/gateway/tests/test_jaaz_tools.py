"""What a language model may call for, and where what was drawn for it is put on the canvas."""

import json
from typing import Any
from uuid import uuid4

import pytest

from contracts.facts import Asset
from contracts.talking import Call
from gateway.dialects.jaaz import easel
from gateway.dialects.jaaz.tools import Toolbox, toolbox
from gateway.refusals import Invalid

from .jaaz import box
from .players import CATALOG, SEEDREAM


def boxed() -> Toolbox:
    return toolbox(CATALOG.models, None)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("delete_everything", "{}"),
        ("generate_image", "{"),
        ("generate_image", "[]"),
        ("generate_image", "{}"),
        ("generate_image", '{"prompt": 5}'),
        ("generate_image", '{"prompt": "x", "model": "gpt-4o-mini"}'),
        ("generate_image", '{"prompt": "x", "image_id": "../x"}'),
        ("generate_video", '{"prompt": "x", "seconds": true}'),
        ("generate_image", "[" * 100_000),
    ],
    ids=["unknown", "broken", "list", "empty", "number", "model", "image", "seconds", "deep"],
)
def test_what_a_model_says_is_not_believed(name: str, arguments: str) -> None:
    with pytest.raises(Invalid):
        boxed().order(Call(id="1", name=name, arguments=arguments), None)


def test_the_tools_say_what_is_offered() -> None:
    image, video = boxed().tools()
    properties: Any = image.parameters["properties"]
    assert properties["model"]["enum"][0] == SEEDREAM and "1024x1024" in properties["size"]["enum"]
    assert "seconds" in str(video.parameters["properties"]) and "image_id" in str(video.parameters["properties"])


def test_a_picture_is_started_from_by_the_id_that_its_client_knows() -> None:
    """One that was drawn, or one that its user brought: both are files."""
    file_id = uuid4()
    said = json.dumps({"prompt": "the same in blue", "image_id": str(file_id)})
    [given] = boxed().order(Call(id="1", name="generate_image", arguments=said), None).inputs
    assert (given.role, given.url) == ("image", f"/api/file/{file_id}")


def test_where_no_model_is_named_a_picture_goes_to_one_that_takes_it() -> None:
    first = next(model for model in CATALOG.models if model.id == SEEDREAM)
    painter = first.model_copy(update={"id": "painter", "inputs": ("image",)})
    box = toolbox([first, painter], None)
    for image_id, chosen in ((None, SEEDREAM), (str(uuid4()), "painter")):
        said = json.dumps({"prompt": "in blue", "image_id": image_id})
        assert box.order(Call(id="1", name="generate_image", arguments=said), None).model == chosen
    [image] = box.tools()
    properties: Any = image.parameters["properties"]
    assert "only with painter" in properties["image_id"]["description"]


def test_what_was_drawn_is_put_beside_the_rest_once() -> None:
    asset = Asset(id=uuid4(), index=0, key="k", mime_type="image/png", size_bytes=1, sha256="", width=2048, height=1024)
    canvas: Any = type("Canvas", (), {"elements": [box("a", 0), box("b", 300) | {"isDeleted": True}]})()
    change = easel.put(canvas, asset)
    assert change is not None and change.elements is not None
    placed = change.elements[-1]
    assert (placed["x"], placed["y"], placed["width"], placed["height"]) == (140, 10, 512, 256)
    canvas.elements = [*change.elements[:-1], placed | {"isDeleted": True}]
    assert easel.put(canvas, asset) is None and easel.element_on(canvas, asset) is None

"""What was drawn for a canvas, put where there is room on it."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from contracts.facts import Asset
from gateway.dialects.jaaz.canvases import Canvas, Change
from gateway.dialects.jaaz.elements import Element, visible
from gateway.inputs import FILE_PATH

SHOWN_PIXELS = 512
"""The longer side of what is put on a canvas; whoever wants it larger draws at its corner."""
GAP_PIXELS = 40
_SEEDS = 2**31


def put(canvas: Canvas, asset: Asset) -> Change | None:
    """The change that puts it to the right of all that is there; None where it was put there before, whatever its user
    has done with it since."""
    name = str(asset.id)
    if any(element.get("id") == name for element in canvas.elements):
        return None
    x, y = _free_place(visible(canvas.elements))
    element = {**_element(asset), "x": x, "y": y}
    return Change(elements=[*canvas.elements, element], files={name: file_of(asset)})


def path_of(asset_id: UUID) -> str:
    """Where it is served, for as long as it is kept."""
    return f"{FILE_PATH}{asset_id}"


def file_of(asset: Asset) -> dict[str, Any]:
    """As Excalidraw keeps it."""
    path = path_of(asset.id)
    return {"id": str(asset.id), "mimeType": asset.mime_type, "dataURL": path, "created": _now()}


def element_on(canvas: Canvas, asset: Asset) -> Element | None:
    """What was put there; None where its user has taken it away."""
    return next((element for element in visible(canvas.elements) if element.get("id") == str(asset.id)), None)


def _free_place(elements: Sequence[Element]) -> tuple[float, float]:
    rights = [_number(element, "x") + _number(element, "width") for element in elements]
    tops = [_number(element, "y") for element in elements]
    return (max(rights) + GAP_PIXELS, min(tops)) if elements else (0, 0)


def _element(asset: Asset) -> Element:
    """Excalidraw's. A film is what it embeds by its address."""
    width, height = asset.width or SHOWN_PIXELS, asset.height or SHOWN_PIXELS
    scale = min(1.0, SHOWN_PIXELS / max(width, height))
    is_film = asset.mime_type.startswith("video/")
    shape = {"type": "embeddable"} if is_film else {"type": "image", "status": "saved", "scale": [1, 1], "crop": None}
    return {
        "id": str(asset.id),
        **shape,
        "fileId": str(asset.id),
        "link": path_of(asset.id) if is_film else None,
        "width": round(width * scale),
        "height": round(height * scale),
        "angle": 0,
        "strokeColor": "transparent",
        "backgroundColor": "transparent",
        "fillStyle": "solid",
        "strokeWidth": 1,
        "strokeStyle": "solid",
        "roughness": 1,
        "opacity": 100,
        "groupIds": [],
        "frameId": None,
        "roundness": None,
        "boundElements": None,
        "locked": False,
        "isDeleted": False,
        "seed": asset.id.int % _SEEDS,
        "version": 1,
        "versionNonce": asset.id.int % _SEEDS,
        "updated": _now(),
    }


def _number(element: Element, name: str) -> float:
    value = element.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _now() -> int:
    return int(time.time() * 1000)

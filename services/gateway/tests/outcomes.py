"""What the other services say became of a request, as the players say it: delivered in full, or not."""

from contracts.facts import (
    Asset,
    Ending,
    Failure,
    Kind,
    Outcome,
    Request,
    Verdict,
)
from contracts.ids import asset_id
from contracts.money import (
    Usage,
)


def outcome_of(
    request: Request, verdict: Verdict, failure: Failure | None = None, delivered: int | None = None
) -> Outcome:
    """As the service says it whose word it is."""
    source = {Verdict.COMPLETED: "storage", Verdict.DECLINED: "ledger", Verdict.CANCELLED: "gateway"}
    wanted = request.count if delivered is None else delivered
    ending = Ending(generation_id=request.generation_id, verdict=verdict, provider="modelark", failure=failure)
    if verdict is Verdict.COMPLETED and request.kind is Kind.TEXT:
        usage = Usage(input_tokens=7, output_tokens=9)
        ending = ending.model_copy(update={"text": f"About {request.prompt}: it is well said.", "usage": usage})
    elif verdict is Verdict.COMPLETED:
        ending = ending.model_copy(update={"assets": tuple(_ASSETS[request.kind](request, i) for i in range(wanted))})
    return Outcome.of(ending, source.get(verdict, "generator"), None)


def _picture(request: Request, index: int) -> Asset:
    width, height = map(int, (request.size or "64x64").split("x"))
    token = f"{request.generation_id.hex}{index}"
    return Asset(
        id=asset_id(request.generation_id, index),
        index=index,
        key=f"{token}/original.png",
        mime_type="image/png",
        size_bytes=1234,
        sha256="ab" * 32,
        width=width,
        height=height,
        variants={"medium": f"{token}/medium.webp", "thumbnail": f"{token}/thumbnail.webp"},
        source_url=f"https://provider.example/{token}.png",
    )


def _film(request: Request, index: int) -> Asset:
    width, height = map(int, (request.size or "1280x720").split("x"))
    token = f"{request.generation_id.hex}{index}"
    return Asset(
        id=asset_id(request.generation_id, index),
        index=index,
        key=f"{token}/original.mp4",
        mime_type="video/mp4",
        size_bytes=5678,
        sha256="cd" * 32,
        width=width,
        height=height,
        seconds=float(request.seconds or 5),
        bitrate=9085,
        variants={"poster": f"{token}/poster.webp", "thumbnail": f"{token}/thumbnail.webp"},
        source_url=f"https://provider.example/{token}.mp4",
    )


def _sound(request: Request, index: int) -> Asset:
    token = f"{request.generation_id.hex}{index}"
    return Asset(
        id=asset_id(request.generation_id, index),
        index=index,
        key=f"{token}/original.mp3",
        mime_type="audio/mpeg",
        size_bytes=3456,
        sha256="ef" * 32,
        seconds=2.5,
        bitrate=128_000,
        variants={"waveform": f"{token}/waveform.json"},
        source_url=None,
    )


_ASSETS = {Kind.IMAGE: _picture, Kind.VIDEO: _film, Kind.SPEECH: _sound}

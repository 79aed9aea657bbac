"""A text as server-sent events, while it is written: what `replicate.stream` reads.

Whoever comes while it is being written, or afterwards, is told the whole in one piece at its end.
"""

import json
import re
from collections.abc import AsyncGenerator

from gateway.dialects.endings import delivered
from gateway.identity import Caller
from gateway.live import PING
from gateway.records import Generation
from gateway.refusals import Refusal, TextChanged
from gateway.words import Anew, Words

_BREAK = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
"""Whatever ends a line to the official client for Python (`str.splitlines`); to a reader of events the first three."""


async def follow(words: Words, caller: Caller, generation: Generation) -> AsyncGenerator[bytes, None]:
    """`output` for each piece, then `done`; before that `error`, where there is none, or where it was written anew."""
    async with words.listening(generation.id) as heard:
        yield b": accepted\n\n"
        number, is_torn, is_anew = 1, False, False
        try:
            async for piece in words.pieces(caller, generation, heard):
                if isinstance(piece, Generation):
                    generation = piece
                elif isinstance(piece, Anew):
                    is_anew = True
                elif piece is None:
                    yield PING
                else:
                    # What breaks a line may come in two pieces, and is one break all the same.
                    yield _event("output", number, piece.removeprefix("\n") if is_torn else piece)
                    is_torn = piece.endswith("\r")
                    number += 1
            delivered(generation)
            if is_anew:
                raise TextChanged(generation.id)
        except Refusal as refusal:
            yield _event("error", number, json.dumps({"detail": refusal.message}))
            reason = "canceled" if generation.status == "cancelled" else "error"
            yield _event("done", number + 1, json.dumps({"reason": reason}))
        else:
            yield _event("done", number, "{}")


def _event(name: str, number: int, data: str) -> bytes:
    """One event; each line of its data stands in a line of its own, and is joined by a line feed where it is read."""
    lines = "".join(f"data: {line}\n" for line in _BREAK.split(data))
    return f"event: {name}\nid: {number}\n{lines}\n".encode()

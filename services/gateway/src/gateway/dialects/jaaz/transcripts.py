"""What was said and drawn in a session: as clients keep it, and as models are told of it."""

from collections.abc import Iterator, Sequence
from typing import Any

from contracts.talking import Call, Message
from gateway.dialects.endings import delivered
from gateway.dialects.jaaz import easel, translate
from gateway.dialects.jaaz.chats import Turn
from gateway.dialects.jaaz.steps import Round, Step
from gateway.dialects.surface import Surface
from gateway.refusals import Refusal

MAX_TOLD_CHARACTERS = 60_000


def messages_of(turns: Sequence[Turn], surface: Surface) -> list[dict[str, Any]]:
    """As the client keeps them: `{role, content}`, with calls of tools and what came of each."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        messages.append({"role": "user", "content": turn.prompt})
        if turn.rounds:
            messages += [_shown(message) for each in turn.rounds for message in _said_in(surface, each)]
        elif turn.answer is not None:
            messages.append({"role": "assistant", "content": turn.answer, "message_id": str(turn.generation_id)})
    return messages


def told(turns: Sequence[Turn], surface: Surface) -> tuple[Message, ...]:
    """What a model is told of what was said before, the oldest first: whole turns, and not too much. What it drew it
    is told in words: its calls were another message's."""
    messages: list[Message] = []
    left = MAX_TOLD_CHARACTERS
    for turn in reversed(turns):
        said = [message.content for each in turn.rounds for _, message in _said_in(surface, each) if message.content]
        answer = "\n\n".join(said) if turn.rounds else turn.answer
        left -= len(turn.prompt) + len(answer or "")
        if left < 0:
            break
        if answer:
            messages += [Message(role="assistant", content=answer), Message(role="user", content=turn.prompt)]
    return tuple(reversed(messages))


def since(surface: Surface, rounds: Sequence[Round]) -> tuple[Message, ...]:
    """What was said since the prompt, for the next round of words."""
    return tuple(message for each in rounds for _, message in _said_in(surface, each))


def said_of(surface: Surface, step: Step) -> str:
    """What came of a call, for people and for models."""
    if step.refusal is not None:
        return f"Nothing was made: {step.refusal['message']}"
    if step.generation is None or not step.generation.is_final:
        return "It is still being made."
    try:
        asset = delivered(step.generation).assets[0]
    except Refusal as refusal:
        return f"Nothing was made: {refusal.message}"
    address = translate.addressed(surface, easel.path_of(asset.id))
    size = f", {asset.width}x{asset.height}" if asset.width and asset.height else ""
    where = "put on the canvas" if step.is_placed else "kept among the user's files, as the canvas does not take it"
    return f"It was made and {where}: ![{asset.id}]({address}) (image_id {asset.id}{size})"


def _said_in(surface: Surface, each: Round) -> Iterator[tuple[Step, Message]]:
    """The words of a round, and what came of each call; of words without any end nothing."""
    outcome = each.words.generation.outcome if each.words.generation else None
    text = (outcome.data.text if outcome else None) or ""
    calls = tuple(call for index, call in enumerate(each.words.calls) if index in each.drawn)
    if text or calls:
        yield each.words, Message(role="assistant", content=text, calls=calls)
    for index, call in enumerate(each.words.calls):
        if (step := each.drawn.get(index)) is not None:
            yield step, Message(role="tool", content=said_of(surface, step), call_id=call.id)


def _shown(said: tuple[Step, Message]) -> dict[str, Any]:
    step, message = said
    if message.role == "tool":
        return {"role": "tool", "content": message.content, "tool_call_id": message.call_id}
    shown = {"role": "assistant", "content": message.content, "message_id": str(step.id)}
    return shown | ({"tool_calls": [_called(call) for call in message.calls]} if message.calls else {})


def _called(call: Call) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}

"""The conversation on the bus as AsyncAPI 3.0.

One document for the whole system: an operation says in its name which service speaks or listens.
"""

from typing import Any

from pydantic.json_schema import models_json_schema

from contracts.facts import CONTENT_TYPE, FACTS
from contracts.model import Frozen
from contracts.progress import Progress
from contracts.questions import (
    QUESTIONS,
)
from contracts.topology import (
    CHANNELS,
    CLAIMS_BUCKET,
    CLAIMS_MAX_AGE_SECONDS,
    CONSUMERS,
    OUTCOMES,
    STREAMS,
    dead_subject,
    progress_subject,
    verdict_subject,
)
from darkroom.topology.parties import PUBLISHERS, consumers_of, stream_of

_DESCRIPTION = (
    "What Darkroom's services say to each other, and what internal consumers may listen to. Facts are CloudEvents 1.0 "
    "in JSON, kept in JetStream streams; unknown fields are to be ignored. Questions are NATS request/reply."
)
_PARAMETERS = {
    "kind": "What is made: image, video, speech or text.",
    "lane": "Who waits: interactive (a person) or batch.",
    "generation_id": "The generation that it is about.",
    "user_id": "The user that it is about.",
    "status": "How the generation ended.",
    "consumer": "The durable consumer that gave up.",
}
_LETTER = {
    "type": "object",
    "description": "A fact that a consumer could not handle, and why.",
    "properties": {
        "consumer": {"type": "string"},
        "subject": {"type": "string"},
        "reason": {"type": "string"},
        "deliveries": {"type": "integer"},
        "payload": {"type": "string"},
    },
    "required": ["consumer", "subject", "reason", "deliveries", "payload"],
}

Document = dict[str, Any]


def asyncapi() -> Document:
    """The whole document."""
    models: list[type[Frozen]] = [*FACTS, Progress, *(model for pair in QUESTIONS.values() for model in pair)]
    unique = list(dict.fromkeys(models))
    _, definitions = models_json_schema(
        [(model, "validation") for model in unique], ref_template="#/components/schemas/{model}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Darkroom", "version": "1.0.0", "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": {
                **{model.__name__: _message(model) for model in unique},
                "Letter": {"name": "Letter", "payload": {"$ref": "#/components/schemas/Letter"}},
            },
            "schemas": {**definitions["$defs"], "Letter": _LETTER},
        },
        "x-streams": _streams(),
    }


def _channels() -> Document:
    channels = {_channel_name(address): _fact_channel(address, fact) for address, fact in CHANNELS.items()}
    channels["verdict"] = _channel(
        _template(verdict_subject, "generation_id"),
        ["Outcome"],
        f"Where stream {OUTCOMES.name} repeats what it accepted: the first outcome of a generation, and no other.",
    )
    channels["progress"] = _channel(
        _template(progress_subject, "generation_id"), ["Progress"], "How far a generation is. Not kept: some are lost."
    )
    channels["dead"] = _channel(_template(dead_subject, "consumer"), ["Letter"], "What no consumer could handle.")
    channels["dead"]["x-stream"] = "DEAD"
    for subject, (question, answer) in QUESTIONS.items():
        channels[subject] = _channel(subject, [question.__name__], f"Asked of the {subject.partition('.')[0]}.")
        channels[f"{subject}.reply"] = {
            "address": None,
            "description": "The inbox of whoever asked.",
            "messages": _messages([answer.__name__]),
        }
    return channels


def _fact_channel(address: str, fact: type[Frozen]) -> Document:
    channel = _channel(address, [fact.__name__], (fact.__doc__ or "").strip())
    stream = stream_of(address)
    return channel | ({"x-stream": stream} if stream else {})


def _channel(address: str, messages: list[str], description: str) -> Document:
    channel: Document = {"address": address, "description": description}
    parameters = {
        name: {"description": _PARAMETERS[name]} for token in address.split(".") if (name := token.strip("{}")) != token
    }
    if parameters:
        channel["parameters"] = parameters
    return channel | {"messages": _messages(messages)}


def _operations() -> Document:
    operations: Document = {}
    for address, speakers in PUBLISHERS.items():
        for service in speakers:
            operations[f"{service}-says-{_channel_name(address)}"] = _operation("send", _channel_name(address), service)
    for consumer in CONSUMERS:
        for address in CHANNELS:
            if consumer.durable in consumers_of(address):
                name = consumer.durable + ("" if len(consumer.filter_subjects) == 1 else f"-{_channel_name(address)}")
                operations[name] = _operation("receive", _channel_name(address), consumer.service) | {
                    "x-consumer": {
                        "durable": consumer.durable,
                        "stream": consumer.stream,
                        "filterSubjects": list(consumer.filter_subjects),
                        "startsAt": "ten minutes back" if consumer.replay == "recent" else "the beginning",
                        "ackWaitSeconds": consumer.ack_wait_seconds,
                        "maxAckPending": consumer.max_ack_pending,
                        "maxDeliver": consumer.max_deliver,
                    }
                }
    for subject in QUESTIONS:
        service = subject.partition(".")[0]
        operations[f"{subject}-answered"] = _operation("receive", subject, service) | {
            "bindings": {"nats": {"queue": service}},
            "reply": {"channel": {"$ref": f"#/channels/{subject}.reply"}},
        }
    return operations


def _operation(action: str, channel: str, service: str) -> Document:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "tags": [{"name": service}]}


def _streams() -> Document:
    streams: Document = {
        stream.name: {
            "subjects": list(stream.subjects),
            "maxAgeSeconds": stream.max_age_seconds,
            "maxBytes": stream.max_bytes,
            "onePerSubject": stream.unique_per_subject,
            **({"republishedTo": stream.republish_to} if stream.republish_to else {}),
        }
        for stream in STREAMS
    }
    streams[f"OBJ_{CLAIMS_BUCKET}"] = {"objectStore": CLAIMS_BUCKET, "maxAgeSeconds": CLAIMS_MAX_AGE_SECONDS}
    return streams


def _message(model: type[Frozen]) -> Document:
    is_fact = model in FACTS
    return {
        "name": model.__name__,
        "summary": (model.__doc__ or "").strip().splitlines()[0] if model.__doc__ else model.__name__,
        "contentType": CONTENT_TYPE if is_fact else "application/json",
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
    }


def _messages(names: list[str]) -> Document:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _channel_name(address: str) -> str:
    """`generation.requested.{kind}…` is called `generation.requested`."""
    return ".".join(token for token in address.split(".") if not token.startswith("{"))


def _template(subject: Any, parameter: str) -> str:
    """The subject that a function of the contracts makes, with its parameter's name in place."""
    return str(subject("{" + parameter + "}"))

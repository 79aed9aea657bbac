"""What a service says about itself: JSON log lines, spans that follow one generation, metrics.

Spans cost more CPU than the handlers that they measure, so they exist only where a collector is configured; the W3C
trace context travels with every fact either way, and stands on every log line.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from runtime.settings import ProcessSettings

_SECRETS = re.compile(
    r"(\b[sr]k[-_][A-Za-z0-9_-]{8,}|\bdk_[\w-]{43}|\br8_\w{20,}|\bAIza[\w-]{30,}|whsec_[A-Za-z0-9+/=]+"
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=[?&]X-Amz-Signature=)\w+|(?<=[?&]signature=)[\w-]+|(?<=[?&]key=)[\w-]+|(?<=://)[^/@\s:\"]+:[^/@\s\"]+(?=@)|Bearer\s+[^\s\"\\]+)"
)
_MARKS = "k-", "k_", "r8_", "AIza", "eyJ", "ignature=", "key=", "://", "whsec_", "Bearer"  # one is in every secret
_propagator = TraceContextTextMapPropagator()
_tracer: trace.Tracer | None = None


def configure(settings: ProcessSettings, service: str) -> None:
    """Sets up logs, and traces where a collector is named. Called once per process."""
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    written = (structlog.processors.JSONRenderer(), _redact)
    formatter, libraries = structlog.stdlib.ProcessorFormatter, logging.StreamHandler(sys.stderr)
    theirs: list[Any] = [formatter.remove_processors_meta, *written]
    libraries.setFormatter(formatter(foreign_pre_chain=processors, processors=theirs))
    logging.basicConfig(level=settings.log_level, handlers=[libraries], force=True)
    for noisy in ("uvicorn", "faststream", "httpx", "httpx2", "openai", "nats", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*processors, *written],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    if settings.otel_exporter_otlp_endpoint:
        _trace_to(settings.otel_exporter_otlp_endpoint, service)


def new_traceparent() -> str:
    """The trace context of a request that came without one (W3C Trace Context, version 00, sampled)."""
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"


def current_traceparent(otherwise: str | None) -> str | None:
    """The context of the span that is open now; what was given where no span is."""
    if _tracer is None:
        return otherwise
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent", otherwise)


@contextmanager
def span(name: str, traceparent: str | None, **attributes: str | int) -> Iterator[None]:
    """A span below the given context; nothing where traces are off."""
    if _tracer is None:
        yield
        return
    context = _propagator.extract({"traceparent": traceparent}) if traceparent else None
    with _tracer.start_as_current_span(name, context=context, attributes=attributes):
        yield


@contextmanager
def handling(consumer: str, facts: Sequence[Any]) -> Iterator[None]:
    """Marks every log line and span below with the generation that a fact is about."""
    first = facts[0]
    about = first.subject if len(facts) == 1 else [fact.subject for fact in facts]
    attributes = {"messaging.system": "nats", "darkroom.generation": str(first.subject)}
    with (
        structlog.contextvars.bound_contextvars(consumer=consumer, generation_id=about, trace_id=trace_id(first)),
        span(consumer, first.traceparent, **attributes) if _tracer else nullcontext(),
    ):
        yield


def trace_id(fact: Any) -> str | None:
    """The trace id in a fact's trace context."""
    return fact.traceparent.split("-")[1] if fact.traceparent else None


def _redact(_: Any, __: str, line: Any) -> str:
    """Looks at the whole line: whatever a secret stands in is part of it. Most lines have no mark of any."""
    return _SECRETS.sub("[redacted]", line) if any(mark in line for mark in _MARKS) else line


def _trace_to(endpoint: str, service: str) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    global _tracer  # noqa: PLW0603
    provider = TracerProvider(resource=Resource.create({"service.name": f"darkroom-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)
    _tracer = trace.get_tracer("darkroom")

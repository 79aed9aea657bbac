"""The exported documents say what the contracts say, and the topology keeps its own rules (design.md §3.4, §4)."""

import json
from base64 import b64encode
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator

from contracts.facts import (
    FACTS,
    Asset,
    Cached,
    Change,
    Changed,
    Ending,
    Event,
    Failure,
    Funded,
    Grant,
    Granted,
    Kind,
    Lane,
    Notice,
    Notified,
    Outcome,
    Output,
    PaymentReceived,
    Receipt,
    Rendered,
    Rendering,
    Request,
    Requested,
    Reuse,
    Verdict,
    Visibility,
)
from contracts.ids import asset_id, event_id
from contracts.judging import Category, JudgedFrames, JudgeFrames, Judgement, Moderate, Moderated
from contracts.keeping import (
    ChangedAssets,
    Delete,
    FindMedia,
    Forget,
    FoundMedia,
    Keep,
    Lend,
    Lent,
    MediaName,
    NamedMedia,
    OfferedUpload,
    OfferUpload,
    ReuseAssets,
    Show,
    Stored,
    StoredBy,
    TakenUpload,
    TakeUpload,
)
from contracts.model import Frozen
from contracts.money import (
    Balance,
    Price,
    PriceList,
    Quote,
)
from contracts.payments import (
    BegunPayment,
    ConfirmedPayment,
    ConfirmPayment,
    CreatedPayment,
    CreatePayment,
    CreditPack,
    CreditPacks,
    PaymentEvent,
    PaymentEventVerdict,
)
from contracts.progress import Progress
from contracts.questions import (
    QUESTIONS,
    Affordability,
    Affordable,
    BalanceOf,
    Catalog,
    CatalogModel,
    ConsumeCredits,
    Consumption,
    GrantCredits,
    Keys,
    KeySet,
    KeysOf,
    ListedModel,
    Models,
    Nothing,
    Plan,
    PlanSet,
    PlansOf,
    PricesSet,
    Recorded,
    RecordedOutcome,
    RecordedOutcomes,
    SetKey,
    SetPlan,
    SetPrices,
    SwitchedModel,
    SwitchModel,
    UserPlan,
    UserPlans,
)
from contracts.statement import Statement, StatementEntry, StatementOf
from contracts.tasks import FreshAddress, FreshAddressOf, LookAtTask, LookedAtTask, TakenResult, TakeResult
from contracts.topology import (
    CHANNELS,
    CONSUMERS,
    HINTS,
    OUTCOMES,
    STREAMS,
    dead_subject,
    funded_subject,
    notification_subject,
    outcome_subject,
    progress_subject,
    rendered_subject,
    requested_subject,
    verdict_subject,
)
from contracts.usage import (
    UsageEntry,
    UsageOf,
    UsageReport,
    UsageTotal,
)
from contracts.voices import ClonedVoice, CloneVoice, ForgetVoice, ForgottenVoice, ForgottenVoices
from contracts.watching import BookFigures, Course, CourseOf, FiguresOf, Moment, WorkFigures
from darkroom.schemas.documents import (
    SCHEMAS_FOLDER,
    contract_documents,
    json_schemas,
    openapi_documents,
    repository,
)
from darkroom.topology.parties import PUBLISHERS, as_pattern, consumers_of, covers, overlap, stream_of

GENERATION = UUID("01920000-0000-7000-8000-000000000001")
USER = UUID("00000000-0000-4000-8000-00000000d0d0")
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
REQUEST = Request(
    generation_id=GENERATION,
    user_id=USER,
    kind=Kind.IMAGE,
    lane=Lane.BATCH,
    model="a-model",
    prompt="Ein Bär – 熊 🐻",
    count=2,
    size="512x512",
    options={"seed": 7, "nested": {"watermark": False}},
    reuse=Reuse(seconds=86_400, percent=50),
    payer_id=UUID("00000000-0000-4000-8000-00000000000a"),
    quote=Quote(amount=20_000, unit_price=10_000, price_version=3),
    deadline_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
)
ASSET = Asset(
    id=asset_id(GENERATION, 0),
    index=0,
    key="token/original.png",
    mime_type="image/png",
    size_bytes=1,
    sha256="0" * 64,
    width=1,
    height=1,
    variants={"thumbnail": "token/thumbnail.webp"},
)
FAILURE = Failure(code="blocked", message="No.", stage="prompt")
CACHED = Cached(generation_id=USER, percent=50)
RENDERING = Rendering(
    request=REQUEST,
    provider="simulator",
    outputs=(Output(index=0, url="https://provider/1"), Output(index=1, failure=FAILURE)),
    cached=CACHED,
)
ENDING = Ending(
    generation_id=GENERATION, verdict=Verdict.COMPLETED, assets=(ASSET,), provider="simulator", cached=CACHED
)
OUTCOME = Outcome.of(ENDING, "storage", TRACE)
SAMPLES: tuple[Event, ...] = (
    Requested.of(REQUEST, "gateway", TRACE),
    Funded.of(REQUEST, "ledger", TRACE),
    Rendered.of(RENDERING, "generator", TRACE),
    OUTCOME,
    Outcome.of(Ending(generation_id=GENERATION, verdict=Verdict.FAILED, failure=FAILURE), "gateway", None),
    Granted(
        id=event_id("granted", "ledger", GENERATION),
        source="ledger",
        subject=str(USER),
        time=datetime(2026, 11, 21, tzinfo=UTC),
        data=Grant(user_id=USER, amount=5, reason="granted"),
    ),
    PaymentReceived.of(
        Receipt(payment_id=GENERATION, user_id=USER, amount=5, price=1000, currency="usd", payment_intent="pi_1"),
        "ledger",
    ),
    Changed(
        id=event_id("changed", "ledger", GENERATION),
        source="ledger",
        subject=str(USER),
        time=datetime(2026, 11, 21, tzinfo=UTC),
        data=Change(user_id=USER, available=5, held=0, used=0, change=-5),
    ),
    Notified.of(
        Notice(generation_id=GENERATION, user_id=USER, status=Verdict.COMPLETED, dialect="native", shown="{}"),
        "gateway",
        TRACE,
    ),
)
BROKEN = Category(name="violence", is_broken=True, score=0.9)
LISTED = ListedModel(
    model=CatalogModel(id="a-model", kind=Kind.IMAGE, provider="simulator"), provider_model="theirs", has_key=True
)
ANSWERS: dict[type[Frozen], Frozen] = {
    type(sample): sample
    for sample in (
        Affordable(user_id=USER, amount=1),
        Affordability(affordable=False, available=0),
        BalanceOf(user_id=USER),
        Balance(available=1, held=2, used=3),
        GrantCredits(grant_id=GENERATION, user_id=USER, amount=1),
        ConsumeCredits(consumption_id=GENERATION, user_id=USER, amount=1),
        Consumption(state="consumed", required=1, available=2),
        SetPlan(user_id=USER, plan="basic"),
        PlanSet(plan=Plan(name="basic", monthly_grant=1)),
        SetPrices(prices=(Price(model="dall-e-2", amount=1),)),
        PricesSet(version=2),
        UsageOf(user_id=USER, since=date(2026, 11, 1), until=date(2026, 11, 30)),
        UsageReport(
            entries=(UsageEntry(at=datetime(2026, 11, 21, tzinfo=UTC), state="consumed", used=1),),
            totals=(UsageTotal(day=date(2026, 11, 21), kind=Kind.IMAGE, model="dall-e-2", number=1, used=1),),
            total=1,
        ),
        StatementOf(user_id=USER, limit=1),
        Statement(
            entries=(StatementEntry(at=datetime(2026, 11, 21, tzinfo=UTC), entry="grant", granted=1),),
            cursor="next",
        ),
        CreditPacks(packs=(CreditPack(id="small", credits=1, price=2, currency="usd"),), publishable_key="pk_test_1"),
        CreatePayment(payment_id=GENERATION, user_id=USER, pack="small", price=2, currency="usd"),
        CreatedPayment(
            payment=BegunPayment(
                payment_id=GENERATION,
                payment_intent="pi_1",
                client_secret="pi_1_secret_1",
                publishable_key="pk_test_1",
                pack="small",
                credits=1,
                price=2,
                currency="usd",
                status="requires_payment_method",
            )
        ),
        ConfirmPayment(user_id=USER, reference="pi_1"),
        ConfirmedPayment(state="credited", credits=1, balance=Balance(available=1, held=2, used=3, debt=4)),
        PaymentEvent(body=b64encode(b'{"id": "evt_1"}'), signature="t=1,v1=ab"),
        PaymentEventVerdict(verdict="accepted", reason="paid"),
        Nothing(),
        PriceList(version=1, prices={"a-model": 10_000}),
        PlansOf(user_ids=(USER,)),
        UserPlans(plans=(UserPlan(user_id=USER, name="free"),)),
        KeysOf(user_id=USER),
        SetKey(user_id=USER, provider="openai", key="sk-secret-1234"),
        Keys(keys=(KeySet(provider="openai", last4="1234", set_at=datetime(2026, 11, 21, tzinfo=UTC)),)),
        Catalog(version=1, models=(CatalogModel(id="a-model", kind=Kind.IMAGE, provider="simulator"),)),
        Models(version=1, models=(LISTED,)),
        SwitchModel(id="a-model", on=False),
        SwitchedModel(model=LISTED),
        TakeResult(generation_id=GENERATION, url="https://renderer/1.mp4"),
        TakenResult(state="taken"),
        LookAtTask(generation_id=GENERATION, names=("operations/1", "scene-1")),
        LookedAtTask(is_known=True),
        CloneVoice(voice_id=GENERATION, user_id=GENERATION, sample_id=GENERATION),
        ClonedVoice(provider="elevenlabs", name="JBFqnCBsd6RMkjVDRZzb"),
        ForgetVoice(user_id=GENERATION, name="JBFqnCBsd6RMkjVDRZzb"),
        ForgottenVoice(is_gone=True),
        ForgottenVoices(voices=2),
        Moderate(texts=("a lighthouse",)),
        Moderated(judgements=(Judgement(flagged=True, by="openai", categories=(BROKEN,)),)),
        JudgeFrames(frames=("/9j/",)),
        JudgedFrames(failure=Failure(code="content_policy", message="This film is not allowed here.", stage="film")),
        FreshAddressOf(generation_id=GENERATION, index=0),
        FreshAddress(url="https://provider/1?signed=anew"),
        TakeUpload(upload_id=GENERATION, user_id=USER, claim="uploads/1"),
        TakenUpload(failure=FAILURE),
        OfferUpload(upload_id=GENERATION, user_id=USER, mime_type="image/png", size_bytes=1),
        OfferedUpload(url="https://bucket", expires_at=datetime(2026, 11, 21, tzinfo=UTC)),
        StoredBy(user_id=USER),
        Stored(assets=1, used_bytes=2, quota_bytes=3, retention_days=4),
        Keep(user_id=USER, quota_bytes=1, retention_days=30),
        Delete(user_id=USER, generation_id=GENERATION),
        Show(user_id=USER, generation_id=GENERATION, visibility=Visibility.OWNER),
        Forget(user_id=USER),
        FindMedia(user_id=USER, names=(MediaName(key="0f/poster.webp"),)),
        FoundMedia(media=(NamedMedia(asset_id=USER, variant="poster", mime_type="image/webp", size_bytes=1), None)),
        Lend(user_id=USER, asset_id=USER, variant="poster", max_bytes=1),
        Lent(claim="lent/1", mime_type="image/webp"),
        ReuseAssets(user_id=USER, generation_id=GENERATION, earlier_id=USER, count=1),
        ChangedAssets(assets=1),
        CourseOf(generation_id=GENERATION),
        Course(moments=(Moment(step="held", at=datetime(2026, 11, 21, tzinfo=UTC), state="open", units=1),)),
        FiguresOf(minutes=60),
        BookFigures(open_holds=1, open_units=2, captured=3, captures=4),
        WorkFigures(open_work=1),
        RecordedOutcomes(generation_ids=(GENERATION,)),
        Recorded(outcomes=(RecordedOutcome(generation_id=GENERATION, state="recorded", outcome=OUTCOME),)),
    )
}


SCHEMAS = json_schemas()


# -- documents ----------------------------------------------------------------------------------------------------


def test_the_exported_documents_are_those_of_today() -> None:
    root = repository()
    documents = contract_documents() | openapi_documents()
    stale = [
        name
        for name, text in documents.items()
        if not (root / name).exists() or (root / name).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run `make schemas`"
    exported = {str(path.relative_to(root)) for path in (root / SCHEMAS_FOLDER).glob("*.json")}
    assert exported <= documents.keys(), "documents of something that is gone"


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_document_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


def test_every_fact_has_a_sample() -> None:
    assert {type(sample) for sample in SAMPLES} == set(FACTS)
    assert {model for pair in QUESTIONS.values() for model in pair} == ANSWERS.keys()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_sample_is_what_its_schema_says(sample: Event) -> None:
    document = json.loads(sample.encode())
    schema = SCHEMAS[type(sample).__name__.lower()]
    Draft202012Validator(schema).validate(document)
    del document["data"]
    assert list(Draft202012Validator(schema).iter_errors(document)), "the schema would accept anything"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_every_reader_understands_every_writer_of_tomorrow(sample: Event) -> None:
    """P23: a newer writer adds fields, on the envelope and inside; an older reader passes over them."""
    assert type(sample).decode(sample.encode()) == sample
    document = json.loads(sample.encode())
    _add_unknown_fields(document)
    Draft202012Validator(SCHEMAS[type(sample).__name__.lower()]).validate(document)
    assert type(sample).decode(json.dumps(document).encode()) == sample


@pytest.mark.parametrize("subject", sorted(QUESTIONS))
def test_questions_and_answers_are_what_their_schemas_say(subject: str) -> None:
    for model, part in zip(QUESTIONS[subject], ("question", "answer"), strict=True):
        document = json.loads(ANSWERS[model].model_dump_json(exclude_none=True))
        Draft202012Validator(SCHEMAS[f"{subject}.{part}"]).validate(document)
        _add_unknown_fields(document)
        assert model.model_validate(document) == ANSWERS[model]


def test_progress_is_what_its_schema_says() -> None:
    progress = Progress(generation_id=GENERATION, number=1, stage="rendering", percent=100)
    validator = Draft202012Validator(SCHEMAS["progress"])
    validator.validate(json.loads(progress.model_dump_json()))
    assert not validator.is_valid(json.loads(progress.model_dump_json()) | {"percent": 101})


def _add_unknown_fields(document: Any) -> None:
    if isinstance(document, dict):
        for key, value in document.items():
            if key not in {"options", "variants", "prices", "fields"}:  # whose keys are data
                _add_unknown_fields(value)
        if not {"seed", "thumbnail", "a-model", "watermark"} & document.keys():
            document["of_tomorrow"] = {"much": ["more"]}
    elif isinstance(document, list):
        for item in document:
            _add_unknown_fields(item)


# -- topology -----------------------------------------------------------------------------------------------------


def test_the_log_keeps_the_first_outcome_of_a_generation_and_forgets_none_for_want_of_room() -> None:
    """design.md §3.4, each setting by itself: without any of them the log would not decide."""
    config = OUTCOMES.config()
    assert config["max_msgs_per_subject"] == 1
    assert config["discard"] == "new"
    assert config["discard_new_per_subject"] is True
    assert config["max_bytes"] == -1
    assert config["max_msgs"] == -1
    assert config["republish"] == {"src": "generation.outcome.*", "dest": "verdict.{{wildcard(1)}}"}
    assert outcome_subject(GENERATION) == f"generation.outcome.{GENERATION}"
    assert verdict_subject(GENERATION) == f"verdict.{GENERATION}"


def test_no_two_streams_keep_the_same_subject() -> None:
    subjects = [(stream.name, subject) for stream in STREAMS for subject in stream.subjects]
    clashes = [
        (ours, theirs)
        for index, (ours, first) in enumerate(subjects)
        for theirs, second in subjects[index + 1 :]
        if overlap(first, second)
    ]
    assert clashes == []


def test_what_is_not_kept_is_in_no_stream() -> None:
    for subject in (progress_subject(GENERATION), HINTS, verdict_subject(GENERATION), *QUESTIONS):
        assert stream_of(subject) is None


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda consumer: consumer.durable)
def test_a_consumer_hears_of_its_own_stream_only(consumer: Any) -> None:
    stream = next(stream for stream in STREAMS if stream.name == consumer.stream)
    for subject in consumer.filter_subjects:
        assert any(overlap(pattern, subject) for pattern in stream.subjects)
        others = [other for other in STREAMS if other is not stream]
        assert not any(overlap(pattern, subject) for other in others for pattern in other.subjects)
    assert consumer.durable.startswith(f"{consumer.service}-")
    assert consumer.replay == ("all" if stream is OUTCOMES else "recent"), "design.md §4"


def test_no_fact_reaches_one_service_twice() -> None:
    for index, ours in enumerate(CONSUMERS):
        for theirs in CONSUMERS[index + 1 :]:
            if (ours.service, ours.stream) == (theirs.service, theirs.stream):
                assert not any(
                    overlap(first, second) for first in ours.filter_subjects for second in theirs.filter_subjects
                ), (ours.durable, theirs.durable)


def test_every_fact_is_kept_and_every_service_hears_every_outcome() -> None:
    assert PUBLISHERS.keys() == CHANNELS.keys()
    assert all(stream_of(channel) is not None for channel in CHANNELS)
    heard = {consumer.service for consumer in CONSUMERS if consumer.stream == OUTCOMES.name}
    assert heard == {"ledger", "gateway", "generator", "storage"}, "design.md §3.3: every service closes the id"


def test_subjects_are_those_of_the_channels() -> None:
    said = {
        requested_subject(REQUEST): "generation.requested.{kind}.{lane}.{generation_id}",
        funded_subject(REQUEST): "generation.funded.{kind}.{lane}.{generation_id}",
        rendered_subject(REQUEST): "generation.rendered.{kind}.{lane}.{generation_id}",
        outcome_subject(GENERATION): "generation.outcome.{generation_id}",
        notification_subject(USER, "completed"): "notification.{user_id}.{status}",
    }
    for subject, channel in said.items():
        assert channel in CHANNELS
        assert covers(as_pattern(channel), subject)
        assert consumers_of(channel) or channel.startswith("notification")
    assert stream_of(dead_subject("ledger-hold-requested")) == "DEAD"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a.*.c", "a.b.*", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.*", "a.b.c", False),
        ("a.b", "a.c", False),
        ("*.b", "a.>", True),
    ],
)
def test_patterns_overlap_as_on_the_server(first: str, second: str, expected: bool) -> None:
    assert overlap(first, second) is expected
    assert overlap(second, first) is expected

"""One sample of every fact, and of every question and answer."""

from base64 import b64encode
from datetime import UTC, date, datetime
from uuid import UUID

from contracts.facts import (
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
from contracts.money import Balance, Price, PriceList, Quote
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
from contracts.questions import (
    Affordability,
    Affordable,
    BalanceOf,
    Catalog,
    CatalogModel,
    ConsumeCredits,
    Consumption,
    CreditsGranted,
    FinishedText,
    FinishText,
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
from contracts.usage import UsageEntry, UsageOf, UsageReport, UsageTotal
from contracts.voices import ClonedVoice, CloneVoice, ForgetVoice, ForgottenVoice, ForgottenVoices
from contracts.watching import BookFigures, Course, CourseOf, FiguresOf, Moment, WorkFigures

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
        CreditsGranted(available=1, held=2, used=3),
        FinishText(generation_id=GENERATION),
        FinishedText(is_finished=True),
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

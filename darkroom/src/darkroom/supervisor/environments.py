"""What each process of a local stack is told. Pure: from the plan and the operator's own environment.

The operator's variables win, except for where the supervisor's own servers are. A variable reaches only
the service that it is meant for: no key of a provider enters the gateway.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from darkroom.embedded.ports import LOOPBACK
from darkroom.stack import SERVICES

PROVIDER_KEYS = (
    "ARK_API_KEY",
    "OPENAI_API_KEY",
    "STABILITY_API_KEY",
    "FAL_KEY",
    "ELEVENLABS_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "RUNWAYML_API_SECRET",
    "REPLICATE_API_TOKEN",
    "FLOW_API_KEY",
    "ANTHROPIC_API_KEY",
)
SIMULATED = {
    "ARK_BASE_URL": "/ark/api/v3",
    "OPENAI_BASE_URL": "/openai/v1",
    "STABILITY_BASE_URL": "/stability",
    "FAL_BASE_URL": "/fal",
    "ELEVENLABS_BASE_URL": "/elevenlabs",
    "GEMINI_BASE_URL": "/google",
    "RUNWAYML_BASE_URL": "/runway",
    "REPLICATE_BASE_URL": "/replicate",
    "FLOW_BASE_URL": "/flow",
    "ANTHROPIC_BASE_URL": "/anthropic",
}
"""Where the simulator plays each of them."""
SIMULATOR_KEY = "sk-sim"
SIMULATOR_STRIPE_KEYS = {"STRIPE_SECRET_KEY": "sk_test_simulator", "STRIPE_PUBLISHABLE_KEY": "pk_test_simulator"}
_ONLY_FOR = {
    "ARK_": {"generator"},
    "OPENAI_": {"generator"},
    "STABILITY_": {"generator"},
    "FAL_": {"generator"},
    "ELEVENLABS_": {"generator"},
    "ANTHROPIC_": {"generator"},
    "GOOGLE_": {"generator"},
    "GEMINI_": {"generator"},
    "RUNWAY": {"generator"},
    "WEBHOOK_": {"gateway"},
    "JWT_": {"gateway"},
    "SESSION_": {"gateway"},
    "REPLICATE_": {"generator"},
    "FLOW_": {"generator"},
    "S3_": {"storage"},
    "AWS_": {"storage"},
    "MEDIA_ROOT": {"storage"},
    "MEDIA_STORAGE_": {"storage"},
    "MEDIA_FORMER_": {"storage"},
    "GCS_": {"storage"},
    "CLAMD_": {"storage"},
    "CLOUDFRONT_": {"gateway"},
    "MEDIA_": {"gateway", "storage"},
    "SUPABASE_URL": {"gateway", "storage"},
    "SUPABASE_SERVICE_ROLE_KEY": {"storage"},
    "SUPABASE_ANON_KEY": {"storage"},
    "SUPABASE_S3_": {"storage"},
    "SUPABASE_REGION": {"storage"},
    "SUPABASE_": {"gateway"},
    "STRIPE_": {"ledger"},
    "DEFAULT_USER_CREDITS": {"ledger"},
    **{f"{service.upper()}_": {service} for service in SERVICES},
}
"""The first prefix that fits decides; a variable that none fits reaches everybody."""
_NOBODY = ("DATABASE_URL", "SUPABASE_DB_URL", "NATS_URL", "NATS_USER", "NATS_PASSWORD", "PYTHONDONTWRITEBYTECODE")

Environment = dict[str, str]


@dataclass(frozen=True, slots=True)
class S3Access:
    """An S3 server and who we are there."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the supervisor has decided on."""

    data: Path
    ports: Mapping[str, int]
    nats_passwords: Mapping[str, str]
    """By user; each process is told its own."""
    database_urls: Mapping[str, str]
    jwt_secret: str
    webhook_signing_key: str
    media_signing_key: str
    simulator: bool
    s3: S3Access | None = None
    session_secret: str = ""
    own_jwt_secret: str = ""
    """JWT_SECRET, which is never the same as `jwt_secret`."""
    frontends: tuple[str, ...] = ()
    """The dialects that find the gateway at ports of their own: those that their frontends have written down."""

    def url(self, name: str) -> str:
        return f"http://{LOOPBACK}:{self.ports[name]}"

    @property
    def operator_nats_url(self) -> str:
        """For people and their programs: whoever has it can do everything."""
        return f"nats://operator:{self.nats_passwords['operator']}@{LOOPBACK}:{self.ports['nats']}"


def needs_simulator(operator: Mapping[str, str]) -> bool:
    """Without a key of any provider there is nobody else to draw."""
    return not any(operator.get(key) for key in PROVIDER_KEYS)


def service_environment(service: str, plan: Plan, operator: Mapping[str, str]) -> Environment:
    """The whole environment of one service."""
    given = {name: value for name, value in operator.items() if _concerns(name, service)}
    return _defaults(service, plan, given) | given | _fixed(service, plan, given)


def nats_environment(user: str, plan: Plan) -> Environment:
    """Where NATS is, and who this process is there."""
    return {
        "NATS_URL": f"nats://{LOOPBACK}:{plan.ports['nats']}",
        "NATS_USER": user,
        "NATS_PASSWORD": plan.nats_passwords[user],
    }


def helper_environment(operator: Mapping[str, str], **extra: str) -> Environment:
    """The whole environment of a process that is no service: nobody's keys, and `extra`."""
    return {name: value for name, value in operator.items() if _concerns(name, None)} | extra


def _concerns(name: str, service: str | None) -> bool:
    if name in _NOBODY:
        return False
    for prefix, services in _ONLY_FOR.items():
        if name.startswith(prefix):
            return service in services
    return True


def _defaults(service: str, plan: Plan, given: Mapping[str, str]) -> Environment:
    """What the operator may decide otherwise."""
    defaults = {f"{service.upper()}_HOST": LOOPBACK}
    if service in {"gateway", "storage"} and not given.get("MEDIA_SIGNING_KEY"):
        # Only what is its owner's alone needs a signature, unless the operator sets a key and says more.
        defaults |= {"MEDIA_SIGNING_KEY": plan.media_signing_key, "MEDIA_ADDRESSES": "public"}
    match service:
        case "gateway":
            is_loopback = _is_loopback(given.get("GATEWAY_HOST", LOOPBACK))
            defaults |= {
                "JWT_SECRET": plan.own_jwt_secret,
                "SESSION_SECRET": plan.session_secret,
                "GATEWAY_LOCAL_USERS": str(is_loopback).lower(),
                "SUPABASE_JWT_SECRET": plan.jwt_secret,
                "WEBHOOK_SIGNING_KEY": plan.webhook_signing_key,
                "PUBLIC_URL": plan.url("gateway"),
                "PUBLIC_MEDIA_URL": plan.url("storage"),
                "GATEWAY_LOCAL_MODE": str(is_loopback).lower(),
            }
        case "storage":
            defaults |= {"MEDIA_STORAGE_BACKEND": "local", "MEDIA_ROOT": str(plan.data / "media")}
        case "generator" if plan.simulator:
            # The operator has no key of OpenAI: what its imitation thinks of every prompt is nobody's judgement.
            defaults |= {"MODERATION_BY_PROVIDER": "off"}
    return defaults


def _fixed(service: str, plan: Plan, given: Mapping[str, str]) -> Environment:
    """Where the supervisor's own parts are: what the operator's shell says is about others."""
    prefix = service.upper()
    fixed = {
        **nats_environment(service, plan),
        f"{prefix}_DATABASE_URL": plan.database_urls[service],
        f"{prefix}_PORT": str(plan.ports[service]),
    }
    if service == "gateway" and plan.frontends:
        fixed["GATEWAY_FRONTENDS"] = ",".join(f"{dialect}={plan.ports[dialect]}" for dialect in plan.frontends)
    if service == "gateway" and plan.s3 is not None:
        fixed |= {"MEDIA_STORAGE_BACKEND": "s3"}
    if service == "storage" and plan.s3 is not None:
        fixed |= {
            "MEDIA_STORAGE_BACKEND": "s3",
            "S3_ENDPOINT": plan.s3.endpoint,
            "AWS_S3_BUCKET": plan.s3.bucket,
            "AWS_ACCESS_KEY_ID": plan.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": plan.s3.secret_key,
        }
    if plan.simulator and service == "generator":
        fixed |= {
            **dict.fromkeys(PROVIDER_KEYS, SIMULATOR_KEY),
            **{name: plan.url("simulator") + path for name, path in SIMULATED.items()},
        }
    if plan.simulator and service == "ledger" and not given.get("STRIPE_SECRET_KEY"):
        # Where nothing is real, nothing real is paid; a real key never goes to the simulator.
        fixed |= {**SIMULATOR_STRIPE_KEYS, "STRIPE_BASE_URL": f"{plan.url('simulator')}/stripe"}
    if plan.simulator and service in {"generator", "storage"}:
        # The one private address that they may call: the pictures come from there.
        simulator = f"{LOOPBACK}:{plan.ports['simulator']}"
        own = given.get("OUTBOUND_ALLOW")
        fixed["OUTBOUND_ALLOW"] = f"{own},{simulator}" if own else simulator
    return fixed


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

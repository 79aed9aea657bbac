"""OpenAI's error codes."""

from generator.providers.interface import ProviderRefusal, QuotaExhausted, Rejected

_BLOCKED = frozenset({"moderation_blocked", "content_policy_violation", "content_filter"})
_USED_UP = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


def meaning(status: int, code: str, kind: str) -> type[ProviderRefusal] | None:
    if code in _BLOCKED:
        return Rejected
    if code in _USED_UP or kind == "insufficient_quota":
        return QuotaExhausted
    return None

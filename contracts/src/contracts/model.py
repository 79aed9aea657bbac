"""What every message has in common: it cannot be changed, and it survives fields it does not know."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A message or a part of one."""

    # Values are ids and addresses, never seen twice: pydantic would keep 16,384 of them in each process, in vain.
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=(), cache_strings="keys")

"""What every message has in common: it cannot be changed, and it survives fields it does not know."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A message or a part of one."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

"""What a frontend sends of a field that says nothing: a form's that was left empty, or what its script has not set."""

from typing import Any

from pydantic import BaseModel, BeforeValidator, model_validator
from pydantic_core import PydanticUseDefault


def is_unsaid(value: Any) -> bool:
    return value is None or value == ""


def _or_default(value: Any) -> Any:
    if is_unsaid(value):
        raise PydanticUseDefault
    return value


OR_DEFAULT = BeforeValidator(_or_default)
"""Of one field that has a default: nothing means that."""


class Form(BaseModel):
    """A body or a query whose fields that say nothing are as good as left out."""

    @model_validator(mode="before")
    @classmethod
    def _what_is_said(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if not is_unsaid(value)}

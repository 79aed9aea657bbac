"""Prompt templates: ours and those that users made public, and one's own. Every statement names who asks."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from gateway.identity import Caller
from gateway.refusals import NotFound, QuotaExceeded
from runtime.database import Database, Row

MAX_TEMPLATES = 200
"""Of one user."""
CUSTOM = "custom_text"
"""The variable that takes the user's own words."""
_VARIABLE = re.compile(r"\{\{\s*(\w{1,60})\s*\}\}")

_COLUMNS = """id, user_id, name, description, category, template, variables, is_public, usage_count, created_at,
    updated_at"""
_SEEN = "(is_public OR user_id = :user_id)"
_PAGE = text(f"""
    SELECT {_COLUMNS} FROM prompt_templates
    WHERE {_SEEN} AND (CAST(:category AS text) IS NULL OR category = :category)
    ORDER BY created_at DESC, id DESC LIMIT :limit OFFSET :offset
""")  # noqa: S608 - put together from constants
_INSERT = text(f"""
    INSERT INTO prompt_templates (user_id, name, description, category, template, variables, is_public)
    SELECT :user_id, :name, :description, :category, :template, CAST(:variables AS text[]), :is_public
    WHERE (SELECT count(*) FROM prompt_templates WHERE user_id = :user_id) < :most
    RETURNING {_COLUMNS}
""")  # noqa: S608
# Counted where it is read: of two at once both count.
_USE = text(f"""
    UPDATE prompt_templates SET usage_count = usage_count + 1 WHERE id = :id AND {_SEEN} RETURNING {_COLUMNS}
""")  # noqa: S608


class Templates:
    """The templates and what they need."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seen_by(self, caller: Caller, category: str | None, limit: int, offset: int) -> Sequence[Row]:
        """The newest first."""
        values = {"user_id": caller.user_id, "category": category, "limit": limit, "offset": offset}
        async with self._database.statement() as connection:
            return (await connection.execute(_PAGE, values)).all()

    async def create(self, caller: Caller, values: dict[str, Any]) -> Row:
        """Raises QuotaExceeded."""
        bound = {**values, "variables": variables_of(values["template"]), "user_id": caller.user_id}
        async with self._database.statement() as connection:
            row = (await connection.execute(_INSERT, bound | {"most": MAX_TEMPLATES})).one_or_none()
        if row is None:
            raise QuotaExceeded(f"You have {MAX_TEMPLATES} templates.")
        return row

    async def use(self, caller: Caller, template_id: UUID) -> Row:
        """The template, with this use counted. Raises NotFound, for somebody else's own, too."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_USE, {"id": template_id, "user_id": caller.user_id})).one_or_none()
        if row is None:
            raise NotFound("There is no such template.")
        return row


def variables_of(template: str) -> list[str]:
    """The names in double braces, each once, in their order."""
    return list(dict.fromkeys(_VARIABLE.findall(template)))


def filled(template: str, custom_text: str, values: Mapping[str, str]) -> tuple[str, list[str]]:
    """The script, and the variables for which nothing was given: they stay as they are.

    The user's own words stand where the template has them, else at its end. What they say is never filled in again.
    """
    given = {**values, CUSTOM: custom_text}
    missing: list[str] = []

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in given:
            missing.append(name)
            return match[0]
        return given[name]

    script = _VARIABLE.sub(value, template)
    if custom_text and CUSTOM not in variables_of(template):
        script = f"{script} {custom_text}"
    return re.sub(r"[ \t]{2,}", " ", script).strip(), list(dict.fromkeys(missing))

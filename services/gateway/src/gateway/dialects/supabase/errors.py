"""PostgREST's errors: `{code, message, details, hint}`, all strings or null."""

from fastapi.responses import JSONResponse

from gateway.refusals import Refusal

_CODES = {401: "PGRST301", 404: "PGRST125", 405: "PGRST117", 503: "PGRST002"}
_STATUS_OF_CLASS = {"22": 400, "23": 409, "21": 400, "0A": 400}
_STATUS = {"42501": 403, "42P01": 404, "57014": 504, "P0001": 400, "55000": 405}
_RAISED = "PT"
"""A function of the database that raises `PT409` means that HTTP status."""


class RestError(Refusal):
    """What PostgREST would refuse, in its words."""

    title = "The query is refused"

    def __init__(self, status: int, code: str, message: str, details: str | None = None, hint: str | None = None):
        super().__init__(message)
        self.status, self.code = status, code
        self.said = {"details": details, "hint": hint}


def render(refusal: Refusal) -> JSONResponse:
    said = refusal.said if isinstance(refusal, RestError) else {"details": None, "hint": None}
    code = refusal.code if isinstance(refusal, RestError) else _CODES.get(refusal.status, refusal.code)
    return JSONResponse({"code": code, "message": refusal.message, **said}, refusal.status, refusal.headers)


def of_database(state: str, message: str, *, anonymous: bool) -> RestError | None:
    """What the database refused, by its SQLSTATE; None for what is no fault of the request."""
    if state == "42501" and anonymous:
        return RestError(401, state, message)
    status = _STATUS.get(state) or _STATUS_OF_CLASS.get(state[:2])
    if status is None and state.startswith(_RAISED) and state[2:].isdigit():
        status = int(state[2:])
    return RestError(status, state, message) if status else None


def unknown_schema(name: str, known: list[str]) -> RestError:
    exposed = f"Only the following schemas are exposed: {', '.join(known)}"
    return RestError(406, "PGRST106", f"Invalid schema: {name}", hint=exposed)


def unknown_table(schema: str, name: str) -> RestError:
    return RestError(404, "PGRST205", f"Could not find the table '{schema}.{name}' in the schema cache")


def unknown_column(relation: str, name: str) -> RestError:
    return RestError(400, "42703", f"column {relation}.{name} does not exist")


def unknown_relationship(relation: str, name: str) -> RestError:
    message = f"Could not find a relationship between '{relation}' and '{name}' in the schema cache"
    return RestError(400, "PGRST200", message)


def not_parsed(parameter: str, text: str) -> RestError:
    return RestError(
        400, "PGRST100", f'failed to parse {parameter} ("{text[:80]}")', "It is no query that is served here."
    )


def not_one(rows: int) -> RestError:
    details = f"The result contains {rows} rows"
    return RestError(406, "PGRST116", "Cannot coerce the result to a single JSON object", details)


def without_filter() -> RestError:
    return RestError(400, "21000", "DELETE requires a WHERE clause")

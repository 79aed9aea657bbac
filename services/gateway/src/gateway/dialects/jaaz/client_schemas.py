"""The bodies of the routes that the real client calls, in its names. Fields that it does not know are ignored."""

from typing import Any

from pydantic import BaseModel, Field, StrictInt

from gateway.dialects.jaaz.schemas import MAX_NAME_CHARACTERS, Document, JaazError

MAX_MESSAGES = 1000
MAX_TOOLS = 200


class ClientError(JaazError):
    """`details` is a text for people, `code` a word."""

    code: str  # type: ignore[assignment]
    details: str  # type: ignore[assignment]


class ClientChat(BaseModel):
    """`messages` is the whole conversation, the newest last; `text_model` a name or an object with `model`."""

    messages: list[Document] = Field(default=[], max_length=MAX_MESSAGES)
    session_id: str | None = None
    canvas_id: str | None = None
    text_model: Document | str | None = None
    system_prompt: str | None = None
    tool_list: list[Any] | None = Field(default=None, max_length=MAX_TOOLS)


class ClientCanvas(ClientChat):
    name: str = Field(default="Untitled", max_length=MAX_NAME_CHARACTERS)


class CanvasData(BaseModel):
    data: Document
    thumbnail: str | None = None
    version: StrictInt | None = Field(default=None, ge=1)


class CanvasName(BaseModel):
    name: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS)


class Confirmation(BaseModel):
    session_id: str
    tool_call_id: str
    confirmed: bool


class Status(BaseModel):
    status: str
    message: str = ""


class Exists(BaseModel):
    exists: bool


class CanvasId(BaseModel):
    id: str


class Amount(BaseModel):
    balance: str


class UploadedImage(BaseModel):
    file_id: str
    url: str
    width: int | None
    height: int | None

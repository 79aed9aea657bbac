"""The one file in a multipart form, handed on while it arrives (RFC 7578). Its name and its type are not believed."""

from collections.abc import AsyncIterator
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from gateway.refusals import Invalid, MalformedForm, UnsupportedMediaType

MAX_PARTS = 16
MAX_HEADERS = 8
MAX_HEADER_BYTES = 4096
MAX_BOUNDARY_BYTES = 200
FILE = "file"


async def file_of(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The bytes of the part `file`; other parts are passed over.

    Raises:
        UnsupportedMediaType, MalformedForm, Invalid: the body is none of that, or has no file, or two.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise UnsupportedMediaType("The body has to be a form: send it as 'multipart/form-data', with a part 'file'.")
    form = _Form(boundary, max_bytes)
    try:
        async for chunk in request.stream():
            form.write(chunk)
            for piece in form.arrived():
                yield piece
    except FormParserError as error:
        raise MalformedForm("The body is not a valid form.") from error
    except ClientDisconnect as error:
        raise MalformedForm("The body broke off.") from error
    form.end()


class _Form:
    """What the parser tells of, of which only the file is kept, and only until it is handed on."""

    def __init__(self, boundary: bytes, max_bytes: int) -> None:
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._name,
            "on_header_value": self._value,
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        self._parser = MultipartParser(
            boundary,
            callbacks,
            max_size=max_bytes,
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER_BYTES,
        )
        self._pieces: list[bytes] = []
        self._parts = 0
        self._files = 0
        self._is_file = False
        self._is_whole = False
        self._field = b""
        self._text = b""
        self._disposition = b""

    def write(self, chunk: bytes) -> None:
        if self._parser.write(chunk) != len(chunk):
            raise FormParserError("more than the parser takes")

    def arrived(self) -> list[bytes]:
        pieces, self._pieces = self._pieces, []
        return pieces

    def end(self) -> None:
        """Raises MalformedForm, Invalid."""
        if not self._is_whole:
            raise MalformedForm("The form is not whole: its last boundary is missing.")
        if self._files != 1:
            raise Invalid("The form has to have one part 'file'.")

    def _begin(self) -> None:
        self._parts += 1
        self._is_file = False
        self._disposition = b""
        if self._parts > MAX_PARTS:
            raise Invalid(f"A form may have {MAX_PARTS} parts at most.")

    def _name(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._text += data[start:end]

    def _header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._text
        self._field = self._text = b""

    def _headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._is_file = options.get(b"name") == FILE.encode()
        self._files += self._is_file
        if self._files > 1:
            raise Invalid("The form has to have one part 'file'.")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pieces.append(data[start:end])

    def _end(self) -> None:
        self._is_whole = True

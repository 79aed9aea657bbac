"""The one file in a multipart form, handed on while it arrives (RFC 7578), and the fields beside it.

The file's name and type are not believed.
"""

from collections.abc import AsyncIterator, Collection
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from gateway.refusals import BodyTooLarge, Invalid, MalformedForm, UnsupportedMediaType

MAX_PARTS = 16
MAX_HEADERS = 8
MAX_HEADER_BYTES = 4096
MAX_BOUNDARY_BYTES = 200
MAX_FIELD_BYTES = 64 << 10
FILE = "file"


async def file_of(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The bytes of the part `file`; other parts are passed over.

    Raises:
        UnsupportedMediaType, MalformedForm, Invalid: the body is none of that, or has no file, or two.
    """
    form = _Form(_boundary(request), max_bytes, (FILE,))
    async for piece in _pieces(request, form):
        yield piece
    if form.files != 1:
        raise Invalid("The form has to have one part 'file'.")


class FieldsAndFile:
    """A form with fields, and with at most one file in a part of one of these names.

    `fields` is whole once `file` has come to its end. A part of such a name without a file's name is a field.
    """

    def __init__(self, request: Request, max_bytes: int, files: Collection[str] = (FILE,)) -> None:
        self._request = request
        self._max_bytes = max_bytes
        self._files = files
        self.fields: dict[str, str] = {}

    async def file(self) -> AsyncIterator[bytes]:
        """The bytes of the file; none where there is none, or where it is empty.

        Raises:
            UnsupportedMediaType, MalformedForm, BodyTooLarge, Invalid: the body is no such form.
        """
        form = _Form(_boundary(self._request), self._max_bytes, self._files, self.fields)
        async for piece in _pieces(self._request, form):
            yield piece


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise UnsupportedMediaType("The body has to be a form: send it as 'multipart/form-data', with a part 'file'.")
    return boundary


async def _pieces(request: Request, form: "_Form") -> AsyncIterator[bytes]:
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
    """What the parser tells of: the file is kept until it is handed on, and fields where somebody wants them."""

    def __init__(
        self, boundary: bytes, max_bytes: int, files: Collection[str], fields: dict[str, str] | None = None
    ) -> None:
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._name,
            "on_header_value": self._value,
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
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
        self._file_names = files
        self._fields = fields
        self._name_of_part = ""
        self._text_of_part = bytearray()
        self.files = 0
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
        """Raises MalformedForm."""
        if not self._is_whole:
            raise MalformedForm("The form is not whole: its last boundary is missing.")

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
        self._name_of_part = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._name_of_part in self._file_names and (self._fields is None or b"filename" in options)
        self.files += self._is_file
        if self.files > 1:
            raise Invalid(f"The form has to have one part {self._name_of_part!r}.")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pieces.append(data[start:end])
        elif self._fields is not None:
            self._text_of_part += data[start:end]
            if len(self._text_of_part) > MAX_FIELD_BYTES:
                raise BodyTooLarge(f"A field may have {MAX_FIELD_BYTES} bytes at most.")

    def _end_part(self) -> None:
        if self._fields is not None and not self._is_file:
            try:
                self._fields[self._name_of_part] = self._text_of_part.decode()
            except UnicodeDecodeError as error:
                raise MalformedForm("A field is not UTF-8.") from error
        self._text_of_part.clear()

    def _end(self) -> None:
        self._is_whole = True

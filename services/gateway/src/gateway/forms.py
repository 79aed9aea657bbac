"""The files in a multipart form, handed on while they arrive (RFC 7578), and the fields beside them.

A file's name and type are not believed.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from gateway.refusals import BodyTooLarge, Invalid, MalformedForm, UnsupportedMediaType

MAX_PARTS = 16
MAX_HEADERS = 8
MAX_HEADER_BYTES = 4096
MAX_BOUNDARY_BYTES = 200
MAX_FIELD_BYTES = 64 << 10
MAX_ECHO_CHARACTERS = 40
SILENT_SECONDS = 20.0
"""How long the next bytes are waited for."""
ARRIVING_SECONDS = 1800.0
"""How long all of them are: a file of 64 MB comes at 300 kbit/s."""
FILE = "file"
_EXTENDED = re.compile(rb";\s*filename\*\s*=\s*\"?(?:[^';\"]*'[^';\"]*')?([^;\"]*)", re.IGNORECASE)
"""A file's name as RFC 8187 writes it: forms must not, and some clients do, with no other beside it."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part that is a file, and what the file is called; `name` is the part's own."""

    name: str
    filename: str


async def file_of(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The bytes of the part `file`; other parts are passed over.

    Raises:
        UnsupportedMediaType, MalformedForm, Invalid: the body is none of that, or has no file, or two.
    """
    form = _Form(_boundary(request), max_bytes, (FILE,))
    async for _, piece in _pieces(request, form):
        if piece:
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
        async for _, piece in _pieces(self._request, form):
            if piece:
                yield piece


class FieldsAndFiles:
    """A form with fields, and with so many files at most in parts of these names; of so many parts at most.

    `fields` is whole once `files` has come to its end. A part of such a name without a file's name is a field.
    """

    def __init__(
        self, request: Request, max_bytes: int, names: Collection[str], most_files: int, most_parts: int = MAX_PARTS
    ) -> None:
        self._request = request
        self._max_bytes = max_bytes
        self._names = names
        self._most_files = most_files
        self._most_parts = most_parts
        self._next: tuple[Part, bytes] | None = None
        self.fields: dict[str, str] = {}

    async def files(self) -> AsyncIterator[tuple[Part, AsyncIterator[bytes]]]:
        """Each file and its bytes, which have to be read before the next is asked for; those of the last come to their
        end once the form is whole.

        Raises:
            UnsupportedMediaType, MalformedForm, BodyTooLarge, Invalid: the body is no such form.
        """
        boundary = _boundary(self._request)
        form = _Form(boundary, self._max_bytes, self._names, self.fields, self._most_files, self._most_parts)
        pieces = _pieces(self._request, form)
        self._next = await anext(pieces, None)
        while self._next is not None:
            part, _ = self._next
            yield part, self._of(part, pieces)

    async def _of(self, part: Part, pieces: AsyncIterator[tuple[Part, bytes]]) -> AsyncIterator[bytes]:
        while self._next is not None and self._next[0] is part:
            if self._next[1]:
                yield self._next[1]
            self._next = await anext(pieces, None)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise UnsupportedMediaType("The body has to be a form: send it as 'multipart/form-data', with a part 'file'.")
    return boundary


async def _pieces(request: Request, form: "_Form") -> AsyncIterator[tuple[Part, bytes]]:
    """An empty one where a file begins."""
    try:
        async for chunk in _arriving(request):
            form.write(chunk)
            for piece in form.arrived():
                yield piece
    except FormParserError as error:
        raise MalformedForm("The body is not a valid form.") from error
    except ClientDisconnect as error:
        raise MalformedForm("The body broke off.") from error
    except TimeoutError as error:
        raise MalformedForm("The body did not arrive in time.") from error
    form.end()


async def _arriving(request: Request) -> AsyncIterator[bytes]:
    """The body, for which nobody is waited for ever. Raises ClientDisconnect, TimeoutError."""
    stream, left_seconds = request.stream(), ARRIVING_SECONDS
    while True:
        waiting_since = time.monotonic()
        async with asyncio.timeout(min(SILENT_SECONDS, left_seconds)):
            chunk = await anext(stream, None)
        left_seconds -= time.monotonic() - waiting_since
        if chunk is None:
            return
        yield chunk


def _filename(disposition: bytes, options: Mapping[bytes, bytes]) -> str | None:
    """What a file is called; None for a field."""
    if (plain := options.get(b"filename")) is not None:
        return plain.decode("utf-8", "replace")
    extended = _EXTENDED.search(disposition)
    return None if extended is None else unquote(extended[1].decode("utf-8", "replace"))


class _Form:
    """What the parser tells of: a file is kept until it is handed on, and fields where somebody wants them."""

    def __init__(
        self,
        boundary: bytes,
        max_bytes: int,
        files: Collection[str],
        fields: dict[str, str] | None = None,
        most_files: int = 1,
        most_parts: int = MAX_PARTS,
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
        self._pieces: list[tuple[Part, bytes]] = []
        self._parts = 0
        self._most_files = most_files
        self._most_parts = most_parts
        self._file_names = files
        self._fields = fields
        self._name_of_part = ""
        self._text_of_part = bytearray()
        self.files = 0
        self._file: Part | None = None
        self._is_file = False
        """Whether the part says that it is one: where none is taken a text is a field all the same."""
        self._is_whole = False
        self._field = b""
        self._text = b""
        self._disposition = b""

    def write(self, chunk: bytes) -> None:
        if self._parser.write(chunk) != len(chunk):
            raise FormParserError("more than the parser takes")

    def arrived(self) -> list[tuple[Part, bytes]]:
        pieces, self._pieces = self._pieces, []
        return pieces

    def end(self) -> None:
        """Raises MalformedForm."""
        if not self._is_whole:
            raise MalformedForm("The form is not whole: its last boundary is missing.")

    def _begin(self) -> None:
        self._parts += 1
        self._file = None
        self._disposition = b""
        if self._parts > self._most_parts:
            raise Invalid(f"A form may have {self._most_parts} parts at most.")

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
        filename = _filename(self._disposition, options)
        self._is_file = filename is not None
        if self._name_of_part not in self._file_names or (self._fields is not None and filename is None):
            return
        self.files += 1
        if self.files > self._most_files:
            many = "one part" if self._most_files == 1 else f"{self._most_files} parts at most as"
            raise Invalid(f"The form has to have {many} {self._name_of_part!r}.")
        self._file = Part(self._name_of_part, filename or "")
        self._pieces.append((self._file, b""))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._pieces.append((self._file, data[start:end]))
        elif self._fields is not None:
            self._text_of_part += data[start:end]
            if len(self._text_of_part) > MAX_FIELD_BYTES:
                if self._is_file:
                    raise self._not_taken(f"has more than the {MAX_FIELD_BYTES} bytes of a field")
                raise BodyTooLarge(f"A field may have {MAX_FIELD_BYTES} bytes at most.")

    def _end_part(self) -> None:
        if self._fields is not None and self._file is None:
            try:
                self._fields[self._name_of_part] = self._text_of_part.decode()
            except UnicodeDecodeError as error:
                raise self._not_taken("is no text in UTF-8") from error
        self._text_of_part.clear()

    def _not_taken(self, why: str) -> MalformedForm:
        name, message = self._name_of_part[:MAX_ECHO_CHARACTERS], f"{why}, and no file is taken there"
        details: dict[str, object] = {"errors": [{"field": name, "message": message}]}
        return MalformedForm(f"{name}: {message}", details=details)

    def _end(self) -> None:
        self._is_whole = True

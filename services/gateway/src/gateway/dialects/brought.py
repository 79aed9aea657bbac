"""Files that come inside a request, as `data:` addresses: each becomes an upload of the caller's, looked at as any.

What is kept of the request, and given back, has the upload's address in its place.
"""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from contracts.media import PATH
from gateway.dialects.surface import Surface
from gateway.dialects.wishes import INPUT_FIELDS, invalid
from gateway.identity import Caller
from gateway.orders import MAX_INPUTS
from gateway.uploads import Upload

_DATA = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


async def bring(
    surface: Surface, who: Caller, given: Mapping[str, Any], route: str, key: str | None, kept: list[Upload]
) -> Mapping[str, Any]:
    """The input with an address for each file in it. Under the request's key the same file is the same upload; what is
    `kept` can be taken back.

    Raises:
        Refusal: a file that cannot be taken, or too many of them.
    """
    found = {name: [*filter(is_file, _each(given[name]))] for name in INPUT_FIELDS & given.keys()}
    files = [(name, text) for name, texts in sorted(found.items()) for text in texts]
    if len(files) > MAX_INPUTS:
        raise invalid(files[0][0], f"at most {MAX_INPUTS} files")
    addresses: dict[str, str] = {}
    for index, (name, text) in enumerate(files):
        file = _chunks(name, text)
        upload = await surface.uploads.take(who, file, key, f"{route} {index}", by_content=True, is_here=True)
        kept.append(upload)
        # Without a signature, which would be another each time: whose it is is asked when it is used.
        addresses[text] = f"{surface.addresses.media_base.rstrip('/')}{PATH}{upload.asset.key}"
    return {name: _replaced(value, addresses) if name in found else value for name, value in given.items()}


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def is_file(value: Any) -> bool:
    """Whether it is one, as it stands in a request."""
    return isinstance(value, str) and _DATA.match(value) is not None


def _replaced(value: Any, addresses: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_replaced(each, addresses) for each in value]
    return addresses.get(value, value) if isinstance(value, str) else value


async def _chunks(name: str, text: str) -> AsyncIterator[bytes]:
    """Raises Invalid before anything is taken."""
    try:
        content = base64.b64decode(text.partition(",")[2], validate=True)
    except binascii.Error as error:
        raise invalid(name, "is no base64") from error
    yield content

"""Who may look: everybody who has the address, whoever has a signature that still lives, or a reader that it names."""

import re
import time
from dataclasses import dataclass
from uuid import UUID

from contracts.facts import Visibility
from contracts.media import signed
from storage.assets import Sought

SIGNED_SECONDS = 300
"""How long a client may keep a signed answer at most."""
_READER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Signature:
    """One of ours, on this very path. A reader sees with it what is that user's own."""

    expires: int
    reader: UUID | None


class Access:
    """What this deployment's addresses are: all signed, or permanent but for what is its owner's alone."""

    def __init__(self, signing_key: str | None, *, all_signed: bool) -> None:
        self._signing_key = signing_key
        self.all_signed = all_signed and signing_key is not None

    def signature(self, path: str, query: dict[str, list[str]]) -> Signature | None:
        """The signature that an address bears; None without one that is good."""
        if self._signing_key is None:
            return None
        expires, given, reader = (query.get(name, [""])[-1] for name in ("expires", "signature", "reader"))
        is_whole = re.fullmatch(r"\d{1,12}", expires, re.ASCII) and given.isascii()
        if not is_whole or (reader and not _READER.fullmatch(reader)):
            return None
        if not signed(path, int(expires), given, self._signing_key, reader):
            return None
        return Signature(int(expires), UUID(reader) if reader else None)

    def allows(self, sought: Sought, signature: Signature | None) -> bool:
        if not self._ends(sought):
            return True
        return signature is not None and signature.reader in {None, sought.owner_id}

    def caching(self, sought: Sought, signature: Signature | None) -> str:
        """How long an answer that is allowed may be kept, and by whom."""
        seconds_left = self.seconds_left(sought, signature)
        if seconds_left is None:
            return "public, max-age=31536000, immutable"
        return f"private, max-age={min(SIGNED_SECONDS, seconds_left)}"

    def seconds_left(self, sought: Sought, signature: Signature | None) -> int | None:
        """For how long it is still allowed; None where that does not end."""
        if signature is None or not self._ends(sought):
            return None
        return max(0, signature.expires - int(time.time()))

    def _ends(self, sought: Sought) -> bool:
        return self.all_signed or sought.visibility is Visibility.OWNER

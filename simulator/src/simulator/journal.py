"""Every call that reached a paid endpoint, written down before its answer leaves.

The auditor compares it with the ledger: `billed` outputs of a `lost` answer are what a real provider would charge too.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Literal

ENTRIES_MAX = 100_000
PROMPT_CHARACTERS_MAX = 2_000

Outcome = Literal["answered", "refused", "lost"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One call. `time` is unix seconds of the virtual clock; `billed` counts outputs; `status` 0 means none left."""

    sequence: int
    time: float
    provider: str
    model: str
    prompt: str
    billed: int
    outcome: Outcome
    status: int
    fault: str
    request_id: str
    client_request_id: str
    idempotency_key: str
    body_sha256: str


class Journal:
    """Bounded in memory; complete in the file, where one is given. A sequence number is never used twice."""

    def __init__(self, path: Path | None) -> None:
        self._entries: deque[Entry] = deque(maxlen=ENTRIES_MAX)
        self.sequence = 0
        self._file: IO[str] | None = None
        if path is not None:
            torn = self._continue_from(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
            if torn:
                self._file.write("\n")

    def write(
        self,
        *,
        time: float,
        provider: str,
        model: str,
        prompt: str,
        billed: int,
        outcome: Outcome,
        status: int,
        fault: str,
        request_id: str,
        client_request_id: str,
        idempotency_key: str,
        body_sha256: str,
    ) -> Entry:
        self.sequence += 1
        entry = Entry(
            sequence=self.sequence,
            time=time,
            provider=provider,
            model=model,
            prompt=prompt[:PROMPT_CHARACTERS_MAX],
            billed=billed,
            outcome=outcome,
            status=status,
            fault=fault,
            request_id=request_id,
            client_request_id=client_request_id,
            idempotency_key=idempotency_key,
            body_sha256=body_sha256,
        )
        self._entries.append(entry)
        self._append(entry)
        return entry

    def unbill(self, sequence: int) -> None:
        """The vendor takes nothing for this call after all. The file says so with a second line of the same number."""
        for place, entry in enumerate(self._entries):
            if entry.sequence == sequence:
                self._entries[place] = replace(entry, billed=0)
                self._append(self._entries[place])
                return

    def since(self, sequence: int) -> list[Entry]:
        return [entry for entry in self._entries if entry.sequence > sequence]

    def clear(self) -> None:
        """Forgets the entries in memory; the file keeps them."""
        self._entries.clear()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append(self, entry: Entry) -> None:
        if self._file is not None:
            self._file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
            self._file.flush()

    def _continue_from(self, path: Path) -> bool:
        """Whether the last line lacks its end, as a killed process leaves it."""
        if not path.exists():
            return False
        line = "\n"
        read: dict[int, Entry] = {}
        with path.open(encoding="utf-8") as earlier:
            for line in earlier:
                try:
                    entry = Entry(**json.loads(line))
                except (ValueError, TypeError):
                    continue
                read[entry.sequence] = entry  # a second line of a number says that nothing is taken for it after all
                if len(read) > ENTRIES_MAX:
                    del read[next(iter(read))]
        self._entries.extend(read.values())
        self.sequence = max(read, default=0)
        return not line.endswith("\n")

"""On the path of a stack under test: its generator dies whenever it reads a fact whose prompt says so."""

import os
import sys

if sys.orig_argv[-2:] == ["-m", "generator"]:
    from contracts.facts import Funded

    harmless = Funded.decode

    def decode(payload: bytes) -> Funded:
        if b"[[poison]]" in payload:
            os._exit(9)
        return harmless(payload)

    Funded.decode = decode  # type: ignore[method-assign, assignment]

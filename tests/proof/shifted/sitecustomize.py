"""On the path of a stack under test: a service that CLOCKS_OFF names runs by a clock that is off."""

import os
import sys

_OFF = dict(pair.split("=") for pair in os.environ.get("CLOCKS_OFF", "").split(",") if pair)
_SERVICE = sys.orig_argv[-1] if sys.orig_argv[-2:-1] == ["-m"] else ""

if _SERVICE in _OFF:
    if "CLOCK_SHIFT" in os.environ:
        print(f"clock shifted by {os.environ['CLOCK_SHIFT']} s", file=sys.stderr, flush=True)
    else:
        os.environ |= {"CLOCK_SHIFT": _OFF[_SERVICE], "LD_PRELOAD": os.environ["CLOCK_SHIM"]}
        os.execv(sys.executable, sys.orig_argv)

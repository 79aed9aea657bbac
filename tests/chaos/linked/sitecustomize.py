"""Leads every process of the stack to the proxies: an address that has one is replaced before anybody reads it.

Python imports this by itself from PYTHONPATH. CHAOS_LINKS says `<port>=<port of its proxy>,…`.
"""

import os

_LINKS = [pair.split("=") for pair in os.environ.get("CHAOS_LINKS", "").split(",") if pair]

for _name, _value in list(os.environ.items()):
    for _port, _proxy in _LINKS:
        if f"127.0.0.1:{_port}" in _value:
            _through = f"127.0.0.1:{_proxy}"
            # What may be called is named both ways: a result's address is whatever the provider says.
            _both = f"127.0.0.1:{_port},{_through}" if _name == "OUTBOUND_ALLOW" else _through
            _value = _value.replace(f"127.0.0.1:{_port}", _both)
            os.environ[_name] = _value

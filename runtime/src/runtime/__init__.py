"""How a service runs: broker, consumption, database, outbound HTTP, telemetry, settings.

Holds no domain noun and offers functions to call, nothing to inherit.
"""

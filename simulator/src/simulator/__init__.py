"""The providers' wire formats on loopback, with faults on demand and a journal of every paid call.

It plays the other side of the wire, so it shares no code with the services.
"""

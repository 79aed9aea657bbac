"""Socket.IO: who is connected, to which rooms, and what every dialect's users hear live.

It owns connections, never records: whatever it says can be read again over REST.
"""

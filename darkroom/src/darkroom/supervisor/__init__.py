"""`darkroom up`: the whole stack as child processes of one, watched and restarted, stopped in order.

Owns ports, secrets, environments and processes. Never touches what flows through the stack.
"""

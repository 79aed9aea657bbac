"""The flow of a generation as one seed drives it: the services' own decisions, and nothing else that is real.

What decides is imported from the services (holds, attempts, conclusions, the sweeper's step, what storing came to);
rows, log and provider are dictionaries. A handler is a generator that yields between any two effects: there the dice
let others go first, stop or kill its process, lose or repeat messages, wipe the log. Then everything heals, and what
always holds is looked at. Never waits, never opens a socket.
"""

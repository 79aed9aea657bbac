"""The providers: one adapter each, all behind `interface.Provider`.

Owns the wire formats and what a provider's refusals mean. Never decides whether to pay again.
"""

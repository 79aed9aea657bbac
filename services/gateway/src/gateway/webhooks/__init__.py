"""Webhooks by Standard Webhooks 1.0: where users want to be told of what ended, and the deliveries.

A delivery is a row that is written by the statement that records the outcome, so that neither is ever there alone. A
request of an API that names its own webhook makes one in its style, with the id of the generation.
"""

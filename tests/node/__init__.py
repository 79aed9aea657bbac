"""The official Node SDKs against a gateway: node's own test runner, started by a pytest test (docs/adr/0037)."""

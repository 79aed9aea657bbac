"""What operators of the frontends are used to run by hand, under the names that they know (docs/adr/0030)."""

"""Keeping a store sound over the years: verify, repair, gc, compact. Nothing that reads or extracts needs it."""

"""What `check` and `diff` do between their options and their reports.

A package, so that looking for commands does not import it.
"""

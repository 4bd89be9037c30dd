"""Which files, rows and records may be merged or removed?

May import `provenance` and what stands before it.
A new upkeep step is a function of `maintenance`, `records` or `trainings`, and an asset in `assets/platform`.
"""

"""What may be removed or merged?

May import `provenance` and what stands before it.
A new upkeep step is a function of `maintenance` or `records`, and an asset in `assets/platform`.
"""

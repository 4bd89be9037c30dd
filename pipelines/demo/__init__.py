"""What does the demo run, and what does it report?

May import everything that stands before it; `assets` and `serving` inside functions.
A new stage of the demo is a block of `run`.
"""

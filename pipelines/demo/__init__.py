"""What does the demo run, and what does it report?

May import everything that stands before it; `assets` and `serving` inside functions.
Add a new stage of the demo in `run`, and a new figure of its report in `report`.
"""

"""What was known about an entity at an instant?

May import the modules at the root.
A new aggregate of events is a kind in `aggregates`, in both `windowed_table` and `windowed_events`.
"""

"""What was known about an entity at an instant?

May import the modules at the root.
A new aggregate over a window is a function in `rolling`.
"""

"""What was known about an entity at an instant?

May import the modules at the root.
A new windowed aggregate is a function in `rolling`.
"""

"""What does a table promise?

May import what stands before it in the order: `machine` and the modules at the root.
A new property or rule is read in `reader` or `rules`, and its value type stands in `model`.
"""

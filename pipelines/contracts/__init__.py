"""What does a table promise?

May import what stands before it in the order: `machine` and the modules at the root.
A new value type stands in `model`. A new property is read in `reader`, a new rule about a column in `column_rules`, and
a new kind of `quality` entry in `quality_rules`.
"""

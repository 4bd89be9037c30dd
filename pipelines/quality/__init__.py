"""How is a verdict shown?

May import `verdict`, `governed` and what stands before them.
A new kind of rule gets its Great Expectations form in `expectations`.
"""

"""How is a verdict shown?

May import `verdict`, `governed` and what stands before them.
A new rule kind gets its Great Expectations form in `expectations`.
"""

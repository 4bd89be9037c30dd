"""What became of rejected rows?

May import `verdict`, `quality`, `governed` and what stands before them.
A new act of people is a function in `corrections`.
"""

"""What became of rejected rows?

May import `verdict`, `quality`, `governed` and what stands before them.
A new act by which people treat rejected rows is a function in `corrections`.
"""

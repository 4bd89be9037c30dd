"""How does a table of a zone come about?

May import `quarantine`, `quality`, `governed` and what stands before them.
A new way to fill a table is a module with the work, and a decorator in `decorators`.
"""

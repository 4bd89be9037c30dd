"""Is this row, is this version good?

May import `contracts`, `engine`, `landing` and what stands before them.
A new kind of row rule stands in `row_rules`, a new kind of table rule in `table_rules`.
"""

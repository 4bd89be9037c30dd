"""Is this row, is this version good?

May import `contracts`, `engine` and what stands before them.
A new kind of row rule belongs to `row_rules`, a new kind of table rule to `table_rules`. A rule that a single pushed
event can be judged by has a branch in `event` too.
"""

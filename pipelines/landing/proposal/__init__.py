"""What could the first contract of a source say, and which code declares its tables?

`look` reads what has landed, `texts` finds the type of a column, `documents` writes the contracts, `code` the Python
modules of a domain. May import the other modules of `landing`.
"""

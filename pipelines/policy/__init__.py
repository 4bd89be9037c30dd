"""May an asset be declared, and may it run?

May import `contracts` and what stands before it.
A new rule is a function in `rules`; `governed` calls it when an asset is defined or runs.
"""

"""What surrounds every asset run?

May import `policy`, `cost`, `lineage`, `lakehouse`, `landing` and what stands before them.
A new step of every run goes to `run`.
"""

"""How does the platform read data that other systems own?

May import `machine` and the modules at the root.
A new source is one module with a class that implements `base.Source`.
"""

"""How does the platform get at data that others own?

May import `machine` and the modules at the root.
A new source is one module with a class that implements `base.Source`.
"""

"""Who computes tables?

May import `machine` and the modules at the root.
A new engine is a module with a server that has `remote` and `stop`, and a branch of `session.Engine.start`.
"""

"""Who computes tables?

May import `machine` and the modules at the root.
A new engine is a module whose server class has `remote` and `stop`, and a branch in `session.Engine.start`.
"""

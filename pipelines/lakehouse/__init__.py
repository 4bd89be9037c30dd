"""Which tables and table versions are there, and how is a new version written?

May import `engine` and what stands before it.
Add a new kind of commit by delta-rs as a function of `delta_commits`, and an engine that commits by itself as a
subclass of `base.Lakehouse`.
"""

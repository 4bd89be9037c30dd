"""Which versions of which tables are there, and how does a new one come about?

May import `engine` and what stands before it.
A commit by delta-rs is a function of `delta_commits`; an engine that commits by itself subclasses `base.Lakehouse`.
"""

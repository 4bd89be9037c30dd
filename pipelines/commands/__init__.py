"""Which commands does `goldpath` have?

May import everything; `serving` inside functions.
Add a new command or group as a module here, and register it in `app`.
"""

"""Programs that answer requests: `door` is what every request passes, each tier behind it is a package of its own.

`door` imports no tier; `predict` and `push` import `door` and never each other. `errors` holds the errors that more
than one of them raises. A new tier is a new package beside them.
"""

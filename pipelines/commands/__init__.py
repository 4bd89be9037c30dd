"""What can be typed after `goldpath`?

May import everything; `serving` inside functions.
A new command or group is a module here, registered in `app`.
"""

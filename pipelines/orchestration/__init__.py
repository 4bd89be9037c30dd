"""What runs when?

May import everything that stands before it.
A new job stands in `jobs`, a new schedule in `schedules`, a new kind of sensor in a module of its own.
"""

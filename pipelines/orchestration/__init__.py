"""What runs when?

May import everything that stands before it.
Add a new job in `jobs`, a new schedule in `schedules`, and a new kind of sensor as a new module.
"""

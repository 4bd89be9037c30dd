"""What does this machine give: files, locks, logs, ports, processes, a Ray head?

May import `errors`, `settings`, `tables`, `retrying`.
A new kind of resource of the machine is a module here.
"""

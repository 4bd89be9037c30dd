"""What does this machine give: files, locks, logs, ports, processes, a Ray head?

May import `errors`, `settings`, `tables`, `retrying`.
Each kind of resource is one module; add a new kind as a new module.
"""

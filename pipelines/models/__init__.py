"""May this model serve?

May import `quality`, `governed` and what stands before them.
A new gate metric is a name in `gate.METRICS`, and a figure that the training program measures.
"""

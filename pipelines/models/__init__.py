"""May this model serve?

May import `quality`, `governed` and what stands before them; `program` imports nothing but `errors`.
A new gate metric is a name in `gate.METRICS`, and an entry among the metrics that the training program measures. What
a training program takes and returns stands in `program`.
"""

"""May this model serve?

May import `quality`, `governed` and what stands before them; `answers` and `program` import nothing but `errors`.
A new metric is its line in `tasks.TASKS`, and an entry among the metrics that the training program measures. What a
training program takes and returns stands in `program`, what a model answers in `answers`.
"""

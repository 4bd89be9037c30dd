"""What does every training program need?

Reading a dataset's windows, running workers with checkpoints, following a run, comparing models: all that is no part of
what `program.Program` says.
May import of `pipelines` what `ray_jobs` may; never a program's package such as `tabular`.
What a second program would write again goes here.
"""

"""May a new version of a model take over the traffic of a service, and by which evidence?

Imports what stands before it, and no serving program: the programs that answer read its routes and write its evidence.
A further kind of guard goes into `guards`, a further kind of plan into `pipelines.models.rollout_plan`.
"""

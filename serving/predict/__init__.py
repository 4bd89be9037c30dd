"""How is a prediction answered while its caller waits, and how does a model come into service?

May import `serving.door`, `serving.errors`, `feature_repo`, `pipelines` and the model class of `ray_jobs`; not
`serving.push`. What only this tier needs, such as its request or its log, is a module here.
"""

"""How is a pushed event taken: made durable, applied to the online features, acknowledged and landed?

May import `serving.door`, `serving.errors`, `feature_repo` and `pipelines`; not `serving.predict`.
"""

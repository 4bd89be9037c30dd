"""What was known about an entity, in a training set and in the online store?

The feature layer on Feast: entities and views of the domains, the as-of join, the offline and the online store.
May import `pipelines`.
"""

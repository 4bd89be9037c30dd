"""What does every request pass, whatever it asks for: request id, token, size limit, and the form of a refusal?

May import `pipelines` and `serving.errors`, and no tier.
A new check that every tier needs is a module here.
"""

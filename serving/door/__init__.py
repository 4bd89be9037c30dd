"""What does every request pass, whatever it asks for: its request id, the token, the size limit, the form of a refusal?

May import `pipelines` and `serving.errors`, and no tier.
A new check that every tier needs is a module here.
"""

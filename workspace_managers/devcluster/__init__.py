"""A development cluster in one process: an embedded Kubernetes API, and a node that runs pods as processes.

For the demo, for third parties' contract runs and for fault injection. Nothing in here is imported while a
hub runs in production, and nothing in here imports the rest of the framework: it is a second opinion about
what a Kubernetes API does, not a mirror of what our own client expects.

Importing this package costs nothing; `devcluster.api` needs the extra `demo` (jsonschema, jsonpatch).
"""

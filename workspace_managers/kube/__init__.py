"""Everything asynchronous that talks to the Kubernetes API: the client, claims, and the watch cache."""

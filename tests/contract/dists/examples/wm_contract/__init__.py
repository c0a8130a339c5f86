"""A third party's plugin that keeps its workspaces in memory, and one that breaks each clause."""

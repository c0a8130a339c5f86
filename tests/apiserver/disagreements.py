"""Where the embedded API answers otherwise than the real one: why, and the cases of the table that show it.

Always true here: every case is expected to fail, so one that has been put right fails the run until it is taken off.
"""

from __future__ import annotations

DISAGREEMENTS: dict[str, tuple[str, ...]] = {
    "the embedded API answers an unknown path with a Status, the real one with the text '404 page not found'": (
        "not there - unknown type of the custom group",
        "not there - unknown group",
        "not there - unknown version of a group",
        "not there - unknown root",
        "method - post of a custom resource over all namespaces",
    ),
    "PUT of a custom resource: whether it exists comes before its resourceVersion, and details.kind is the plural": (
        "not there - put of no custom resource without version",
        "put - custom resource without a version",
        "status - status of a custom resource without a version",
    ),
    "POST to the name of a custom resource creates one on the real server": (
        "method - post to a name of a custom resource",
    ),
    "a custom resource's collection takes PUT and PATCH no further than 400 'name must be provided', not 405": (
        "method - put to a collection of custom resources",
        "method - patch of a collection of custom resources",
    ),
    "405 carries the group and kind in its details, or is missing where a path takes no such method": (
        "method - delete of a custom resource's status",
        "method - get of a binding to a node",
        "method - delete over all namespaces",
        "method - delete of a collection of namespaces",
    ),
    "null is an empty object of a built-in type": ("unreadable - null",),
    "a custom resource of another kind is 422 with the field `kind`": (
        "unreadable - a custom resource of another kind",
    ),
    "metadata.name is not checked to be text before it is missed": (
        "unreadable - a name that is a number",
        "unreadable - a name of a custom resource that is a number",
    ),
    "owner references are not checked": (
        "create - owner without a uid",
        "create - owner without anything",
        "create - owner of a custom resource without a uid",
    ),
    "config maps and secrets: keys, base64, types and what is immutable are not checked": (
        "unreadable - secret data that is not base64",
        "create - config map with a bad key",
        "create - config map with one key in both",
        "create - secret of a type with rules",
        "create - secret with a bad key",
        "patch - a secret's type",
        "patch - a fixed config map",
    ),
    "unknown fields of built-in types are kept, as the docstring of store.py says, and never refused": (
        "create - unknown field of a built-in type",
        "create - unknown field of a built-in type, strictly",
        "create - field given twice, strictly",
        "patch - merge of an unknown field",
    ),
    "options of the query and of a deletion are not checked": (
        "create - validation of no sort",
        "list - a page at a resourceVersion",
        "list - at a match without a version",
        "list - at an unknown match",
        "watch - with a match",
        "delete - with options of another kind",
        "delete - with an unknown policy",
    ),
    "annotations may be of any size": ("create - annotations above the limit",),
    "a namespace has no label kubernetes.io/metadata.name and no spec.finalizers": ("create - namespace of 64",),
    "an event of events.k8s.io is not checked for its time and type": (
        "create - event of the new group without its time",
    ),
    "pods: volume sources, ports, variables, subPath, tolerations and names of resources are not checked": (
        "create - pod with two sources for a volume",
        "create - pod with a port out of range",
        "create - pod with a variable without a name",
        "create - pod with an illegal variable",
        "create - pod with a path that leaves",
        "create - pod with an illegal toleration",
        "create - pod with an unknown toleration operator",
        "create - pod with an unknown effect",
        "create - pod with an illegal toleration key",
        "create - pod with an unknown resource",
        "create - pod with half an extended resource",
    ),
    "claims: volumeMode is not checked": ("create - claim of another volume mode",),
    "a whole number written as a fraction is stored as a whole number": (
        "create - binding with a whole number as a fraction",
    ),
    "a definition has no generation and no conversion": ("list - definitions",),
    "a field selector takes an absent flag for text, where it is false": ("list - by field spec.hostNetwork=false",),
    "the real server gives a selection's page a continue token when there is more to look at": (
        "list - in pages of a selection",
    ),
    "a limit below nothing is no limit": ("list - a limit below nothing",),
    "kept on purpose: the embedded API keeps no older states, so an older list is 410, as after a compaction": (
        "list - exactly then",
    ),
    "the resourceVersion of a get is passed over": ("list - one in the future",),
    "a get of one object with watch=true is no watch": ("watch - one by its path",),
    "a flag is true unless it is empty, 0 or false": ("watch - with a flag that is text",),
    "pods/binding answers with code 201, names itself in a conflict, and needs the pod's name in the body": (
        "watch - pods that a node took",
        "status - a node takes a pod",
        "status - a node takes a pod without its name",
    ),
    "the first bookmark after what is there carries the annotation k8s.io/initial-events-end": (
        "watch - a bookmark after what is there",
    ),
    "the real server sends no bookmark of a resourceVersion that the client knows": (
        "watch - bookmarks that say nothing new",
    ),
    "kept on purpose: what cannot be read is 400, where the real server fails with 500": (
        "watch - from a version that is text",
        "watch - custom resources from a version that is text",
        "patch - strategic without the key of a list",
        "patch - strategic of an unknown directive",
        "status - nobody takes a pod",
        "put - config map of a version that is text",
        "delete - with preconditions that are text",
        "delete - with a period that is text",
        "delete - with options that are a list",
        "delete - with half an option",
    ),
    "a change of the uid is 422 in a patch": (
        "patch - merge of another uid",
        "patch - merge of another uid of a custom resource",
    ),
    "what a patch makes must decode: else it is 422 with the field `patch`": (
        "patch - merge of another kind",
        "patch - merge of a wrong type",
        "patch - merge of metadata that is text",
        "patch - merge of unknown fields of a custom resource, strictly",
        "patch - json of a wrong type",
        "status - a pod's status that cannot be read",
    ),
    "an object without a name is 400 in an update": (
        "patch - merge that takes the metadata",
        "put - config map without a name",
    ),
    "kept on purpose: the real server's JSON patch takes what RFC 6902 forbids": (
        "patch - json that replaces what is not there",
        "patch - json without a value",
        "patch - json of the whole",
    ),
    "the number of containers is the field spec.containers": ("patch - strategic that adds a container",),
    "a claim that loses its size breaks more rules than one": ("claim - a claim loses its size",),
    "a pod's address is not checked": ("status - a pod's status with an address that is none",),
    "the list that a deletion of many gives shows them as they were, and its resourceVersion": (
        "delete - a selection",
        "delete - a selection of custom resources",
        "delete - all pods",
    ),
    "orphaning is passed over, where it should be 501": ("beyond - deletion that orphans",),
    "the root lists the paths of the server, so it should be 501": ("beyond - the paths of the server",),
}

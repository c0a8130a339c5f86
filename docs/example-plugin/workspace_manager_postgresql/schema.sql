-- What the plugin reads. It needs SELECT on both tables and nothing else.
CREATE TABLE workspaces (
    name text PRIMARY KEY,
    display_name text NOT NULL,
    description text NOT NULL,
    image text NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL
);

CREATE TABLE grants (
    username text NOT NULL,
    workspace text NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    last_day date NOT NULL
);

-- Whoever may be meant by a username, whatever the case; the plugin compares again, exactly.
CREATE INDEX grants_username ON grants (upper(lower(username COLLATE "und-x-icu")));

-- pgbench makes its own tables; this one is beside them. Labelled: people.email.
CREATE TABLE people (id int PRIMARY KEY, email text);
INSERT INTO people VALUES (1, 'ann@example.com');

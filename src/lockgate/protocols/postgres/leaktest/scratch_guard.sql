-- A schema of this name that somebody else made is left alone: then nothing is made.
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_namespace WHERE nspname IN ('{schema}', '{other}')
             AND obj_description(oid, 'pg_namespace') IS DISTINCT FROM 'made by lockgate leaktest') THEN
    RAISE EXCEPTION 'a schema {schema} exists that the leak test did not make: drop or rename it';
  END IF;
END $$

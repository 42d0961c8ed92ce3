-- Its result changes when a shape has changed the ground for good.
SELECT md5(string_agg(concat_ws(' ', c.oid, c.relname, a.attname, a.atttypid, a.attnum), ',' ORDER BY c.oid, a.attnum))
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_namespace s ON s.oid = c.relnamespace
  WHERE s.nspname IN ('{schema}', '{other}') AND c.relpersistence = 'p'
UNION ALL SELECT md5(string_agg(concat_ws(' ', p.oid, p.prosrc), ',' ORDER BY p.oid))
  FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace WHERE s.nspname IN ('{schema}', '{other}')
UNION ALL SELECT md5(string_agg(x::text, ',' ORDER BY id)) FROM {schema}.lk_t x
UNION ALL SELECT md5(string_agg(x::text, ',' ORDER BY id)) FROM {schema}.lk_one x
UNION ALL SELECT md5(string_agg(x::text, ',' ORDER BY id)) FROM {schema}.lk_u x
